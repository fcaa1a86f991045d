"""What windows say together: alarms whose rate a month is bounded over all windows and all that is watched.

Within a window the tests are corrected by Holm's method (1979), which holds however they hang together: a window
without any change has a false alarm with a chance of at most its part of alpha. A month has a number of windows that
is known beforehand, so a month without any change has at most alpha windows with a false alarm on average (Bonferroni;
an expectation needs no independence, though all windows share one reference). A third of alpha is for these tests, a
third for the labels, a third for questions of our own.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from trunkline.drift import comparison, windows
from trunkline.drift.comparison import Compared, Values
from trunkline.drift.observed import Seen
from trunkline.drift.watched import NAMES, Against, Watched
from trunkline.records.monitoring import Kind
from trunkline.shift import holm

# Of alpha: the tests of windows, the detector of labels, and what is asked again.
PARTS = 3


class Rule(NamedTuple):
    """What decides.

    Attributes:
        least: conversations without which nothing is said.
        alpha: windows with a false alarm a month without any change, on average and at most.
        clear: an alarm goes on while a window's own p is at most this.
        tolerated: by kind, the difference in points of 1 that is no alarm however sure it is.
        a_month: windows.
        together: the last windows that are looked at as one too: for small changes that stay, and for little traffic.
        first: windows that later ones are compared with.
        examples: of an alarm, at most.
    """

    least: int
    alpha: float
    clear: float
    tolerated: Mapping[Kind, float]
    a_month: float
    together: int
    first: int
    examples: int


class Step(NamedTuple):
    """One thing in one window.

    Attributes:
        own: the window by itself; None where it was not measured.
        compared: what decides: the window, or the last ones together; None where neither was measured.
        windows: how many that are.
        p: windows a month with an alarm like this without any change, at most 1; None likewise.
        alarm: whether it is one.
    """

    own: Compared | None
    compared: Compared | None
    windows: int
    p: float | None
    alarm: bool


def series(
    seen: Sequence[Seen], watched: Sequence[Watched], references: Mapping[Against, pl.DataFrame], rule: Rule
) -> dict[str, list[Step]]:
    """Each thing over all windows, by its key.

    Args:
        seen: windows in order, none left out.
        watched: what to compare.
        references: what is there of them; a window that is part of one is not compared with it. Of one that has
            windows (`comparison.WINDOW`) each is held against as many as it is itself, those that it is most like.
        rule: see `Rule`.
    """
    found: dict[str, list[Step]] = {one.key: [] for one in watched}
    level = rule.alpha / PARTS / rule.a_month / max(len(watched), 1) / (2 if rule.together > 1 else 1)
    terms = comparison.Terms(rule.least, level, rule.examples)
    there = _References(references)
    for place, one in enumerate(seen):
        recent = seen[max(0, place - rule.together + 1) : place + 1]
        sizes = {against: _size(recent, against, rule) for against in NAMES}
        tables = {size: _together(recent[len(recent) - size :]) for size in {1, *sizes.values()} if size}
        compared: dict[tuple[str, int], Compared] = {}
        for thing in watched:
            size = sizes[thing.against]
            if thing.against not in references or not size or not one.conversations.height:
                continue
            for count in {1, size}:
                here = comparison.values(tables[count], thing.column)
                result = comparison.nearest(thing, here, there.of(thing, count), terms)
                if result is not None:
                    compared[thing.key, count] = result
        corrected = _corrected(compared, rule)
        for thing in watched:
            before = found[thing.key][-1].alarm if found[thing.key] else False
            found[thing.key].append(_step(thing, compared, corrected, before, rule))
    return found


class _References:
    """The values of references, each looked up once."""

    def __init__(self, tables: Mapping[Against, pl.DataFrame]) -> None:
        self._tables = tables
        self._parts: dict[tuple[Against, int], list[pl.DataFrame]] = {}
        self._values: dict[tuple[str, int], list[Values]] = {}

    def of(self, thing: Watched, count: int) -> list[Values]:
        """What a number of windows is held against."""
        place, key = (thing.against, count), (thing.key, count)
        if place not in self._parts:
            self._parts[place] = comparison.parts(self._tables[thing.against], count)
        if key not in self._values:
            self._values[key] = [comparison.values(table, thing.column) for table in self._parts[place]]
        return self._values[key]


def _size(recent: Sequence[Seen], against: Against, rule: Rule) -> int:
    """How many of the last windows are no part of a reference."""
    return sum(against != "start" or one.window.number >= rule.first for one in recent)


def _together(recent: Sequence[Seen]) -> pl.DataFrame:
    """The conversations of windows, each once, those of the newest window first."""
    if len(recent) == 1:
        return recent[0].conversations
    frames = [one.conversations for one in reversed(recent)]
    return pl.concat(frames, how="diagonal_relaxed").unique("unit", keep="first", maintain_order=True)


def _corrected(compared: Mapping[tuple[str, int], Compared], rule: Rule) -> dict[tuple[str, int], float]:
    adjusted = holm([one.p for one in compared.values()])
    return {key: min(1.0, p * rule.a_month * PARTS) for key, p in zip(compared, adjusted, strict=True)}


def _step(
    thing: Watched,
    compared: Mapping[tuple[str, int], Compared],
    corrected: Mapping[tuple[str, int], float],
    before: bool,
    rule: Rule,
) -> Step:
    own = compared.get((thing.key, 1))
    known = [key for key in compared if key[0] == thing.key]
    if not known:
        return Step(None, None, 1, None, False)
    alarms = [key for key in known if _alarms(thing, compared[key], own, corrected[key], rule)]
    chosen = min(alarms or known, key=lambda key: (corrected[key] if alarms else 0.0, key[1]))
    one = compared[chosen]
    goes_on = before and (own or one).p <= rule.clear
    return Step(own, one, chosen[1], corrected[chosen], bool(alarms) or goes_on)


def _alarms(thing: Watched, one: Compared, own: Compared | None, p: float, rule: Rule) -> bool:
    if p > rule.alpha or abs(one.effect) < rule.tolerated[thing.kind]:
        return False
    if own is None or own is one:
        return True
    # What is over is no alarm any more, though the last windows together still show it. That is seen beside the first
    # windows together: the one that the newest is most like may be their worst.
    gone = own.counts.share - one.counts.reference_share if thing.against == "start" else own.effect
    return gone * one.effect >= one.effect**2 / 2


def since(seen: Sequence[Seen], steps: Sequence[Step]) -> str | None:
    """The start of the alarm that the last window is part of; None where it is none, or began before all of them."""
    place = len(steps)
    while place > 0 and steps[place - 1].alarm:
        place -= 1
    return None if place == len(steps) else windows.began([one.window for one in seen], place)
