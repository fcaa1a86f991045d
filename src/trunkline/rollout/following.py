"""An analysis that keeps up with a log that grows, window by window, without beginning anew each time.

It is a cache and nothing else: at every moment it is what the whole log, read again, would give. So a controller
may be killed at any time, and two of them decide the same.
"""

from collections.abc import Collection

import polars as pl

from trunkline.records.rollout import Plan
from trunkline.rollout.analysis import Analysis
from trunkline.rollout.decision import Decision
from trunkline.rollout.log import from_table, part
from trunkline.rollout.windows import BEGINNING, clock_of, windows


class Following:
    """One rollout's analysis.

    Args:
        plan: with its salt.
        before: the log of stable alone before the rollout; may be empty.
        accepted: as of `Analysis`.

    Raises:
        Error: the log cannot be trusted.
    """

    def __init__(self, plan: Plan, before: pl.DataFrame, accepted: Collection[str] = ()) -> None:
        self._plan = plan
        self._analysis = Analysis(plan, from_table(before, plan), accepted)
        self._place, self._ended, self._taken = BEGINNING, 0.0, 0

    def fits(self, log: pl.DataFrame) -> bool:
        """Whether nothing has come that belongs before what was taken in; otherwise begin anew."""
        if self._place.time is None:
            return True
        time = log["time"].dt.epoch("us")
        if int((time <= round(1e6 * self._place.time)).sum()) != self._taken:
            return False
        if log.height == self._taken:
            return True
        clock = clock_of(time[[self._taken]].to_numpy() / 1e6, self._plan.silence_seconds, self._place)
        return bool(clock[0] >= self._ended)

    def look(self, log: pl.DataFrame, now: float, ahead: pl.DataFrame | None = None) -> Decision:
        """Take in the windows that have ended; what stops the rollout at once does not wait for that.

        Args:
            log: of the rollout so far, with what was taken in before.
            now: seconds since 1970, up to which the log is complete.
            ahead: rows that are there although they say that they are of later.

        Raises:
            Error: the log cannot be trusted.
        """
        fresh, taken = log[self._taken :], 0
        if not fresh.is_empty():
            rows = part(fresh, self._plan)
            for window in windows(rows, self._plan, self._place, now):
                self._analysis.look(window)
                self._place, self._ended = window.place, window.clock
                taken += window.rows.time.size
        self._taken += taken
        further = fresh[taken:] if ahead is None else pl.concat([fresh[taken:], ahead])
        return self._analysis.stopped(part(further, self._plan)) or self._analysis.decision

    @property
    def begun(self) -> bool:
        """Whether any window was taken in."""
        return self._taken > 0
