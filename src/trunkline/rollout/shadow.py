"""The shadow: what the canary answers to stable's own requests, for nobody, before any user is given to it.

Both arms answer the same request, so a pair says more than two requests do. A unit votes once, with its first pair
that was measured, in the order in which the canary was asked: no answer can change that order. Only its known
beginning counts, as what is awaited longest may be what fails. Of each signal two bettors of the gate bet on the
difference of the arms: one against "the canary fails no more than the margin more often", one against "at least so
much". Their capitals are e-processes, so one may look at any time.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from trunkline import faults
from trunkline.gate.betting import Bet, Floats, bound, capital
from trunkline.records.rollout import Plan, Rollout
from trunkline.records.shadow import Shadow
from trunkline.rollout.decision import VERDICTS, Action, Because, Decision, SignalState
from trunkline.rollout.requests import Arm

SIGNALS = ("error", "format_error", "blocked")
ARMS = ("canary", "stable")
# Says nothing about who should have answered.
_CUT_OFF = ("client_left", "shutdown")


class Seen(NamedTuple):
    """What the pairs say.

    Attributes:
        decision: what follows.
        arms: what ``canary`` and ``stable`` have been through, on the same requests.
    """

    decision: Decision
    arms: dict[str, Arm]


class Clock(NamedTuple):
    """When one looks.

    Attributes:
        started: when the rollout began.
        now: up to when the log is complete.
        timeout: seconds after which a request without outcome was never answered.
    """

    started: datetime
    now: datetime
    timeout: float


def runs(rollout: Rollout) -> bool:
    """Whether a rollout is in its shadow."""
    return rollout.plan.shadow is not None and rollout.weight == 0 and not rollout.over


def judge(plan: Plan, pairs: pl.DataFrame, clock: Clock, accepted: Collection[str] = ()) -> Seen:
    """What becomes of a rollout that is in its shadow.

    Args:
        plan: with a shadow.
        pairs: the columns ``prediction unit time agree`` and of each arm ``ended error latency_ms ttft_ms tokens_out
            engine_model format_ok`` by its name, a row a mirrored request; in any order.
        clock: when one looks.
        accepted: reasons to ask a human that a human has answered already.
    """
    if plan.shadow is None:
        raise AssertionError("a rollout without a shadow is not judged by one")
    asked = pairs.filter(pl.col("time") <= clock.now).sort("prediction").with_columns(known=_known(clock))
    known = _with_events(asked.filter(pl.col("known").cast(pl.Int8).cum_min() == 1))
    votes = known.filter("measured").unique("unit", keep="first", maintain_order=True)
    tests = [_Test(name, votes, plan, plan.shadow) for name in SIGNALS]
    times = asked["time"].sort()
    # Nothing was asked before the start, whatever a gateway's clock says.
    begun: datetime | None = None if asked.is_empty() else max(times[0], clock.started)
    found = _find(plan, plan.shadow, tests, _Progress(begun, asked, votes.height, clock), accepted)
    decision = Decision(
        time=None if begun is None else times[-1].isoformat(),
        minutes=max((clock.now - begun).total_seconds(), 0.0) / 60 if begun else 0.0,
        weight=0.0,
        action=found.action,
        to={"advance": plan.steps[0].weight, "rollback": 0.0}.get(found.action),
        because=found.because,
        reason=f"{found.reason}{_facts(known, votes.height)}",
        human=found.because == "pairs",
        culprits=found.culprits,
        verdict=VERDICTS[found.action],
        units=(votes.height, votes.height),
        worse_than=None,
        e_ratio=1.0,
        limits={"e_worse_mean": 1 / plan.alpha.reserve, "e_no_worse": 1 / plan.beta},
        signals=tuple(test.state for test in tests),
    )
    return Seen(decision, {arm: _arm(known, arm, votes.height) for arm in ARMS})


class _Finding(NamedTuple):
    """See `Decision`."""

    action: Action
    because: Because
    reason: str
    culprits: tuple[str, ...] = ()


class _Progress(NamedTuple):
    """How far the shadow is: since when, by which requests, how many units have voted, and the time."""

    begun: datetime | None
    asked: pl.DataFrame
    votes: int
    clock: Clock

    def over(self, minutes: float) -> bool:
        """Whether the time has passed and all that was asked within it is known."""
        if self.begun is None:
            return False
        end = self.begun + timedelta(minutes=minutes)
        return self.clock.now >= end and bool(self.asked.filter(pl.col("time") < end)["known"].all())


class _Test:
    """One signal's two bettors."""

    def __init__(self, name: str, votes: pl.DataFrame, plan: Plan, shadow: Shadow) -> None:
        self.name, self._margin = name, shadow.margin
        columns = (pl.col(_event(arm, name)).cast(pl.Float64).fill_null(np.nan) for arm in ARMS)
        events = votes.select(columns).to_numpy()
        measured = ~np.isnan(events).any(axis=1)
        self._canary, self._stable = (int(count) for count in events[measured].sum(axis=0))
        self._difference: Floats = np.subtract(*events[measured].T)
        against = Bet(shadow.margin, plan.alpha.reserve, -1.0, shadow.pairs)
        self._for = Bet(shadow.margin, plan.beta, -1.0, shadow.pairs)
        place = np.cumsum(measured)
        # What a pair does not measure changes no capital.
        self.harm = np.concatenate([[1.0], capital(self._difference, shadow.margin, against)])[place]
        self.safe = np.concatenate([[1.0], capital(-self._difference, -shadow.margin, self._for)])[place]

    @property
    def state(self) -> SignalState:
        bounded = -bound(-self._difference, self._for, 1.0) if self._difference.size else 1.0
        return SignalState(
            signal=self.name,
            canary=self._canary,
            stable=self._stable,
            e_worse=float(self.harm[-1]) if self.harm.size else 1.0,
            e_no_worse=float(self.safe[-1]) if self.safe.size else 1.0,
            margin=self._margin,
            bound=bounded if bounded < 1 else None,
        )


