"""Annotated tags: read all at once, make one, take a local one back."""

import time

from trunkline.clients.git.command import git, identity
from trunkline.records.release import Tag

_FIELDS = ("refname:strip=2", "objecttype", "*objecttype", "*objectname", "taggerdate:unix", "contents")
# Ends a tag in the listing: no field can hold these bytes.
_END = "\x00\x1e\n"


def everything() -> list[Tag]:
    """Every annotated tag of a commit in this clone; lightweight tags and tags of tags say nothing.

    Raises:
        Error: this is no Git repository.
    """
    form = "%00".join(f"%({field})" for field in _FIELDS) + "%00%1e"
    listed = git("for-each-ref", f"--format={form}", "refs/tags").decode(errors="replace")
    rows = (row.split("\x00", len(_FIELDS) - 1) for row in listed.split(_END) if row)
    return [
        Tag(name, commit, int(made), message)
        for name, kind, target, commit, made, message in rows
        if (kind, target) == ("tag", "commit")
    ]


def create(name: str, commit: str, message: str, after: int = 0) -> None:
    """Make an annotated tag in this clone; creating the ref is the lock.

    Args:
        after: seconds since 1970 of the registry's last tag: this one is dated later, whatever the clock says,
            for tools that go by the date.

    Raises:
        Error: the name is taken, or the commit is not here.
    """
    date = f"{max(int(time.time()), after + 1)} +0000"
    variables = {**identity(), "GIT_COMMITTER_DATE": date}
    git(
        "tag",
        "--annotate",
        "--cleanup=verbatim",
        "--file=-",
        name,
        commit,
        stdin=message.encode(),
        environment=variables,
    )


def delete(name: str) -> None:
    """Take back a tag that was not pushed.

    Raises:
        Error: it is not here.
    """
    git("tag", "--delete", name)


def fetch(remote: str) -> None:
    """Take the remote's tags; where a local tag differs, the remote's replaces it.

    Raises:
        Error: the remote cannot be reached.
    """
    git("fetch", "--quiet", "--force", "--no-write-fetch-head", remote, "+refs/tags/*:refs/tags/*")
