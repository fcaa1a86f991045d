"""A commit's files in a folder of their own, to be read as data: nothing in them runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trunkline.clients import files, scratch
from trunkline.clients.git.command import attempt, git
from trunkline.errors import Error

# Instead of the commit's own: no remote to ask, no cache to fill, no Git to look for.
_DVC_CONFIG = "[core]\n    no_scm = true\n    analytics = false\n"


@contextmanager
def of(commit: str, remote: str = "origin") -> Iterator[Path]:
    """The project as it is in a commit, fetched from ``remote`` where it is not here yet.

    Links are written as files that hold their target's name, so that none leads out of the folder. The folder
    is gone after the block.

    Raises:
        Error: there is no such commit, or the disk refused it.
    """
    fetch(commit, remote)
    with scratch.folder() as temporary:
        top = temporary / "tree"
        index = {"GIT_INDEX_FILE": str(temporary / "index")}
        git("read-tree", commit, environment=index)
        place = f"--prefix={top}/"
        git("-c", "core.symlinks=false", "checkout-index", "--all", "--force", place, environment=index)
        folder = top / prefix()
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / ".dvc").is_dir():
            files.write_text(folder / ".dvc/config", _DVC_CONFIG)
            files.remove(folder / ".dvc/config.local")
        yield folder


def fetch(commit: str, remote: str = "origin") -> None:
    """Have a commit here.

    Raises:
        Error: it is neither here nor in the remote.
    """
    if attempt("cat-file", "-e", f"{commit}^{{commit}}").returncode != 0:
        done = attempt("fetch", "--quiet", "--no-tags", remote, commit)
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise Error(
                f"cannot fetch commit {commit[:12]} from {remote}: {(lines or ['it said nothing'])[0]}",
                "check the commit, and that this job may read the repository",
            )


def prefix() -> str:
    """Path from the repository's top to the current folder, with a slash at its end; empty at the top."""
    return git("rev-parse", "--show-prefix").decode().strip()


def listed(commit: str, *paths: str) -> list[str]:
    """Every file of a commit below these paths of the current folder."""
    return [
        path for path in git("ls-tree", "-r", "-z", "--name-only", commit, "--", *paths).decode().split("\0") if path
    ]


def contents(commit: str, *paths: str) -> dict[str, str]:
    """Git's name of the content of every file of a commit below these paths of the current folder."""
    rows = git("ls-tree", "-r", "-z", commit, "--", *paths).decode().split("\0")[:-1]
    return {path: about.split()[2] for about, _, path in (row.partition("\t") for row in rows)}


def fork(base: str, commit: str, remote: str = "origin") -> str | None:
    """The last commit that a branch has from its base, both fetched where they are not here; None: they share none.

    Raises:
        Error: one of the two is neither here nor in the remote.
    """
    for one in (base, commit):
        fetch(one, remote)
    return attempt("merge-base", base, commit).stdout.decode().strip() or None


def parents(commit: str) -> list[str]:
    """The commits that a commit follows."""
    return git("rev-list", "--parents", "--max-count=1", commit).decode().split()[1:]


def branch() -> str:
    """The branch that is checked out here.

    Raises:
        Error: none is.
    """
    done = attempt("symbolic-ref", "--quiet", "--short", "HEAD")
    if done.returncode != 0:
        raise Error("no branch is checked out here", "give the pull request's branch with --branch")
    return done.stdout.decode().strip()
