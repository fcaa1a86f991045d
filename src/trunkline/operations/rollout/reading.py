"""The prediction log of one rollout, read bit by bit; what was read before is kept.

A look asks the database for what may have changed, and for how much there is in all. Whenever there is more than
was read, as after an outage in which a gateway's records waited, everything is read again.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl

from trunkline.clients import predictions
from trunkline.params import Params
from trunkline.records.prediction import Selection
from trunkline.records.rollout import Rollout
from trunkline.rollout import requests, shadow
from trunkline.rollout.decision import Decision
from trunkline.rollout.following import Following
from trunkline.rollout.trace import Point, trace

# A record is in the database this many seconds after it was made, unless the database or its gateway is slow.
SETTLES_S = 1.0
# A look takes so many seconds at most; what is later than that comes from another clock.
AHEAD_S = 5.0


class Seen(NamedTuple):
    """What a look saw.

    Attributes:
        decision: of the analysis, on all windows that have ended; or of the shadow.
        arms: what ``canary`` and ``stable`` have been through.
        log: all rows of the rollout so far; in its shadow, the pairs.
    """

    decision: Decision
    arms: dict[str, requests.Arm]
    log: pl.DataFrame


def look_at(params: Params, rollout: Rollout, reader: "Reader", now: float) -> Seen:
    """What the log says of a rollout where it is: in its shadow, or with units of its own.

    Args:
        params: whose ``serve`` says where the log is and how long an answer may take.
        rollout: as it is.
        reader: of this rollout's ramp.
        now: seconds since 1970.

    Raises:
        Error: as `Reader.look`.
    """
    if not shadow.runs(rollout):
        return reader.look(now)
    with predictions.reading(params.serve.log) as database:
        pairs = predictions.pairs(database, rollout.name)
    moment = datetime.fromtimestamp(now - SETTLES_S, UTC)
    clock = shadow.Clock(datetime.fromisoformat(rollout.started), moment, params.serve.timeouts.total)
    seen = shadow.judge(rollout.plan, pairs, clock, rollout.accepted)
    return Seen(seen.decision, seen.arms, pairs)


def _told(decision: Decision, ahead: pl.DataFrame, now: float) -> Decision:
    """With a word on records that are of later than now, which are judged once that time has come."""
    beyond = ahead["time"].dt.epoch("us").to_numpy() / 1e6 - now
    later = beyond[beyond > AHEAD_S]
    if not later.size:
        return decision
    many = f"{later.size:,} requests ended up to {later.max():,.0f} s later than now"
    clocks = "a gateway's clock is ahead, or this one's behind, and they are judged only then"
    return decision.model_copy(update={"reason": f"{decision.reason}; {many}: {clocks}"})


class Reader:
    """Reads the log of one rollout and keeps its analysis.

    Args:
        params: whose ``serve`` says where the log is and how long an answer may take.
        rollout: as it started.
    """

    def __init__(self, params: Params, rollout: Rollout) -> None:
        self._log, self._timeout = params.serve.log, params.serve.timeouts.total
        self._rollout = rollout
        self._window: pl.DataFrame | None = None
        self._feedback: pl.DataFrame | None = None
        self._following: Following | None = None
        self._stable: pl.DataFrame | None = None

    def look(self, now: float) -> Seen:
        """Take in what has come.

        Args:
            now: seconds since 1970.

        Raises:
            Error: the database does not answer, or the log cannot be trusted.
        """
        until = now - SETTLES_S
        with predictions.reading(self._log) as database:
            self._read(database, until)
            log = self._table(until)
            following = self._following
            if following is None or not following.begun or not following.fits(log):
                self._stable = self._before(database)
                following = Following(self._rollout.plan, self._stable, self._rollout.accepted)
        self._following = following
        ahead = self._ahead(until)
        decision = _told(following.look(log, until, ahead), ahead, now)
        return Seen(decision, requests.arms(log, self._rollout.plan), log)

    def trace(self, now: float) -> list[Point]:
        """Looks spread evenly over the rollout, on what the last `look` read.

        Raises:
            Error: the log cannot be trusted.
        """
        if self._stable is None:
            raise AssertionError("one looks before one traces")
        until = now - SETTLES_S
        return trace(self._rollout.plan, self._stable, self._table(until), until, self._rollout.accepted)

    def whole(self, now: float) -> pl.DataFrame:
        """The rollout's log up to now, with stable's rows before it, for `trunkline rollout replay`.

        Raises:
            Error: the database does not answer.
        """
        with predictions.reading(self._log) as database:
            self._read(database, now)
            return pl.concat([self._before(database), self._table(now)])

    def _read(self, database: predictions.Database, until: float) -> None:
        selection = Selection(rollout=self._rollout.name)
        assigned, ended, said = database.count(selection)
        if self._window is not None:
            # Earlier requests are answered, or never will be.
            since = datetime.fromtimestamp(until, UTC) - timedelta(seconds=self._timeout + SETTLES_S)
            older = self._window.filter(pl.col("time") < since)
            self._window = pl.concat([older, database.window(selection._replace(since=since))])
        window = self._window
        if window is None or window.height < assigned or window["ended"].count() < ended:
            self._window = database.window(selection)
        if self._feedback is None or self._feedback.height != said:
            self._feedback = database.feedback(selection)

    def _table(self, until: float) -> pl.DataFrame:
        if self._window is None or self._feedback is None:
            raise AssertionError("the log is read before it is shown")
        log = requests.table(self._window, self._feedback, self._rollout.plan, self._timeout, until)
        # A gateway may still name the rollout when its weight is 0 again.
        return log.filter(pl.col("weight") > 0)

    def _ahead(self, until: float) -> pl.DataFrame:
        """Requests that have ended, by a gateway's clock later than ``until``."""
        if self._window is None or self._feedback is None:
            raise AssertionError("the log is read before it is shown")
        later = self._window.filter((pl.col("ended") > datetime.fromtimestamp(until, UTC)) & (pl.col("weight") > 0))
        end = float(later["ended"].dt.epoch("us").to_numpy().max(initial=round(1e6 * until))) / 1e6
        return requests.table(later, self._feedback.clear(), self._rollout.plan, self._timeout, end)

    def _before(self, database: predictions.Database) -> pl.DataFrame:
        """Stable alone, for as long before the rollout as its horizon is after."""
        rollout = self._rollout
        started = datetime.fromisoformat(rollout.started)
        selection = Selection(
            since=started - timedelta(minutes=rollout.plan.horizon_minutes),
            until=started,
            release=f"{rollout.model}@{rollout.stable}",
            environment=rollout.environment,
        )
        window = database.window(selection).filter((pl.col("weight") == 0) & (pl.col("arm") == "stable"))
        feedback = database.feedback(selection)
        return requests.table(window, feedback, rollout.plan, self._timeout, started.timestamp())
