"""Where a trace may start, and the release that it leads to.

A start is a function of what the user wrote; the first that knows it gives the release and the links up to it.
"""

from collections.abc import Callable
from typing import NamedTuple, Self

from trunkline import registry
from trunkline.clients import git, predictions
from trunkline.clients.git import log
from trunkline.errors import Error
from trunkline.lineage import Link
from trunkline.operations.trace import predicted
from trunkline.params import Params
from trunkline.records.prediction import WORKING_COPY, is_id, time_of
from trunkline.records.release import Tag
from trunkline.registry import Assignment, Entry, Model, Registration, Version
from trunkline.verdict import Verdict


class Start(NamedTuple):
    """The release that a start leads to, and how.

    Attributes:
        name: of the release.
        release: its tag; None where the links end before one.
        links: from what the user wrote to that tag.
        told: what else is known of what the user wrote, by name.
    """

    name: str
    release: Tag | None
    links: list[Link]
    told: list[tuple[str, str]]

    @classmethod
    def at(cls, tag: Tag, *links: Link) -> Self:
        """At a release's tag, with the links that lead to it."""
        return cls(tag.name, tag, [*links], [])


def find(what: str, params: Params, state: Model) -> Start:
    """The release behind what a user wrote.

    Raises:
        Error: nothing knows it, or no release is behind it; or the prediction log cannot be read.
    """
    for start in _STARTS:
        found = start(what, params.project.name, state)
        if found is not None:
            return found
    if is_id(what):
        return _prediction(what, params, state)
    hint = "give a prediction's id, a release (v1.2.0), a tag of the registry, or a commit"
    raise Error(f"{what!r} leads to no release", hint)


def _prediction(what: str, params: Params, state: Model) -> Start:
    """The release that answered a logged prediction."""
    with predictions.reading(params.serve.log) as database:
        found = database.find(what)
        first = None if found is None else predictions.first_answer(database, found.assignment.release)
    if found is None:
        days = params.serve.log.keep_days
        kept = "" if days is None else f" Predictions older than {days} days are deleted (serve.log.keep_days)."
        made = f"its id was made at {time_of(what).isoformat(timespec='seconds')}.{kept}"
        hint = f"{made} One of this moment may still wait in its gateway's spool"
        raise Error(f"the prediction log has no prediction {what}", hint)
    name, told = found.assignment.release, predicted.told(found)
    release = _released(name, params.project.name, state)
    if isinstance(release, str):
        return Start(name, None, [predicted.logged(found), predicted.absent(found.assignment, release)], told)
    end = found.outcome
    engine = [] if end is None else [predicted.answered_by(end, release, first)]
    return Start(name, release, [predicted.logged(found), *engine], told)


def _released(name: str, model: str, state: Model) -> Tag | str:
    """The tag of the release that a prediction names, or why it leads to none."""
    if name == f"{model}@{WORKING_COPY}":
        return "a working copy was served: no release says what it was made of"
    event = registry.parse(name)
    if isinstance(event, Registration) and event.model != model:
        return f"it is a release of {event.model}: trace it in that project's repository"
    known = {tag.name: tag for tag in [*state.withdrawn.values(), *state.versions.values()]}
    return known.get(name) or "the registry has no such release: `git fetch --tags`, or its tag was deleted"


def _release(what: str, model: str, state: Model) -> Start | None:
    if not registry.is_version(what) and not isinstance(registry.parse(what), Registration):
        return None
    version = registry.release(what, model)
    known = {**state.withdrawn, **state.versions}
    if version not in known:
        shown = ", ".join(map(str, [*state.versions][-5:])) or "none yet"
        raise Error(f"there is no release {version}", f"the newest releases are: {shown}")
    return Start.at(known[version])


def _assignment(what: str, model: str, state: Model) -> Start | None:
    event = registry.parse(what)
    if not isinstance(event, Assignment):
        return None
    entry = next((entry for entry in registry.history(state) if entry.tag == what), None)
    if entry is None:
        raise Error(f"there is no tag {what} of {model}", "see `trunkline history`")
    if entry.version is None:
        raise Error(f"{what} assigns a commit that is no release", f"trace that commit: `git rev-list -1 '{what}'`")
    return Start.at({**state.withdrawn, **state.versions}[Version(entry.version)], _decided(entry))


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
        return Start.at(known[max(own)])
    names = set(log.tags_holding(commit))
    holding = [version for version, tag in known.items() if tag.name in names]
    if not holding:
        raise Error(
            f"no release of {model} holds commit {commit[:12]}", "it is not released yet: see `trunkline status`"
        )
    first = min(holding)
    link = Link("commit", commit, Verdict.PASS, f"{first} is the first release that holds it")
    return Start.at(known[first], link)


_STARTS: tuple[Callable[[str, str, Model], Start | None], ...] = (_release, _assignment, _commit)
