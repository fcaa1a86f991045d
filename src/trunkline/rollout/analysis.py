"""The decisions of a rollout, look by look: go on, wait, roll back, promote, or ask a human.

A fold over windows: the same rows give the same decisions, so a controller that was killed reads the log
again and goes on. The weight it finds in the rows is the truth; a decision says what it should become.

What it does about missing data: a request that was never answered is a failure of its arm. Windows without
requests, on one arm or on both, add nothing, and while neither arm is heard of the clock stands still. An arm
that is heard of too little holds the rollout and stays an alarm for a human; of a canary, whoever can probe it is
told so (`Decision.probed`). Nothing ever advances for lack of data, as every step asks for evidence.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from trunkline.records.rollout import Plan
from trunkline.rollout.decision import VERDICTS, Action, Because, Decision, SignalState
from trunkline.rollout.effects import conclusion
from trunkline.rollout.evidence import Broken, Evidence, Tests
from trunkline.rollout.hard_stops import HardStops
from trunkline.rollout.log import Rows
from trunkline.rollout.windows import Window, split, windows
from trunkline.sequential.spending import value


class Finding(NamedTuple):
    """What is to be done, why, and whether a human has to decide; the fields are those of `Decision`."""

    action: Action
    because: Because
    reason: str
    to: float | None = None
    culprits: tuple[str, ...] = ()
    human: bool = False
    silent: bool = False


class Analysis:
    """The state of one rollout's analysis.

    Args:
        plan: fixed before the rollout.
        before: rows of production alone before it, for quantiles and the units' own histories; may be empty.
        accepted: reasons to ask a human that a human has answered already.
    """

    def __init__(self, plan: Plan, before: Rows, accepted: Collection[str] = ()) -> None:
        self._plan, self._accepted = plan, accepted
        self._tests = Tests(plan, before, trusting="sample ratio" in accepted)
        self._hard_stops = HardStops(plan.hard_stops)
        self._weight, self._since, self._clock = 0.0, 0.0, 0.0
        self._time: float | None = None
        self._final: Finding | None = None

    def look(self, window: Window) -> None:
        """Take in a window; after a rollback, a hard stop or a promotion nothing changes any more."""
        if self._final is not None:
            return
        rows = window.rows
        if (weight := float(rows.weight.max())) > self._weight:
            self._weight, self._since = weight, window.start
        self._clock, self._time = window.clock, float(rows.time[-1])
        broken = self._hard_stops.add(rows)
        worse = self._tests.add(window)
        if broken is not None:
            self._final = self._stop(broken)
        elif worse.signals:
            self._final = Finding("rollback", "worse", self._worse(worse), 0.0, worse.signals)
        else:
            finding = self._next()
            self._final = finding if finding.action == "promote" else None

    @property
    def over(self) -> bool:
        """Whether the rollout was promoted or rolled back."""
        return self._final is not None

    @property
    def finding(self) -> Finding:
        """What is to be done now, without its evidence."""
        return self._final or self._next()

    @property
    def decision(self) -> Decision:
        """What is to be done now, and by what."""
        return self._decided(self.finding)

    def stopped(self, rows: Rows) -> Decision | None:
        """What is to be done at once by the first rows of the next window, before it ends; mostly None, for nothing.

        They are not taken in: with the window they are looked at as if this had not been asked.
        """
        broken = None if self.over or not rows.time.size else self._hard_stops.peek(rows)
        if broken is None:
            return None
        return self._decided(self._stop(broken)).model_copy(update={"time": _iso(float(rows.time[-1]))})

    def _decided(self, found: Finding) -> Decision:
        tests = self._tests
        evidence = tests.evidence(self._step)
        return Decision(
            time=None if self._time is None else _iso(self._time),
            minutes=self._clock / 60,
            weight=self._weight,
            action=found.action,
            to=found.to,
            because=found.because,
            reason=found.reason + self._details(found, evidence),
            human=found.human,
            silent=found.silent,
            culprits=found.culprits,
            verdict=VERDICTS[found.action],
            units=tests.ratio.seen,
            worse_than=tests.worse_than,
            e_ratio=value(tests.ratio.log),
            limits={"e_worse_mean": 1 / self._plan.alpha.reserve, "e_no_worse": 1 / self._plan.beta},
            signals=tuple(_state(each, self._step) for each in evidence),
        )

    @property
    def _step(self) -> int:
        """The last step whose weight is reached, or the first."""
        reached = [place for place, step in enumerate(self._plan.steps) if step.weight <= self._weight]
        return reached[-1] if reached else 0

    def _next(self) -> Finding:
        plan, tests = self._plan, self._tests
        if self._time is None or tests.ratio.seen == (0, 0):
            return Finding("hold", "no request", "no request has been seen since the rollout began")
        if tests.mismatch and "sample ratio" not in self._accepted:
            canary, stable = tests.ratio.seen
            reason = f"{canary} units were seen on the canary and {stable} on stable: not the shares asked for"
            return Finding("hold", "sample ratio", reason, human=True, silent=tests.ratio.silent)
        if self._hard_stops.shared:
            reason = f"both arms fail alike: {', '.join(self._hard_stops.shared)}"
            return Finding("hold", "shared failure", reason)
        if self._clock > 60 * plan.horizon_minutes and "horizon" not in self._accepted:
            what = "the A/B test has lasted" if plan.ab else "no proof within"
            return Finding("hold", "horizon", f"{what} {plan.horizon_minutes:g} minutes", human=True)
        if plan.ab:
            return Finding("hold", "minutes", f"the A/B test lasts {plan.horizon_minutes:g} minutes")
        if tests.lacking(self._step):
            return Finding("hold", "evidence", f"not yet shown at {plan.steps[self._step].weight:.0%}")
        step = plan.steps[self._step]
        if self._weight < step.weight or self._clock - self._since < 60 * step.minutes:
            return Finding("hold", "minutes", f"the step at {step.weight:.0%} lasts {step.minutes:g} minutes")
        if self._step + 1 < len(plan.steps):
            further = plan.steps[self._step + 1].weight
            return Finding("advance", "enough", f"every signal is within its margin at {step.weight:.0%}", further)
        return Finding("promote", "enough", "every signal is within its margin at the last step", 1.0)

    def _details(self, found: Finding, evidence: tuple[Evidence, ...]) -> str:
        if self._plan.ab and found.because in ("minutes", "horizon"):
            return f": {conclusion((each.signal.name, each.effect) for each in evidence if each.effect)}"
        return self._open(evidence) if found.because in ("evidence", "horizon") else ""

    def _open(self, evidence: tuple[Evidence, ...]) -> str:
        """What is not shown yet, and how far it is."""
        parts = []
        for place in self._tests.lacking(self._step):
            signal, bound = evidence[place].signal, evidence[place].bound
            margin = signal.margins[self._step]
            wanted = f"loses less than {margin:g}" if signal.is_score else f"less than {margin:g} times stable's"
            parts.append(f"{signal.name} {wanted} ({'nothing' if bound is None else f'{bound:.3g}'} so far)")
        return f": {'; '.join(parts)}" if parts else ""

    def _stop(self, column: str) -> Finding:
        reason = f"{self._plan.hard_stops[column]} in a row on the canary: {column}"
        return Finding("stop", "hard stop", reason, 0.0, (column,))

    def _worse(self, broken: Broken) -> str:
        reason = f"the canary is worse: {', '.join(broken.signals)}"
        share = self._tests.worse_than if broken.planned else None
        return reason if share is None else f"{reason}; worse than {share:.1%} of the canaries that were not deployed"


def changes(plan: Plan, rows: Rows) -> Iterator[Decision]:
    """Each decision that differs from the one before, and in any case the one after the last row.

    Args:
        plan: with its salt.
        rows: production before the rollout (weight 0), then the rollout, from `trunkline.rollout.from_table`.

    Yields:
        At least one decision; nothing follows a promotion or a rollback.
    """
    before, during = split(rows)
    analysis = Analysis(plan, before)
    shown: tuple[object, ...] | None = None
    unsaid = True
    for window in windows(during, plan) if during.time.size else ():
        analysis.look(window)
        now = analysis.finding[:2] + analysis.finding[3:4]
        unsaid = now == shown
        if not unsaid:
            yield analysis.decision
            shown = now
        if analysis.over:
            return
    if unsaid:
        yield analysis.decision


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()


def _state(evidence: Evidence, step: int) -> SignalState:
    return SignalState(
        signal=evidence.signal.name,
        canary=evidence.canary,
        stable=evidence.stable,
        e_worse=value(evidence.harm),
        e_no_worse=value(evidence.safe),
        margin=evidence.signal.margins[step],
        bound=evidence.bound,
        effect=evidence.effect,
    )
