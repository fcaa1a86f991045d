"""What the start of a rollout fixed: it holds whatever somebody has made of it in the branch's file since.

A salt that changes would put units on other arms, a margin that changes would let evidence promote that was not asked
for, and another canary would be promoted by the evidence of the first.
"""

from collections.abc import Iterable
from typing import NamedTuple

from trunkline.errors import Error
from trunkline.records.rollout import Rollout

FIXED = ("model", "environment", "stable", "canary", "plan", "started", "assigned")


class Held(NamedTuple):
    """A rollout, held against its start.

    Attributes:
        rollout: with all that its start fixed, at a share of its plan.
        ignored: what the file says otherwise, by the names of its fields.
    """

    rollout: Rollout
    ignored: tuple[str, ...]


def held(rollout: Rollout, contents: Iterable[bytes]) -> Held:
    """Hold a rollout against its start.

    Args:
        rollout: as the file says it now.
        contents: that the file had, the newest first; what is before the rollout's start is not read.
    """
    return against(rollout, _start(rollout, contents))


def against(rollout: Rollout, start: Rollout) -> Held:
    """Hold a rollout against what it started as.

    The share is the next lower one of the plan where it is none of them: a share that nobody planned would ask more
    units than was agreed on.
    """
    as_it_was = rollout.model_copy(update={name: getattr(start, name) for name in FIXED})
    if not as_it_was.over:
        shares = (0.0, *(step.weight for step in as_it_was.plan.steps))
        share = max(share for share in shares if share <= as_it_was.weight)
        as_it_was = as_it_was.model_copy(update={"weight": share})
    changed = tuple(name for name in (*FIXED, "weight") if getattr(as_it_was, name) != getattr(rollout, name))
    return Held(as_it_was, changed)


def _start(rollout: Rollout, contents: Iterable[bytes]) -> Rollout:
    start = rollout
    for content in contents:
        try:
            earlier = Rollout.parse(content, rollout.name)
        except Error:
            continue  # it was mended since
        if earlier.name != rollout.name:
            break
        start = earlier
    return start
