"""What windows say together: alarms whose rate a month is bounded over all windows and all that is watched.

Within a window the tests are corrected by Holm's method (1979), which holds however they hang together: a window
without any change has a false alarm with a chance of at most its part of alpha. A month has a number of windows that
is known beforehand, so a month without any change has at most alpha windows with a false alarm on average (Bonferroni;
an expectation needs no independence, though all windows share one reference). Half of alpha is for these tests, half
for the labels.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from trunkline.drift import comparison
from trunkline.drift.comparison import Compared
from trunkline.drift.observed import Seen
from trunkline.drift.watched import Against, Watched
from trunkline.records.monitoring import Kind
from trunkline.shift import holm

# Of alpha: the tests of windows, and the detector of labels.
PARTS = 2


class Rule(NamedTuple):
    """What decides.

    Attributes:
        least: conversations without which a window says nothing.
        alpha: windows with a false alarm a month without any change, on average and at most.
        clear: an alarm goes on while a window's own p is at most this.
        tolerated: by kind, the difference in points of 1 that is no alarm however sure it is.
        a_month: windows.
        first: windows that later ones are compared with.
        examples: of an alarm, at most.
    """

    least: int
    alpha: float
    clear: float
    tolerated: Mapping[Kind, float]
    a_month: float
    first: int
    examples: int


class Step(NamedTuple):
    """One thing in one window.

    Attributes:
        compared: None where it was not measured.
        p: windows a month with an alarm like this without any change, at most 1; None likewise.
        alarm: whether it is one.
    """

    compared: Compared | None
    p: float | None
    alarm: bool


def series(
    seen: Sequence[Seen], watched: Sequence[Watched], references: Mapping[Against, pl.DataFrame], rule: Rule
) -> dict[str, list[Step]]:
    """Each thing over all windows, by its key.

    Args:
        seen: windows in order.
        watched: what to compare.
        references: what is there of them; a window that is part of one is not compared with it.
        rule: see `Rule`.
    """
    found: dict[str, list[Step]] = {one.key: [] for one in watched}
    terms = comparison.Terms(rule.least, rule.alpha / PARTS / rule.a_month / max(len(watched), 1), rule.examples)
    there = {
        one.key: comparison.values(references[one.against], one.column) for one in watched if one.against in references
    }
    for one in seen:
        compared: dict[str, Compared | None] = {}
        for thing in watched:
            inside = thing.against == "start" and one.window.number < rule.first
            here = comparison.values(one.conversations, thing.column)
            known = thing.key in there and not inside
            compared[thing.key] = comparison.compare(thing, here, there[thing.key], terms) if known else None
        corrected = _corrected(compared, rule)
        for thing in watched:
            before = found[thing.key][-1].alarm if found[thing.key] else False
            found[thing.key].append(_step(thing, compared[thing.key], corrected.get(thing.key), before, rule))
    return found


def _corrected(compared: Mapping[str, Compared | None], rule: Rule) -> dict[str, float]:
    measured = {key: one.p for key, one in compared.items() if one is not None}
    adjusted = holm(list(measured.values()))
    return {key: min(1.0, p * rule.a_month * PARTS) for key, p in zip(measured, adjusted, strict=True)}


def _step(thing: Watched, compared: Compared | None, p: float | None, before: bool, rule: Rule) -> Step:
    if compared is None or p is None:
        return Step(None, None, False)
    begins = p <= rule.alpha and abs(compared.effect) >= rule.tolerated[thing.kind]
    return Step(compared, p, begins or (before and compared.p <= rule.clear))


def since(seen: Sequence[Seen], steps: Sequence[Step]) -> str | None:
    """The start of the first window of the alarm that the last one is part of; None where it is none."""
    start = None
    for one, step in zip(reversed(seen), reversed(steps), strict=True):
        if not step.alarm:
            break
        start = one.window.since.isoformat()
    return start
