"""An output of another commit, from where objects are kept now: a remote that has moved since is asked where it is."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from trunkline.clients import files, git
from trunkline.clients.dvc import objects
from trunkline.errors import Error

_HINT = "run `dvc push` where that commit was made, and give this clone the same DVC remote"


def fetch(revision: str, path: str, target: Path) -> None:
    """Copy an output, or a file of one, as it was in a commit of this repository; every byte is hashed anew.

    Args:
        revision: of the commit.
        path: from the current folder, as the commit's dvc.lock names it.
        target: not there yet.

    Raises:
        Error: the commit has no such output, or neither the cache nor the remote holds it undamaged.
    """
    out, value = _output(revision, path)
    only = {} if out == path else {out: [os.path.relpath(path, out)]}
    target.parent.mkdir(parents=True, exist_ok=True)
    # Named as what `trunkline reap` clears, should this be killed.
    ending = f".partial-{os.getpid()}"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=ending) as scratch:
        os.replace(_from_any(revision, {out: value}, only, Path(scratch)) / path, target)


def _from_any(revision: str, wanted: Mapping[str, str], only: Mapping[str, list[str]], scratch: Path) -> Path:
    """The folder with what the first place gave that has it whole."""
    problems = []
    for number, place in enumerate(objects.places()):
        folder = scratch / str(number)
        folder.mkdir()
        try:
            objects.fetch(wanted, folder, place, only)
        except Error as error:
            problems.append(error.problem)
            files.remove(folder)
        else:
            return folder
    raise Error(f"cannot fetch {', '.join(wanted)} of commit {revision[:12]}: {'; '.join(problems)}", _HINT)


def _output(revision: str, path: str) -> tuple[str, str]:
    """The output that is or holds a path, and its hash."""
    try:
        stages = yaml.safe_load(git.show(revision, "dvc.lock"))["stages"].values()
        hashes = {out["path"]: str(out["md5"]) for stage in stages for out in stage.get("outs", ()) if "md5" in out}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        problem = f"dvc.lock of commit {revision[:12]} cannot be read: {error}"
        raise Error(problem, "choose a commit made after `dvc repro`") from None
    for out, value in hashes.items():
        if path == out or path.startswith(f"{out}/"):
            return out, value
    raise Error(f"dvc.lock of commit {revision[:12]} has no {path}", "choose a commit made after `dvc repro`")
