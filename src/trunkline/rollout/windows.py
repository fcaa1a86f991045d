"""The log cut into windows by a clock that stands still while neither arm is heard of.

A gap without a request on either arm is an outage of the telemetry, or of everything; it is no evidence about
the canary and must not spend the plan's time.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from trunkline.records.rollout import Plan
from trunkline.rollout.log import Floats, Rows


class Place(NamedTuple):
    """How far a log was taken in.

    Attributes:
        time: of the last row taken; None before the first.
        clock: seconds on the clock at that row.
    """

    time: float | None
    clock: float


class Window(NamedTuple):
    """What arrived between two looks.

    Attributes:
        start: seconds on the clock at its beginning.
        clock: seconds on the clock at its end, when one looks.
        rows: at least one.
        place: how far the log is taken in with this window.
    """

    start: float
    clock: float
    rows: Rows
    place: Place


def split(rows: Rows) -> tuple[Rows, Rows]:
    """What came before the first weight above 0, and the rollout itself."""
    first = int(np.argmax(rows.weight > 0)) if (rows.weight > 0).any() else rows.time.size
    return rows.taken(slice(0, first)), rows.taken(slice(first, rows.time.size))


BEGINNING = Place(None, 0.0)


def clock_of(time: Floats, silence: float, place: Place = BEGINNING) -> Floats:
    """(n,) seconds since the first row, of which no gap counts for more than ``silence`` seconds.

    Added up in the same order wherever one goes on, so the sums are the same to the last bit.
    """
    gaps = np.minimum(np.diff(time, prepend=time[:1] if place.time is None else place.time), silence)
    return np.cumsum(np.concatenate([[place.clock], gaps]))[1:]


def windows(rows: Rows, plan: Plan, place: Place = BEGINNING, now: float | None = None) -> Iterator[Window]:
    """The rollout's windows; those in which nothing arrived are left out.

    Args:
        rows: at least one; those after ``place``.
        plan: of the rollout.
        place: how far the rows were taken in before, which must have been up to a window's end.
        now: a time up to which everything is known. Only windows that have ended by then are given, so that a
            controller sees the same ones however often it looks or starts again. None gives the unfinished last one
            too.
    """
    clock = clock_of(rows.time, plan.silence_seconds, place)
    number = np.floor_divide(clock, plan.poll_seconds).astype(np.int64)
    edges = np.flatnonzero(np.diff(number, prepend=-1))
    reached = None if now is None else float(clock[-1]) + min(now - float(rows.time[-1]), plan.silence_seconds)
    for start, end in zip(edges.tolist(), [*edges[1:].tolist(), rows.time.size], strict=True):
        began = float(number[start]) * plan.poll_seconds
        ended = began + plan.poll_seconds
        if end == rows.time.size:
            if reached is not None and reached < ended:
                return
            ended = float(clock[-1]) if reached is None else ended
        last = Place(float(rows.time[end - 1]), float(clock[end - 1]))
        yield Window(began, ended, rows.taken(slice(start, end)), last)
