"""What served when, who decided, and why: one entry an assignment, from the tags alone."""

from datetime import UTC, datetime
from typing import NamedTuple

from trunkline.registry.grammar import Assignment
from trunkline.registry.rules import decision_of
from trunkline.registry.state import Assigned, Model


class Entry(NamedTuple):
    """One assignment or withdrawal.

    Attributes:
        tag: its tag's name.
        version: None where the commit has no version.
        action: ``promote``, ``rollback``, ``empty``, or ``assign`` where nobody recorded which.
        time: UTC, ISO 8601: the decision's, or else the tag's.
        until: the time of the environment's next entry; None while this is its last.
        by: who decided, or else who made the tag.
        reason: None where none was recorded.
        run: address of the workflow's run, where there was one.
        note: why this is not to be taken as a decision that this tool recorded; None otherwise.
    """

    tag: str
    number: int
    environment: str
    version: str | None
    action: str
    time: str
    until: str | None
    by: str
    reason: str | None
    run: str | None
    note: str | None


FOREIGN = "made by another tool"
FORGED = "its message does not fit its tag"
GONE = "the version was withdrawn"


def history(state: Model, environment: str | None = None) -> list[Entry]:
    """Every assignment in the order of their numbers, the first first.

    Args:
        environment: only of this one.
    """
    following: dict[str, str] = {}
    entries = []
    for event, assigned in reversed(state.assignments):
        if environment in (None, event.environment):
            entries.append(_entry(event, assigned, following.get(event.environment)))
            following[event.environment] = entries[-1].time
    return entries[::-1]


def _entry(event: Assignment, assigned: Assigned, until: str | None) -> Entry:
    tag, version = assigned.tag, assigned.named
    shown = None if version is None else str(version)
    bare = Entry(
        tag=tag.name,
        number=event.number,
        environment=event.environment,
        version=shown,
        action="empty" if event.withdrawn else "assign",
        time=_utc(tag.time),
        until=until,
        by=tag.by,
        reason=None,
        run=None,
        note=FOREIGN,
    )
    decision = decision_of(tag)
    if decision is None:
        return bare
    if decision.version != shown:
        return bare._replace(note=FORGED)
    told = bare._replace(action=decision.action, time=decision.created, by=decision.by, reason=decision.reason)
    return told._replace(run=decision.run, note=GONE if assigned.version is None else None)


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
