"""Annotated tags: read all at once, make one, see what the remote has."""

import logging
import time

from trunkline.clients.git import clone
from trunkline.clients.git.command import attempt, git, identity
from trunkline.errors import Error
from trunkline.records.release import Tag

ORIGIN = "origin"
_FIELDS = (
    "refname:strip=2",
    "objecttype",
    "*objecttype",
    "*objectname",
    "taggerdate:unix",
    "taggername",
    "contents:signature",
    "contents",
)
# As `git ls-remote` lists them.
_REFS = "--format=%(objectname)\t%(refname)"
# Ends a tag in the listing: no field can hold these bytes.
_END = "\x00\x1e\n"

logger = logging.getLogger("trunkline")


def everything() -> list[Tag]:
    """Every annotated tag of a commit in this clone; lightweight tags and tags of tags say nothing.

    Raises:
        Error: this is no Git repository.
    """
    form = "%00".join(f"%({field})" for field in _FIELDS) + "%00%1e"
    listed = git("for-each-ref", f"--format={form}", "refs/tags").decode(errors="replace")
    rows = (row.split("\x00", len(_FIELDS) - 1) for row in listed.split(_END) if row)
    return [
        Tag(name, commit, int(made or 0), message.removesuffix(signature), by)
        for name, kind, target, commit, made, by, signature, message in rows
        if (kind, target) == ("tag", "commit")
    ]


def containing(commit: str) -> set[str]:
    """The names of this clone's tags whose commit is this one or follows it."""
    return set(git("for-each-ref", f"--contains={commit}", "--format=%(refname:strip=2)", "refs/tags").decode().split())


def known() -> list[Tag]:
    """The tags that count: those of the remote ``origin``, fetched first; without one, this clone's.

    A tag that only this clone has was never published, or was taken back there: it does not count. When the
    remote cannot be reached, or a shallow clone has none, a warning says that this clone's tags stand in.

    Raises:
        Error: this is no Git repository.
    """
    if origin() is None and not clone.shallow():
        return everything()
    try:
        return complete()
    except Error as error:
        logger.warning("%s; what follows is the state that this clone knows", error.problem)
        return everything()


def complete() -> list[Tag]:
    """As `known`, where a part of them would be as wrong as none.

    Raises:
        Error: the remote cannot be reached, or there is none and this clone knows only a part of the history.
    """
    remote = origin()
    if remote is not None:
        return published(remote)
    if clone.shallow():
        problem = "this clone is shallow and has no remote origin: nobody can tell which versions there are"
        raise Error(problem, "git remote add origin <address> && git fetch --unshallow --tags origin")
    return everything()


def origin() -> str | None:
    """The remote that holds the registry; None where this clone has none."""
    return ORIGIN if ORIGIN in git("remote").decode().split() else None


def published(remote: str) -> list[Tag]:
    """The annotated tags that a remote has now; those that are not here yet are fetched.

    Raises:
        Error: the remote cannot be reached.
    """
    there = _listed(git("ls-remote", "--tags", "--refs", remote))
    here = _listed(git("for-each-ref", _REFS, "refs/tags"))
    if there.items() - here.items():
        fetch(remote)
    found = everything()
    for tag in found:
        if tag.name not in there and ("@" in tag.name or "#" in tag.name):
            logger.warning("tag %s is not on %s and does not count: push it, or delete it here", tag.name, remote)
    return [tag for tag in found if tag.name in there]


def unreadable(remote: str | None) -> set[str]:
    """Names of tags that `everything` passes over: they say nothing, and no other tag can have their names.

    Args:
        remote: whose; None for this clone's own.

    Raises:
        Error: the remote cannot be reached.
    """
    asked = ("ls-remote", "--tags", "--refs", remote) if remote else ("for-each-ref", _REFS, "refs/tags")
    there = _listed(git(*asked))
    return there.keys() - {tag.name for tag in (published(remote) if remote else everything())}


def _listed(text: bytes) -> dict[str, str]:
    rows = (line.split("\t") for line in text.decode(errors="replace").splitlines())
    return {ref.removeprefix("refs/tags/"): target for target, ref in rows}


def write(name: str, commit: str, message: str, after: int = 0) -> str:
    """Write an annotated tag's object and return its 40-hex name; no ref names it yet, so nobody sees it.

    Args:
        after: as in `create`.

    Raises:
        Error: the commit is not here, or the disk refused it.
    """
    date = f"{max(int(time.time()), after + 1)} +0000"
    tagger = git("var", "GIT_COMMITTER_IDENT", environment={**identity(), "GIT_COMMITTER_DATE": date}).decode().strip()
    target = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}").decode().strip()
    text = f"object {target}\ntype commit\ntag {name}\ntagger {tagger}\n\n{message}"
    return git("mktag", stdin=text.encode()).decode().strip()


def create(name: str, commit: str, message: str, after: int = 0) -> None:
    """Make an annotated tag in this clone; creating the ref is the lock.

    Args:
        after: seconds since 1970 of the registry's last tag: this one is dated later, whatever the clock says,
            for tools that go by the date.

    Raises:
        Error: the name is taken or is none for a tag, or the commit is not here.
    """
    made = write(name, commit, message, after)
    done = attempt("update-ref", "--create-reflog", f"refs/tags/{name}", made, "0" * len(made))
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        taken = attempt("show-ref", "--verify", "--quiet", f"refs/tags/{name}").returncode == 0
        problem = f"tag {name} already exists" if taken else f"cannot create tag {name}: {said}"
        raise Error(problem, f"see `git show {name}`; another release may have taken the name")


def fetch(remote: str) -> None:
    """Take the remote's tags; where a local tag differs, the remote's replaces it.

    Raises:
        Error: the remote cannot be reached.
    """
    git("fetch", "--quiet", "--force", "--no-write-fetch-head", remote, "+refs/tags/*:refs/tags/*")


def last(tags: list[Tag]) -> int:
    """Seconds since 1970 of the newest tag; 0 when there is none."""
    return max((tag.time for tag in tags), default=0)


def keep(name: str, made: str) -> None:
    """Let this clone's tag be the object that `write` made and a remote has taken, whatever it was before.

    Raises:
        Error: the disk refused it.
    """
    git("update-ref", f"refs/tags/{name}", made)
