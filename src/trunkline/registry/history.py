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
    wanted = (pair for pair in state.assignments if environment in (None, pair[0].environment))
    return [_entry(event, assigned) for event, assigned in wanted]


def _entry(event: Assignment, assigned: Assigned) -> Entry:
    tag, version = assigned.tag, assigned.named
    shown = None if version is None else str(version)
    common = (tag.name, event.number, event.environment, shown)
    decision = decision_of(tag)
    if decision is not None and decision.version == shown:
        note = GONE if assigned.version is None else None
        return Entry(*common, decision.action, decision.created, decision.by, decision.reason, decision.run, note)
    action = "empty" if event.withdrawn else "assign"
    note = FORGED if decision is not None else FOREIGN
    return Entry(*common, action, _utc(tag.time), tag.by, None, None, note)


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
