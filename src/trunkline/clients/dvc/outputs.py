"""What DVC keeps by content in a commit: the outputs of its stages and the files put under it by hand."""

from pathlib import Path
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.repo import Repo

from trunkline.clients.dvc import PIPELINE
from trunkline.errors import Error


class Output(NamedTuple):
    """A file or folder that DVC knows by content, in cache and remote.

    Attributes:
        path: from the project's folder.
        hash: DVC's MD5, of a folder with ``.dir`` at its end.
        raw: whether it was put under DVC by hand (``dvc add``), and no stage makes it.
    """

    path: str
    hash: str
    raw: bool


def read(folder: Path) -> list[Output]:
    """Every output in the dvc.lock and the ``.dvc`` files of a commit's files.

    Args:
        folder: as `snapshot.of` wrote it.

    Raises:
        Error: there is no pipeline in it, it has not been run, DVC cannot read it, or it names what lies outside of it.
    """
    needed = ((Path(".dvc"), "is not under DVC"), (PIPELINE, "has no pipeline"), (Path("dvc.lock"), "was not run"))
    for name, missing in needed:
        if not (folder / name).exists():
            raise Error(f"this commit {missing}: {name} is not in it", "run `dvc repro`, commit and merge it first")
    try:
        with Repo(str(folder)) as repo:
            return [
                Output(_within(out.fs_path, repo.root_dir), str(out.hash_info.value), bool(out.stage.is_data_source))
                for out in repo.index.outs
                if out.hash_info and out.use_cache
            ]
    except DvcException as error:
        raise Error(f"DVC cannot read this commit: {error}", "mend what it names in a pull request") from None


def _within(path: str, top: str) -> str:
    if not Path(path).is_relative_to(top):
        raise Error(
            f"{path} lies outside of the repository", "remove it from dvc.yaml, or its .dvc file, and merge that"
        )
    return Path(path).relative_to(top).as_posix()
