"""One check of the gate: is a mean over units above what is tolerated, below it, or cannot the units tell?

Non-inferiority compares paired differences with a margin: pass means that the candidate is shown to lose
less than the margin, fail that it is shown to be worse than production. A floor compares the candidate's own
values with a limit. The interval inverts the same two bettors, so interval and verdict never contradict
each other, and both hold at every sample size.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trunkline.errors import Error
from trunkline.gate.betting import PRIOR_UNITS, PRIOR_VARIANCE, Bet, Floats, bound, capital, first, settled
from trunkline.verdict import Verdict

_SETTLED = 1.4  # nine of ten betting tests have settled by this multiple of the fixed sample size
_SIMULATIONS = 200


@dataclass(frozen=True)
class Rule:
    """What is tolerated, and how often the gate may be wrong.

    Attributes:
        margin: the largest tolerated loss, between 0 and 1 exclusive; for a floor, the distance that matters.
        alpha: chance to pass a candidate that is worse by the margin, or below the floor.
        beta: chance to fail a candidate that is as good as production, or above the floor.
        floor: the smallest tolerated mean of the candidate's own values; None compares with production.
    """

    margin: float
    alpha: float
    beta: float
    floor: float | None = None

    def __post_init__(self) -> None:
        for name in ("margin", "alpha", "beta"):
            value = getattr(self, name)
            if not 0 < value < 1:
                hint = "a margin is a share: 0.02 tolerates a loss of 2 points in 100"
                raise Error(f"gate.{name} is {value}; it must be above 0 and below 1", hint)
        if self.floor is not None and not 0 < self.floor < 1:
            raise Error(f"gate.floors has {self.floor}; it must be above 0 and below 1", "a floor is a share: 0.95")

    @property
    def pass_above(self) -> float:
        """The mean must be shown to be above this."""
        return -self.margin if self.floor is None else self.floor

    @property
    def fail_below(self) -> float:
        """A mean shown to be below this fails."""
        return 0.0 if self.floor is None else self.floor

    @property
    def lowest(self) -> float:
        """The smallest value a unit can have; the largest is 1."""
        return -1.0 if self.floor is None else 0.0

    def passing(self, planned: int) -> Bet:
        """Of the bettor for the candidate."""
        return Bet(self.margin, self.alpha, self.lowest, planned)

    def failing(self, planned: int) -> Bet:
        """Of the bettor against it, who bets on the negated values."""
        return Bet(self.margin, self.beta, -1.0, planned)


@dataclass(frozen=True)
class Decision:
    """What the units say.

    Attributes:
        verdict: pass, fail or inconclusive.
        difference: mean over the units: of candidate - production, positive better; or of the values, for a floor.
        low: the true mean is above it with confidence 1 - alpha; never above the estimate.
        high: the true mean is below it with confidence 1 - beta; never below the estimate.
        units: units measured.
        used: units after which the verdict was settled; all of them when it was not.
        more: further units that would probably settle it; None when it is settled.
    """

    verdict: Verdict
    difference: float
    low: float
    high: float
    units: int
    used: int
    more: int | None


def decide(values: Floats, rule: Rule, planned: int | None = None) -> Decision:
    """Judge the mean of one value a unit.

    A verdict stands only while the mean over all units agrees with it: evidence that turned around
    after the boundary was crossed is inconclusive.

    Args:
        values: (n,) in an order that does not depend on them; in [-1, 1], or in [0, 1] for a floor.
        rule: what is tolerated.
        planned: units of the whole holdout, where these are the first of them.

    Raises:
        Error: no units, NaN, or values out of range.
    """
    _check_range(values, rule)
    planned = planned or values.size
    found = outcomes(values[None], rule, planned)
    verdict, mean = found.verdict(0), float(values.mean())
    return Decision(
        verdict=verdict,
        difference=mean,
        low=min(bound(values, rule.passing(planned), 1.0), mean),
        high=max(-bound(-values, rule.failing(planned), -rule.lowest), mean),
        units=values.size,
        used=int(found.used[0]),
        more=_more(values, rule) if verdict is Verdict.INCONCLUSIVE else None,
    )


class Outcomes(NamedTuple):
    """The verdicts on many sets of units at once.

    Attributes:
        passed: (sets,) whether each passes.
        failed: (sets,) whether each fails; what does neither is inconclusive.
        used: (sets,) units after which the verdict was there; all of them where there is none.
    """

    passed: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    used: NDArray[np.int64]

    def verdict(self, number: int) -> Verdict:
        """Of one of the sets."""
        return Verdict.PASS if self.passed[number] else Verdict.FAIL if self.failed[number] else Verdict.INCONCLUSIVE


def outcomes(values: Floats, rule: Rule, planned: int | None = None) -> Outcomes:
    """The verdicts of `decide` alone, many times faster.

    Args:
        values: (sets, n), each set as in `decide`.
        rule: as in `decide`.
        planned: as in `decide`.

    Raises:
        Error: as `decide`.
    """
    _check_range(values, rule)
    size = values.shape[-1]
    planned = planned or size
    gained = first(capital(values, rule.pass_above, rule.passing(planned)), rule.alpha)
    lost = first(capital(-values, -rule.fail_below, rule.failing(planned)), rule.beta)
    mean = values.mean(axis=-1)
    passed = (gained < lost) & (mean > rule.pass_above)
    failed = (lost < gained) & (mean < rule.fail_below)
    return Outcomes(passed, failed, np.where(passed | failed, np.minimum(gained, lost), size))


def verdict_of(values: Floats, rule: Rule, planned: int | None = None) -> Verdict:
    """The verdict of `decide` alone, on (n,) values.

    Raises:
        Error: as `decide`.
    """
    return outcomes(values[None], rule, planned).verdict(0)


def settled_verdict(values: Floats, rule: Rule, planned: int) -> Verdict | None:
    """The verdict that all ``planned`` units of a holdout would give, if the first of them settle it.

    It is there when these units give it, and the mean over all units, the unseen included, must surely
    agree with it.
    """
    verdict = verdict_of(values, rule, planned)
    if verdict is Verdict.PASS:
        sure = settled(values, rule.pass_above, rule.passing(planned))
    else:
        sure = verdict is Verdict.FAIL and settled(-values, -rule.fail_below, rule.failing(planned))
    return verdict if sure else None


def power(values: Floats, rule: Rule, seed: int) -> float:
    """How often as many units would pass a candidate that is as good as production; by simulation.

    Each unit's difference gets a random sign, as if the two models had been exchanged there, so they differ
    as often and by as much as they did, and by nothing on average. For a floor, which compares with nothing,
    it is how often units drawn again from these, with replacement, would pass it.

    Args:
        values: (n,) as in `decide`.
        rule: as in `decide`.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    if rule.floor is None:
        again = rng.choice([-1.0, 1.0], size=(_SIMULATIONS, values.size)) * values
    else:
        again = values[rng.integers(values.size, size=(_SIMULATIONS, values.size))]
    return float(outcomes(again, rule).passed.mean())


