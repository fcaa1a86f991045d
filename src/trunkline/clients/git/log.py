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
