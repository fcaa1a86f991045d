"""The log cut into windows by a clock that stands still while neither arm is heard of.

A gap without a request on either arm is an outage of the telemetry, or of everything; it is no evidence about
the canary and must not spend the plan's time.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from trunkline.records.rollout import Plan
from trunkline.rollout.log import Floats, Rows


class Window(NamedTuple):
    """What arrived between two looks.

    Attributes:
        start: seconds on the clock at its beginning.
        clock: seconds on the clock at its end, when one looks.
        rows: at least one.
    """

    start: float
    clock: float
    rows: Rows


def split(rows: Rows) -> tuple[Rows, Rows]:
    """What came before the first weight above 0, and the rollout itself."""
    first = int(np.argmax(rows.weight > 0)) if (rows.weight > 0).any() else rows.time.size
    return rows.taken(slice(0, first)), rows.taken(slice(first, rows.time.size))


def clock_of(time: Floats, silence: float) -> Floats:
    """(n,) seconds since the first row, of which no gap counts for more than ``silence`` seconds."""
    return np.cumsum(np.minimum(np.diff(time, prepend=time[:1]), silence))


def windows(rows: Rows, plan: Plan) -> Iterator[Window]:
    """The rollout's windows; those in which nothing arrived are left out.

    The last window may be unfinished. A controller that polls gives the rows up to a whole multiple of
    ``poll_seconds`` on this clock, so that it sees the same windows when it starts again.
    """
    clock = clock_of(rows.time, plan.silence_seconds)
    number = np.floor_divide(clock, plan.poll_seconds).astype(np.int64)
    edges = np.flatnonzero(np.diff(number, prepend=-1))
    for start, end in zip(edges.tolist(), [*edges[1:].tolist(), rows.time.size], strict=True):
        began = float(number[start]) * plan.poll_seconds
        ended = began + plan.poll_seconds if end < rows.time.size else float(clock[-1])
        yield Window(began, ended, rows.taken(slice(start, end)))