def fixed_sample(variance: float, gap: float, rule: Rule) -> float:
    """Units with which a test of fixed size tells ``gap`` from 0 at the rule's error rates.

    The usual formula for paired means, (z[1-alpha] + z[1-beta])^2 variance / gap^2.
    """
    z = NormalDist().inv_cdf(1 - rule.alpha) + NormalDist().inv_cdf(1 - rule.beta)
    return z * z * variance / (gap * gap)


def _check_range(values: Floats, rule: Rule) -> None:
    check_measured(values)
    worst = float(values.flat[np.abs(values).argmax()]) if rule.floor is None else float(values.min())
    if np.abs(values).max() > 1 or values.min() < rule.lowest:
        raise Error(
            f"a score {'difference' if rule.floor is None else 'value'} of {worst:.3g} is outside [{rule.lowest:g}, 1]",
            "gate by a scorer between 0 and 1, such as exact_match; nll and counts cannot decide",
        )


def check_measured(values: Floats) -> None:
    """Refuse nothing, NaN and infinity.

    Raises:
        Error: there is no value, or one is not a finite number.
    """
    if values.size == 0:
        raise Error("no example was scored on both sides", "run `dvc repro evaluate`, and see reports/data.json")
    count = int((~np.isfinite(values)).sum())
    if count:
        raise Error(f"{count} of {values.size} score pairs are NaN or infinite", "correct the scorer")


def _more(values: Floats, rule: Rule) -> int:
    """Units still needed for the nearer answer at the mean and variance seen so far."""
    mean = float(values.mean())
    gap = max(mean - rule.pass_above, rule.fail_below - mean, 1e-6)
    prior = PRIOR_UNITS * PRIOR_VARIANCE
    variance = float((prior + ((values - mean) ** 2).sum()) / (PRIOR_UNITS + values.size))
    needed = _SETTLED * fixed_sample(variance, gap, rule)
    return min(max(int(np.ceil(needed)) - values.size, values.size // 4, 1), 10**9)