def _find(plan: Plan, shadow: Shadow, tests: list[_Test], seen: _Progress, accepted: Collection[str]) -> _Finding:
    worse = np.mean([test.harm for test in tests], axis=0)
    if (worse >= 1 / plan.alpha.reserve).any():
        place = int((worse >= 1 / plan.alpha.reserve).argmax())
        first = max(tests, key=lambda test: float(test.harm[place]))
        return _Finding("rollback", "worse", f"in the shadow the canary is worse: {first.name}", (first.name,))
    if seen.votes and all(test.safe[-1] >= 1 / plan.beta for test in tests):
        return _Finding("advance", "enough", "in the shadow every signal is within its margin")
    if "pairs" in accepted:
        return _Finding("advance", "no harm", "a human accepts what the shadow has shown")
    if seen.begun is None:
        if seen.clock.now <= seen.clock.started + timedelta(minutes=plan.horizon_minutes):
            return _Finding("hold", "no request", "no request was mirrored yet")
        return _Finding("hold", "pairs", f"no request was mirrored within {plan.horizon_minutes:g} minutes")
    if not seen.over(shadow.minutes):
        return _Finding("hold", "minutes", f"the shadow lasts {shadow.minutes:g} minutes")
    if seen.votes < shadow.pairs:
        return _Finding("hold", "pairs", f"the shadow is over with fewer than {shadow.pairs} units measured")
    return _Finding("advance", "no harm", f"no harm was shown in {shadow.minutes:g} minutes of shadow")


def _known(clock: Clock) -> pl.Expr:
    """Whether nothing more is awaited of a pair; both arms are asked no longer than the timeout allows."""
    ended = pl.all_horizontal(pl.col(f"{arm}_ended").is_not_null() for arm in ARMS)
    return ended | (pl.col("time") < clock.now - timedelta(seconds=clock.timeout))


def _event(arm: str, signal: str) -> str:
    """The name of an event's column."""
    return f"{arm} had {signal}"


def _with_events(pairs: pl.DataFrame) -> pl.DataFrame:
    """With what each arm did, and whether the pair was measured.

    A shadow without an outcome was never answered and has failed, as everywhere; the canary is asked once stable's
    answer has ended, so stable without one says only that a record is missing.
    """
    cut = pl.any_horizontal(pl.col(f"{arm}_error").is_in(_CUT_OFF).fill_null(False) for arm in ARMS)
    measured = pairs.select(measured=pl.col("stable_ended").is_not_null() & ~cut)
    return pl.concat([pairs, measured, *(_events(pairs, arm) for arm in ARMS)], how="horizontal")


def _events(pairs: pl.DataFrame, arm: str) -> pl.DataFrame:
    rows = pairs.select(
        pl.col(name).alias(name.removeprefix(f"{arm}_")) for name in pairs.columns if name.startswith(f"{arm}_")
    )
    ended, error = pl.col("ended").is_not_null(), pl.col("error")
    events = {
        "error": pl.when(ended).then(faults.failed()).otherwise(True),
        "format_error": pl.when(ended & error.is_null()).then(~pl.col("format_ok")),
        # Both were asked the same, so a guard that refuses what is asked tells of its release here.
        "blocked": pl.when(ended).then((error == "guard").fill_null(False)),
    }
    return rows.select(event.alias(_event(arm, name)) for name, event in events.items())


def _arm(known: pl.DataFrame, arm: str, units: int) -> Arm:
    bad = pl.any_horizontal(pl.col(_event(arm, name)).fill_null(False) for name in SIGNALS)
    rows = known.filter("measured")
    return Arm(rows.height, units, int(rows.select(bad.sum()).item()))


def _facts(known: pl.DataFrame, votes: int) -> str:
    """What the pairs show besides, and nothing is decided by: neither engine has the load here that it will have."""
    if known.is_empty():
        return ""
    both = known.filter(pl.all_horizontal(pl.col(f"{arm}_error").is_null() for arm in ARMS))
    slower = both.select((pl.col("canary_latency_ms") / pl.col("stable_latency_ms")).median()).item()
    agree = known.select(pl.col("agree").mean()).item()
    parts = [f"{known.height:,} pairs of {votes:,} units"]
    parts += [] if agree is None else [f"{agree:.0%} of the answers are the same"]
    parts += [] if slower is None else [f"the canary takes {slower:.2g} times as long, in the median"]
    return f" ({'; '.join(parts)})"
