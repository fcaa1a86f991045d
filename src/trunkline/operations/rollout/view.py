"""A rollout in words for a terminal."""

from trunkline.operations.rollout import tables
from trunkline.operations.rollout.looking import Look
from trunkline.records.rollout import Rollout
from trunkline.rollout import shadow
from trunkline.words import plain, share


def line(look: Look) -> str:
    """What a look found and did, in a line."""
    rollout = look.rollout
    if look.acted or look.seen is None or rollout.over:
        return plain(f"{_head(rollout)}: {rollout.action} by {rollout.by} ({rollout.because}): {rollout.reason}")
    decision = look.seen.decision
    if rollout.state == "held":
        return plain(f"{_head(rollout)}: held by {rollout.by} ({rollout.because}): {rollout.reason}")
    return plain(f"{_head(rollout)}: {decision.action} ({decision.because}): {decision.reason}")


def status(look: Look) -> str:
    """What runs, since when, by what evidence, and what it waits for."""
    rollout = look.rollout
    said = [
        f"{_head(rollout)}, against {rollout.stable}: {_state(rollout)}",
        f"since {rollout.since} by {rollout.by} ({rollout.action}, {rollout.because}): {rollout.reason}",
        f"{rollout.name}, started {rollout.started}",
    ]
    told = shadowed(rollout)
    lines = [plain(text) for text in (*said, *([told] if told else []))]
    if look.seen is not None:
        lines += ["", *tables.lines(look.seen), "", plain(waits(look))]
    return "\n".join(lines)


def waits(look: Look) -> str:
    """What has to happen next."""
    if look.seen is None or look.rollout.over:
        return "nothing more is decided"
    if look.rollout.state == "held":
        return f"waits for a human: {look.rollout.reason}; `trunkline rollout resume`, `promote` or `rollback`"
    return f"waits: {look.seen.decision.reason}"


def shadowed(rollout: Rollout) -> str | None:
    """What becomes of the requests in a rollout's shadow; None while it is not in one."""
    plan = rollout.plan.shadow
    if plan is None or not shadow.runs(rollout):
        return None
    return f"the canary is asked {share(plan.share)} of stable's requests too, and nobody gets its answers"


def _head(rollout: Rollout) -> str:
    where = "as a shadow" if shadow.runs(rollout) else f"at {share(rollout.weight)}"
    return f"{rollout.model} {rollout.canary} in {rollout.environment} {where}"


def _state(rollout: Rollout) -> str:
    return {"held": "held for a human", "rolled_back": "rolled back"}.get(rollout.state, rollout.state)
