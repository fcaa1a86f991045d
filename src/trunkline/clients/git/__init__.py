"""What Git knows about this working tree, through the ``git`` command.

`tags` holds the registry's tags, `branches` commits and pushes without touching the working tree.
"""

from trunkline.clients.git.command import Foreign, git
from trunkline.errors import Error


def head() -> str | None:
    """The 40-hex commit checked out here; None outside Git, without Git, or before the first commit.

    Raises:
        Error: the clone belongs to another user.
    """
    try:
        return resolve("HEAD")
    except Foreign:
        raise
    except Error:
        return None


def dirty(ignoring: tuple[str, ...] = ()) -> bool:
    """Whether files differ from HEAD, new files included and ignored files not.

    Args:
        ignoring: paths from the current folder that do not count, such as what a run writes itself.

    Raises:
        Error: this is no Git working tree.
    """
    return bool(git("status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in ignoring)))


def resolve(revision: str) -> str:
    """The 40-hex commit that a branch, tag or short hash means.

    Raises:
        Error: there is no such commit here.
    """
    return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode().strip()


def show(revision: str, path: str) -> bytes:
    """A file's bytes in a commit; ``path`` is relative to the current folder.

    Raises:
        Error: the commit or the file in it does not exist.
    """
    return git("show", f"{resolve(revision)}:./{path}")


def changed_since(revision: str, ignoring: tuple[str, ...] = ()) -> list[str]:
    """The tracked files here that differ from a commit, by their paths from the current folder.

    Args:
        revision: of the commit.
        ignoring: paths from the current folder that do not count.

    Raises:
        Error: there is no such commit here.
    """
    excluded = (f":(exclude){path}" for path in ignoring)
    return (
        git("diff", "--name-only", "--relative", "-z", resolve(revision), "--", ".", *excluded)
        .decode()
        .split("\0")[:-1]
    )
