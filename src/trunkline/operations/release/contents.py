"""A commit's data and weights, fetched into an empty place and hashed anew."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from trunkline.clients import files
from trunkline.clients.dvc import objects, outputs
from trunkline.clients.dvc.objects import Place
from trunkline.clients.dvc.outputs import Output
from trunkline.errors import Error
from trunkline.operations.release.proof import CANDIDATE
from trunkline.params import Params
from trunkline.records import Base, Bundle
from trunkline.records.release import Content

TRAIN, HOLDOUT = "data/train.parquet", "data/holdout.parquet"
# What the comparison is computed from; a release keeps its result.
TASK, PREDICTIONS = "data/task.json", "data/predictions"
BASE = "models/base"
_BASE_RECORD, _BUNDLE_RECORD = "base.json", "bundle.json"


class Contents(NamedTuple):
    """What a release is made of, verified.

    Attributes:
        data: by path: raw partitions, training examples, holdout.
        base: the base model's identity.
        bundle: the candidate's identity.
        base_folder: with its weights only where they are to be merged.
        adapter: the candidate's folder.
        kind: of the release: ``lora``, ``merged`` or ``hosted``.
        compared: the folder with holdout, task and both models' answers.
    """

    data: dict[str, Content]
    base: Base
    bundle: Bundle
    base_folder: Path
    adapter: Path
    kind: str
    compared: Path


def gather(tree: Path, folder: Path, params: Params, source: Place) -> Contents:
    """Fetch what a commit's dvc.lock and ``.dvc`` files name, and check that it belongs together.

    Args:
        tree: the commit's files.
        folder: an empty one, for data and weights.
        params: the commit's.
        source: the DVC remote, or the cache where there is none.

    Raises:
        Error: an object is missing or damaged, or the candidate is not of this data and base model.
    """
    known = outputs.read(tree)
    wanted = _made(known, (TRAIN, HOLDOUT, TASK, PREDICTIONS, CANDIDATE, BASE)) | _raw(known, Path(params.data.folder))
    only = {} if params.release.weights == "merged" else {BASE: [_BASE_RECORD]}
    md5s = objects.fetch(wanted, folder, source, only)
    others = (f"{CANDIDATE}/", f"{BASE}/", f"{PREDICTIONS}/", TASK)
    data = {
        path: Content(md5=md5, sha256=files.sha256(folder / path))
        for path, md5 in md5s.items()
        if not path.startswith(others)
    }
    base, bundle = Base.read(folder / BASE / _BASE_RECORD), Bundle.read(folder / CANDIDATE / _BUNDLE_RECORD)
    _check(folder / CANDIDATE, bundle, base, data[TRAIN].sha256)
    held = _in_git(tree, params.data.folder)
    hashes = dict(sorted((held | data).items()))
    kind = bundle.kind if bundle.kind == "hosted" else params.release.weights
    compared = (folder / HOLDOUT).parent
    return Contents(hashes, base, bundle, folder / BASE, folder / CANDIDATE, kind, compared)


def _made(known: list[Output], paths: Iterable[str]) -> dict[str, str]:
    """Hashes of what the stages made."""
    hashes = {out.path: out.hash for out in known}
    missing = [path for path in paths if path not in hashes]
    if missing:
        raise Error(f"dvc.lock of this commit has no {', '.join(missing)}", "run `dvc repro`, commit and merge it")
    return {path: hashes[path] for path in paths}


def _raw(known: list[Output], folder: Path) -> dict[str, str]:
    """Hashes of the raw partitions that DVC holds."""
    return {out.path: out.hash for out in known if out.raw and folder in (Path(out.path), *Path(out.path).parents)}


def _in_git(tree: Path, folder: str) -> dict[str, Content]:
    """The raw partitions that Git holds."""
    members = sorted((tree / folder).rglob("*"))
    paths = [path for path in members if path.is_file() and path.suffix != ".dvc" and not path.name.startswith(".")]
    return {path.relative_to(tree).as_posix(): Content(md5=None, sha256=files.sha256(path)) for path in paths}


def _check(folder: Path, bundle: Bundle, base: Base, trained_on: str) -> None:
    found = {path.name: files.sha256(path) for path in folder.iterdir() if path.name != _BUNDLE_RECORD}
    hint = "run `dvc repro` in a pull request to train it again, and merge that"
    if bundle.kind == "base" or not bundle.weights or found != bundle.weights:
        changed = sorted({name for name, _ in found.items() ^ bundle.weights.items()})
        raise Error(f"{CANDIDATE} does not hold the files that were trained: {', '.join(changed) or 'none'}", hint)
    if not bundle.goes_on(base):
        problem = f"{CANDIDATE} was trained on the base model {bundle.base[:12]}, but {BASE} is {base.sha256[:12]}"
        more = ", with another configuration" if bundle.base == base.sha256 else ""
        raise Error(problem + more, hint)
    if bundle.trained_on != (None if bundle.kind == "hosted" else trained_on):
        raise Error(f"{CANDIDATE} was trained on other examples than {TRAIN} of this commit", hint)
