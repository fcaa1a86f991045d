"""A canary whose requests a load balancer splits at random, as on Kubernetes: no salt, and no weight in the log.

Whether it is worse is decided by counts, which need neither. Where a weight is asked for, as to show that it is no
worse than a margin, the share of a window's requests that the canary was given takes its place. Given that share
the events of a window are spread hypergeometrically, which is less than the independent votes that the e-processes
allow for, so they keep their level. Whether the share itself is right cannot be told.
"""

import polars as pl

from trunkline.records.rollout import Plan
from trunkline.rollout.analysis import Analysis, Finding
from trunkline.rollout.decision import Decision
from trunkline.rollout.log import Rows, part
from trunkline.rollout.windows import windows
from trunkline.verdict import Verdict


def weighted(window: pl.DataFrame, seconds: float) -> pl.DataFrame:
    """The prediction log's window with the canary's share of the requests, every so many seconds, as its weight."""
    period = pl.col("time").dt.truncate(f"{round(1e6 * seconds)}us")
    return window.with_columns(weight=(pl.col("arm") == "canary").mean().over(period))


def judge(plan: Plan, before: pl.DataFrame, during: pl.DataFrame, weight: float | None, now: float) -> Decision:
    """What the requests of a canary say: fail when it is worse, pass when a step's margins are ruled out.

    Args:
        plan: by ``counts``, without a salt.
        before: the log of stable alone; may be empty.
        during: the log since the canary's first request.
        weight: of the step that is asked about; None asks only whether the canary is worse.
        now: seconds since 1970, up to which the log is complete.

    Raises:
        Error: the log cannot be trusted.
    """
    analysis = _Requests(plan, part(before, plan), weight)
    if during.is_empty():
        return analysis.decision
    rows, taken = part(during, plan), 0
    for window in windows(rows, plan, now=now):
        analysis.look(window)
        taken += window.rows.time.size
    return analysis.stopped(rows.taken(slice(taken, None))) or analysis.decision


class _Requests(Analysis):
    """As `Analysis`, but of one step that somebody else keeps."""

    def __init__(self, plan: Plan, before: Rows, weight: float | None) -> None:
        super().__init__(plan, before)
        self._asked = weight

    def _decided(self, found: Finding) -> Decision:
        decided = super()._decided(found)
        verdict = Verdict.PASS if found.action == "advance" else decided.verdict
        return decided.model_copy(update={"weight": self._asked or 0.0, "verdict": verdict})

    @property
    def _step(self) -> int:
        # Percents come from another file than the plan's steps.
        reached = [place for place, step in enumerate(self._plan.steps) if step.weight <= (self._asked or 0) + 1e-9]
        return reached[-1] if reached else 0

    def _next(self) -> Finding:
        tests = self._tests
        if 0 in tests.ratio.seen:
            return Finding("hold", "no request", "not both arms have answered requests")
        if self._hard_stops.shared:
            return Finding("hold", "shared failure", f"both arms fail alike: {', '.join(self._hard_stops.shared)}")
        if self._asked is None:
            return Finding("hold", "minutes", "the canary is not shown to be worse; no step was asked about")
        if tests.lacking(self._step):
            return Finding("hold", "evidence", f"not yet shown at {self._asked:.0%}")
        return Finding("advance", "enough", f"every signal is within its margin at {self._asked:.0%}")
