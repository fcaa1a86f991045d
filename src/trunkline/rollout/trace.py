"""How a rollout's evidence grew, for its report."""

from collections.abc import Collection
from typing import NamedTuple

import polars as pl

from trunkline.records.rollout import Plan
from trunkline.rollout import requests
from trunkline.rollout.analysis import Analysis
from trunkline.rollout.decision import Decision
from trunkline.rollout.log import from_table, part
from trunkline.rollout.windows import windows

# A figure shows no more looks than so many.
_MOST = 120


class Point(NamedTuple):
    """One look.

    Attributes:
        time: of its last row, seconds since 1970.
        decision: with the evidence of then.
        bad: by arm, bad requests up to then.
    """

    time: float
    decision: Decision
    bad: dict[str, int]


def trace(plan: Plan, before: pl.DataFrame, log: pl.DataFrame, now: float, accepted: Collection[str]) -> list[Point]:
    """Looks spread evenly over a rollout, the last one among them; the arguments are those of `Following`.

    Raises:
        Error: the log cannot be trusted.
    """
    if log.is_empty():
        return []
    analysis = Analysis(plan, from_table(before, plan), accepted)
    found = list(windows(part(log, plan), plan, now=now))
    every = max(1, -(-len(found) // _MOST))
    points, taken = [], 0
    for number, window in enumerate(found, start=1):
        analysis.look(window)
        taken += window.rows.time.size
        if number % every == 0 or number == len(found) or analysis.over:
            bad = {name: arm.bad for name, arm in requests.arms(log[:taken], plan).items()}
            points.append(Point(window.place.time or 0.0, analysis.decision, bad))
        if analysis.over:
            break
    return points
