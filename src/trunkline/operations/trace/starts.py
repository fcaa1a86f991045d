"""Where a trace may start, and the release that it leads to.

A start is a function of what the user wrote; the first that knows it gives the release and the links up to it.
What else leads to a release, such as a prediction, is one more function here.
"""

from collections.abc import Callable
from typing import NamedTuple

from trunkline import registry
from trunkline.clients import git
from trunkline.clients.git import log
from trunkline.errors import Error
from trunkline.lineage import Link
from trunkline.records.release import Tag
from trunkline.registry import Assignment, Entry, Model, Registration, Version
from trunkline.verdict import Verdict


class Start(NamedTuple):
    """The release that a start leads to, and how.

    Attributes:
        release: its tag.
        links: from what the user wrote to that tag.
    """

    release: Tag
    links: list[Link]


def find(what: str, model: str, state: Model) -> Start:
    """The release behind what a user wrote.

    Raises:
        Error: nothing knows it, or no release is behind it.
    """
    for start in _STARTS:
        found = start(what, model, state)
        if found is not None:
            return found
    raise Error(f"{what!r} leads to no release", "give a release (v1.2.0), a tag of the registry, or a commit")


def _release(what: str, model: str, state: Model) -> Start | None:
    if not registry.is_version(what) and not isinstance(registry.parse(what), Registration):
        return None
    version = registry.release(what, model)
    known = {**state.withdrawn, **state.versions}
    if version not in known:
        shown = ", ".join(map(str, [*state.versions][-5:])) or "none yet"
        raise Error(f"there is no release {version}", f"the newest releases are: {shown}")
    return Start(known[version], [])


def _assignment(what: str, model: str, state: Model) -> Start | None:
    event = registry.parse(what)
    if not isinstance(event, Assignment):
        return None
    entry = next((entry for entry in registry.history(state) if entry.tag == what), None)
    if entry is None:
        raise Error(f"there is no tag {what} of {model}", "see `trunkline history`")
    if entry.version is None:
        raise Error(f"{what} assigns a commit that is no release", f"trace that commit: `git rev-list -1 '{what}'`")
    return Start({**state.withdrawn, **state.versions}[Version(entry.version)], [_decided(entry)])


def _decided(entry: Entry) -> Link:
    what = f"{entry.tag}: {entry.environment} serves {entry.version}"
    if entry.note == registry.FORGED:
        return Link("decision", what, Verdict.FAIL, entry.note)
    if entry.reason is None:
        return Link("decision", what, Verdict.INCONCLUSIVE, f"{entry.note}, by {entry.by} at {entry.time}")
    return Link("decision", what, Verdict.PASS, f"{entry.action} by {entry.by} at {entry.time}: {entry.reason}")


def _commit(what: str, model: str, state: Model) -> Start | None:
    """The release of a commit itself, or else the first that holds it."""
    try:
        commit = git.resolve(what)
    except Error:
        return None
    known = {**state.withdrawn, **state.versions}
    own = [version for version, tag in known.items() if tag.commit == commit]
    if own:
        return Start(known[max(own)], [])
    names = set(log.tags_holding(commit))
    holding = [version for version, tag in known.items() if tag.name in names]
    if not holding:
        raise Error(
            f"no release of {model} holds commit {commit[:12]}", "it is not released yet: see `trunkline status`"
        )
    first = min(holding)
    link = Link("commit", commit, Verdict.PASS, f"{first} is the first release that holds it")
    return Start(known[first], [link])


_STARTS: tuple[Callable[[str, str, Model], Start | None], ...] = (_release, _assignment, _commit)
