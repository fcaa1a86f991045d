"""What a look saw, as tables: for a terminal, and for the messages of commits."""

from trunkline import terminal
from trunkline.operations.rollout.reading import Seen
from trunkline.rollout.decision import Decision, SignalState
from trunkline.words import number

_SIGNALS = ("signal", "canary", "stable", "e worse", "e no worse", "ruled out", "margin")
_EFFECTS = ("signal", "canary against stable [interval]", "shows")


def lines(seen: Seen) -> list[str]:
    """All of them, as aligned lines."""
    found = effects(seen.decision)
    shown = [*_traffic(seen), "", *_signals(seen.decision)]
    return [*shown, "", *terminal.table([_EFFECTS, *found])] if found else shown


def _traffic(seen: Seen) -> list[str]:
    """What each arm has been through."""
    rows = [(name, f"{arm.requests:,}", f"{arm.units:,}", f"{arm.bad:,}") for name, arm in seen.arms.items()]
    return terminal.table([("arm", "requests", "units", "bad"), *rows], numbers=True)


def _signals(decision: Decision) -> list[str]:
    """Each signal's events or scores and its e-values, with the values that decide."""
    rows = [signal(state) for state in decision.signals]
    limits = decision.limits
    last = ("limit", "", "", f"{limits['e_worse_mean']:g} (mean)", f"{limits['e_no_worse']:g} (each)", "", "")
    return terminal.table([_SIGNALS, *rows, last], numbers=True)


def effects(decision: Decision) -> list[tuple[str, str, str]]:
    """Of an A/B test, a row for each signal: its name, its effect, what that shows; none of a rollout."""
    return [(state.signal, str(state.effect), state.effect.shows) for state in decision.signals if state.effect]


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
