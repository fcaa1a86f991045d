"""The tests of one rollout, fed window by window.

Alpha is shared so (the plan's `alpha`): `planned` is spent along the clock by P, one maximum over all signals,
or by X, shared evenly among the events; `reserve` belongs to the average of all signals' e-processes, which go
on when the horizon has passed; `ratio` to the shares of the arms, of all requests and of those with each
optional outcome. A signal that tolerates some harm is only in `reserve`: P tests that there is no difference
at all, which one replica of a few is enough to break. Leaving a step needs every signal to be shown no worse
than its margin, each at `beta`: an intersection of claims needs no correction. In an A/B test nothing is left:
`beta` is shared evenly among the intervals of the effects.
"""

from typing import NamedTuple

import numpy as np

from trunkline import sequential
from trunkline.records.rollout import EventMetric, Plan
from trunkline.rollout.decision import Effect
from trunkline.rollout.effects import effect
from trunkline.rollout.log import Floats, Rows
from trunkline.rollout.planned import ByCounts, ByPlacebo, counts_of
from trunkline.rollout.signals import Reader, Signal, signals_of
from trunkline.rollout.windows import Window
from trunkline.sequential import DIFFERENCE_CLAIMS, Bets, Interval, SampleRatio, Stratified, Tally
from trunkline.sequential.ratio import first_time
from trunkline.sequential.scores import Claim


class Evidence(NamedTuple):
    """Where a signal stands.

    Attributes:
        signal: what is watched.
        canary: events, or scores, of canary units; a unit counts once.
        stable: those of stable units.
        harm: the logarithm of the e-value that the canary is worse than tolerated.
        safe: the logarithm of the e-value that it is better than the step's margin.
        bound: the smallest ratio (of a score, loss) that is ruled out; None while none is.
        effect: of an A/B test, else None.
    """

    signal: Signal
    canary: int
    stable: int
    harm: float
    safe: float
    bound: float | None
    effect: Effect | None


class Broken(NamedTuple):
    """Why the canary has to be rolled back.

    Attributes:
        signals: the culprits, the worst first; empty when there is none.
        planned: whether the test that has a horizon found them, rather than the reserve.
    """

    signals: tuple[str, ...]
    planned: bool


class Tests:
    """All tests of a rollout.

    Args:
        plan: fixed before the rollout.
        before: the rows before it.
        trusting: whether a human accepts that the arms' shares are not what was asked for.
    """

    def __init__(self, plan: Plan, before: Rows, trusting: bool = False) -> None:
        self._plan, self._trusting = plan, trusting
        self.signals = signals_of(plan)
        self._reader = Reader(self.signals, before)
        self._watches = [_ScoreWatch(s, plan) if s.is_score else _EventWatch(s, plan) for s in self.signals]
        self._planned = ByPlacebo(plan, self.signals) if plan.method == "placebo" else ByCounts(plan, self.signals)
        ratios = (None, *_optional(plan))
        self._ratios: dict[str | None, SampleRatio] = {name: SampleRatio(ratio_level(plan)) for name in ratios}

    def add(self, window: Window) -> Broken:
        """Take in a window, and look."""
        rows = window.rows
        harm = self._reader.harm(rows)
        for watch, column in zip(self._watches, harm.T, strict=True):
            watch.add(rows, column)
        for name, ratio in self._ratios.items():
            here = ~rows.late if name is None else ~np.isnan(rows.outcomes[name])
            ratio.add(window.start, rows.unit[here], rows.weight[here], rows.canary[here])
        self._planned.add(rows, harm, self._reader)
        self._reader.learn(rows)
        horizon = 60 * self._plan.horizon_minutes
        if window.clock <= horizon:
            allowed = sequential.spent(self._plan.alpha.planned, window.clock, horizon)
            fit = {signal.name for signal in self.signals if self._fit(signal)}
            if culprits := tuple(name for name in self._planned.look(allowed) if name in fit):
                return Broken(culprits, planned=True)
        return Broken(self._reserve(), planned=False)

    def _fit(self, signal: Signal) -> bool:
        """Whether a signal can be judged at all.

        Where outcomes are missing on one arm more than on the other, what is left of them proves nothing. Where whole
        requests are, as when nothing is heard of stable, that goes for all that is judged by the shares asked for;
        counts ask only on which of the requests that are there the events are.
        """
        by_shares = self._plan.method == "placebo" or signal.is_score
        if by_shares and (0 in self.ratio.seen or (self.ratio.alarmed and not self._trusting)):
            return False
        return not (signal.column in self._ratios and self._ratios[signal.column].alarmed)

    def _reserve(self) -> tuple[str, ...]:
        logs = {watch.signal.name: watch.harm if self._fit(watch.signal) else 0.0 for watch in self._watches}
        if not sequential.reached(sequential.average(list(logs.values())), self._plan.alpha.reserve):
            return ()
        return tuple(sorted((name for name, log in logs.items() if log > 0), key=lambda name: -logs[name]))

    @property
    def mismatch(self) -> bool:
        """Whether the arms' shares are, or were, not what was asked for."""
        return any(ratio.alarmed for ratio in self._ratios.values())

    @property
    def ratio(self) -> SampleRatio:
        """The shares of the arms among all requests."""
        return self._ratios[None]

    @property
    def worse_than(self) -> float | None:
        """The share of placebo canaries that look better than the canary; None by counts."""
        return self._planned.worse_than

    def lacking(self, step: int) -> tuple[int, ...]:
        """The places of the signals that are not shown to be within their margins of this step."""
        return tuple(
            place
            for place, watch in enumerate(self._watches)
            if not sequential.reached(watch.safe(watch.signal.margins[step]), self._plan.beta)
        )

    def evidence(self, step: int) -> tuple[Evidence, ...]:
        """Where every signal stands, by its margin of this step."""
        found = []
        for watch in self._watches:
            safe, bound = watch.safe(watch.signal.margins[step]), watch.bound(self._plan.beta)
            found.append(Evidence(watch.signal, *watch.seen, watch.harm, safe, bound, self._effect(watch)))
        return tuple(found)

    def _effect(self, watch: "_EventWatch | _ScoreWatch") -> Effect | None:
        level = self._plan.beta / len(self.signals)
        return effect(watch.signal, watch.interval(level)) if self._plan.ab else None


