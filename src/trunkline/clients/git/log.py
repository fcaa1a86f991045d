"""What the history of commits says about files and releases."""

from typing import NamedTuple

from trunkline.clients.git import clone
from trunkline.clients.git.command import attempt, git


class Written(NamedTuple):
    """A commit that wrote a file.

    Attributes:
        time: of its author, ISO 8601.
        certain: not so where a shallow clone ends: the true one may be older.
    """

    commit: str
    author: str
    time: str
    certain: bool


def last_written(commit: str, path: str) -> Written | None:
    """The last commit, up to a given one, that wrote a file; None when none did.

    Args:
        path: relative to the current folder.

    Raises:
        Error: the commit is not here.
    """
    form = "--format=%H%x00%an%x00%aI%x00%P"
    told = git("log", "-1", form, "--end-of-options", commit, "--", path).decode(errors="replace").strip()
    if not told:
        return None
    found, author, time, parents = told.split("\x00")
    return Written(found, author, time, certain=bool(parents) or not clone.shallow())


def tags_holding(commit: str) -> list[str]:
    """The names of the tags whose history holds a commit, none where it is not here."""
    done = attempt("for-each-ref", "--contains", commit, "--format=%(refname:strip=2)", "refs/tags")
    return done.stdout.decode(errors="replace").split()


def subjects(before: str, commit: str) -> list[str]:
    """The first lines of the commits that a commit's history holds and another's does not, the newest first.

    Raises:
        Error: one of them is not here.
    """
    told = git("log", "--format=%s", "--end-of-options", commit, f"^{before}")
    return told.decode(errors="replace").splitlines()


class Made(NamedTuple):
    """A commit: its message, and the paths from the repository's top that it changed; none for a clean merge."""

    commit: str
    message: str
    paths: tuple[str, ...]


def between(before: str, commit: str) -> list[Made]:
    """What a commit's history holds that another's does not, the newest first.

    Raises:
        Error: one of them is not here.
    """
    listed = git("rev-list", "--end-of-options", commit, f"^{before}").decode().split()
    return [_made(one) for one in listed]


def _made(commit: str) -> Made:
    message = git("log", "-1", "--format=%B", commit).decode(errors="replace")
    paths = git("show", "-z", "--format=", "--name-only", commit).decode(errors="replace").split("\0")
    return Made(commit, message, tuple(path for path in paths if path))
