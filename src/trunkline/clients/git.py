"""What Git knows about this working tree, through the ``git`` command."""

import subprocess

from trunkline.errors import Error


def head() -> str | None:
    """The 40-hex commit checked out here; None outside Git, without Git, or before the first commit."""
    try:
        return resolve("HEAD")
    except Error:
        return None


def dirty(ignoring: tuple[str, ...] = ()) -> bool:
    """Whether files differ from HEAD, new files included and ignored files not.

    Args:
        ignoring: paths from the current folder that do not count, such as what a run writes itself.

    Raises:
        Error: this is no Git working tree.
    """
    return bool(_git("status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in ignoring)))


def resolve(revision: str) -> str:
    """The 40-hex commit that a branch, tag or short hash means.

    Raises:
        Error: there is no such commit here.
    """
    return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode().strip()


def show(revision: str, path: str) -> bytes:
    """A file's bytes in a commit; ``path`` is relative to the current folder.

    Raises:
        Error: the commit or the file in it does not exist.
    """
    return _git("show", f"{resolve(revision)}:./{path}")


def _git(*arguments: str) -> bytes:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        raise Error("git is not installed", "install git and run this again") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"no such revision: {arguments[-1]}"
        raise Error(
            f"git {arguments[0]}: {said.splitlines()[0]}",
            "check the revision and the path; a shallow clone needs `git fetch --unshallow --tags`",
        )
    return done.stdout