def ratio_level(plan: Plan) -> float:
    """The part of ``alpha.ratio`` for the shares among all requests; what may be unmeasured has as much each."""
    return plan.alpha.ratio / (1 + len(_optional(plan)))


def _optional(plan: Plan) -> list[str]:
    return [c for c, m in plan.metrics.items() if not (isinstance(m, EventMetric) and m.kind == "failure")]


class _EventWatch:
    """Votes of units, or by counts E2 on windows, for one kind of event."""

    def __init__(self, signal: Signal, plan: Plan) -> None:
        self.signal = signal
        self._tally = Tally()
        self._seen: set[int] = set()
        self._stratified = Stratified(signal.tolerated) if plan.method == "counts" else None

    def add(self, rows: Rows, harm: Floats) -> None:
        happened = harm > 0
        fresh = first_time(rows.unit[happened], self._seen)
        self._tally.add(rows.weight[happened][fresh], rows.canary[happened][fresh])
        if self._stratified is not None:
            for counts in counts_of(rows, harm):
                self._stratified.add(counts)

    @property
    def harm(self) -> float:
        if self._stratified is not None:
            return self._stratified.log
        return sequential.at_most(self._tally, self.signal.tolerated)

    def safe(self, margin: float) -> float:
        return sequential.at_least(self._tally, margin)

    def bound(self, level: float) -> float | None:
        found = sequential.bound(self._tally, level, self.signal.margins)
        return found if np.isfinite(found) else None

    def interval(self, level: float) -> Interval:
        return sequential.ratio_interval(self._tally, level)

    @property
    def seen(self) -> tuple[int, int]:
        return self._tally.canary, self._tally.stable


class _ScoreWatch:
    """Bets on a score, the first of each unit."""

    _LOSSES = tuple(np.round(np.geomspace(0.005, 0.5, 30), 4).tolist())

    def __init__(self, signal: Signal, plan: Plan) -> None:
        self.signal = signal
        self._worse = Claim(-1, signal.tolerated)
        self._losses = [Claim(1, loss) for loss in sorted({*signal.margins, *self._LOSSES})]
        differences = DIFFERENCE_CLAIMS if plan.ab else ()
        self._bets = Bets(dict.fromkeys([self._worse, *self._losses, *differences]))
        self._seen: set[int] = set()

    def add(self, rows: Rows, harm: Floats) -> None:
        scored = ~np.isnan(harm) & (rows.weight > 0) & (rows.weight < 1)
        fresh = first_time(rows.unit[scored], self._seen)
        self._bets.add(1 - harm[scored][fresh], rows.weight[scored][fresh], rows.canary[scored][fresh])

    @property
    def harm(self) -> float:
        return self._bets.logs[self._worse]

    def safe(self, margin: float) -> float:
        return self._bets.logs[Claim(1, margin)]

    def bound(self, level: float) -> float | None:
        logs = self._bets.logs
        return min((claim.shift for claim in self._losses if sequential.reached(logs[claim], level)), default=None)

    def interval(self, level: float) -> Interval:
        return sequential.difference_interval(self._bets, level)

    @property
    def seen(self) -> tuple[int, int]:
        return self._bets.sums[True][0], self._bets.sums[False][0]
