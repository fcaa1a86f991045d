"""A rollout in words and tables for a terminal."""

from trunkline import terminal
from trunkline.operations.rollout.looking import Look
from trunkline.operations.rollout.reading import Seen
from trunkline.records.rollout import Rollout
from trunkline.rollout import shadow
from trunkline.rollout.decision import Decision, SignalState
from trunkline.words import number, plain, share

_SIGNALS = ("signal", "canary", "stable", "e worse", "e no worse", "ruled out", "margin")
_EFFECTS = ("signal", "canary against stable [interval]", "shows")


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
        lines += ["", *traffic(look.seen), "", *signals(look.seen.decision), ""]
        found = effects(look.seen.decision)
        lines += [*terminal.table([_EFFECTS, *found]), ""] if found else []
        lines += [plain(waits(look))]
    return "\n".join(lines)


def traffic(seen: Seen) -> list[str]:
    """What each arm has been through."""
    rows = [(name, f"{arm.requests:,}", f"{arm.units:,}", f"{arm.bad:,}") for name, arm in seen.arms.items()]
    return terminal.table([("arm", "requests", "units", "bad"), *rows], numbers=True)


def signals(decision: Decision) -> list[str]:
    """Each signal's events or scores and its e-values, with the values that decide."""
    rows = [signal(state) for state in decision.signals]
    limits = decision.limits
    last = ("limit", "", "", f"{limits['e_worse_mean']:g} (mean)", f"{limits['e_no_worse']:g} (each)", "", "")
    return terminal.table([_SIGNALS, *rows, last], numbers=True)


def effects(decision: Decision) -> list[tuple[str, str, str]]:
    """Of an A/B test, a row for each signal: its name, its effect, what that shows; none of a rollout."""
    return [(state.signal, str(state.effect), state.effect.shows) for state in decision.signals if state.effect]


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


def signal(state: SignalState) -> tuple[str, ...]:
    """A row of the table of signals."""
    return (
        state.signal,
        f"{state.canary:,}",
        f"{state.stable:,}",
        number(state.e_worse),
        number(state.e_no_worse),
        number(state.bound),
        number(state.margin),
    )
