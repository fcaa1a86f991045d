"""The gate: is the candidate no worse than production, by more than a margin, on the same examples?

A bettor starts with capital 1 and, unit after unit in an order fixed beforehand, bets that the
candidate is better than the margin allows (or, second bettor, that it is worse than production). If
that is false, no strategy multiplies the capital by 1/alpha with more than chance alpha, whenever one
looks and whatever the scores' distribution (Ville's inequality; betting on bounded means as in
Waudby-Smith and Ramdas, arXiv 2010.09686). So the verdict holds at every sample size.

The interval inverts the same two bettors: a verdict of pass means that its lower end is above the loss
allowed, and fail that its upper end is below 0, so the two never contradict each other.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from trunkline.errors import Error
from trunkline.verdict import Verdict

Floats = NDArray[np.float64]

# Two bets at once, a timid and a bold one: (multiple of the best bet at the boundary, share of the capital).
_BETS = ((0.8, 0.8), (2.0, 0.2))
# A bet may lose at most this share of the capital on one unit: it never goes bankrupt.
_LARGEST_LOSS = 0.9
# The variance starts as if this many units of this variance had been seen.
_PRIOR_UNITS, _PRIOR_VARIANCE = 10, 0.25
_SETTLED = 1.4  # nine of ten betting tests have settled by this multiple of the fixed sample size
_BISECTIONS = 40


@dataclass(frozen=True)
class Rule:
    """What is tolerated, and how often the gate may be wrong.

    Attributes:
        margin: the largest tolerated loss, between 0 and 1 exclusive.
        alpha: chance to pass a candidate that is worse by the margin.
        beta: chance to fail a candidate that is as good as production.
    """

    margin: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < 1:
                hint = "a margin is a share: 0.02 tolerates a loss of 2 points in 100"
                raise Error(f"gate.{name} is {value}; it must be above 0 and below 1", hint)


@dataclass(frozen=True)
class Decision:
    """What the paired units say.

    Attributes:
        verdict: pass (no worse than the margin), fail (worse than production) or inconclusive.
        difference: mean of candidate - production over the units; positive is better.
        low: the true difference is above it with confidence 1 - alpha; never above the estimate.
        high: the true difference is below it with confidence 1 - beta; never below the estimate.
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


def ordered(units: Iterable[str], seed: int) -> list[str]:
    """The distinct units in the order in which they bet: by a hash, so the same everywhere and for ever."""
    return sorted(set(units), key=lambda unit: hashlib.sha256(f"{seed}:{unit}".encode()).digest())


def differences(candidate: Floats, production: Floats, units: Sequence[str], seed: int) -> Floats:
    """Mean of candidate - production in each unit, in betting order.

    Args:
        candidate: (n,) scores of examples; higher is better.
        production: (n,) scores of the same examples in the same order.
        units: (n,) the unit (conversation or customer) of each example. Examples of a unit are not
            independent, so a unit counts once, however many examples it has.
        seed: of the order.

    Returns:
        (units,) one difference a unit.

    Raises:
        Error: nothing to compare, sides of different length, or a score that is NaN or infinite.
    """
    if not len(candidate) == len(production) == len(units):
        raise Error(
            f"{len(candidate)} candidate scores, {len(production)} production scores, {len(units)} units",
            "both models must answer the same examples: run `dvc repro evaluate`",
        )
    difference = np.asarray(candidate, dtype=np.float64) - np.asarray(production, dtype=np.float64)
    _check_measured(difference)
    row = {unit: index for index, unit in enumerate(ordered(units, seed))}
    index = np.array([row[unit] for unit in units])
    means: Floats = (np.bincount(index, weights=difference) / np.bincount(index)).astype(np.float64)
    return means


def decide(difference: Floats, rule: Rule) -> Decision:
    """Test non-inferiority on paired differences.

    A verdict stands only while the mean over all units agrees with it: evidence that turned around
    after the boundary was crossed is inconclusive.

    Args:
        difference: (n,) one value in [-1, 1] a unit, in an order that does not depend on them.
        rule: margin and error rates.

    Raises:
        Error: no units, NaN, or values outside [-1, 1].
    """
    _check_range(difference)
    passed = _first(_capital(difference, -rule.margin, rule.margin, rule.alpha), rule.alpha)
    failed = _first(_capital(-difference, 0.0, rule.margin, rule.beta), rule.beta)
    mean = float(difference.mean())
    verdict = Verdict.INCONCLUSIVE
    if passed < failed and mean > -rule.margin:
        verdict = Verdict.PASS
    elif failed < passed and mean < 0:
        verdict = Verdict.FAIL
    settled = verdict is not Verdict.INCONCLUSIVE
    return Decision(
        verdict=verdict,
        difference=mean,
        low=min(_bound(difference, rule.margin, rule.alpha), mean),
        high=max(-_bound(-difference, rule.margin, rule.beta), mean),
        units=difference.size,
        used=min(passed, failed) if settled else difference.size,
        more=None if settled else _more(difference, rule),
    )


def sentence(scorer: str, decision: Decision, rule: Rule, unit: str) -> str:
    """The decision for a reader who knows the product; ``unit`` is singular, such as ``conversation``."""
    size = f"is {100 * abs(decision.difference):.1f} points {'better' if decision.difference > 0 else 'worse'} than"
    start = (
        f"The candidate {size if decision.difference else 'scores the same as'} production on {scorer} "
        f"(interval {100 * decision.low:+.1f} to {100 * decision.high:+.1f} points)"
    )
    allowed = f"a loss of up to {100 * rule.margin:g} points is allowed".replace(" 1 points", " 1 point")
    enough = f"{decision.used} of {decision.units} {unit}s were enough to tell."
    if decision.verdict is Verdict.PASS:
        return f"{start}; {allowed}, so it passes. {enough}"
    if decision.verdict is Verdict.FAIL:
        return f"{start}; it is worse, so it fails. {enough}"
    return f"{start}; {allowed}, and {decision.units} {unit}s cannot tell. About {decision.more} more would."


def fixed_sample(variance: float, gap: float, rule: Rule) -> float:
    """Units with which a test of fixed size tells ``gap`` from 0 at the rule's error rates.

    The usual formula for paired means, (z[1-alpha] + z[1-beta])^2 variance / gap^2.
    """
    z = NormalDist().inv_cdf(1 - rule.alpha) + NormalDist().inv_cdf(1 - rule.beta)
    return z * z * variance / (gap * gap)


def _check_range(difference: Floats) -> None:
    _check_measured(difference)
    largest = float(np.abs(difference).max())
    if largest > 1:
        raise Error(
            f"a score difference of {largest:.3g} is outside [-1, 1]",
            "gate by a scorer between 0 and 1, such as exact_match; nll and counts cannot decide",
        )


def _check_measured(difference: Floats) -> None:
    if difference.size == 0:
        raise Error("no example was scored on both sides", "run `dvc repro evaluate`, and see reports/data.json")
    count = int((~np.isfinite(difference)).sum())
    if count:
        raise Error(f"{count} of {difference.size} score pairs are NaN or infinite", "correct the scorer")


def _stakes(difference: Floats, margin: float, level: float) -> Floats:
    """(n,) the bet before each unit, from the units before it only.

    margin / (variance + margin^2) grows the capital fastest when the truth is one margin away from
    the boundary. With too few units for that margin, the bet that would give the narrowest interval
    from all n of them is larger, and taken.
    """
    n = difference.size
    seen = np.arange(n)
    total = np.concatenate([[0.0], np.cumsum(difference)[:-1]])
    squares = np.concatenate([[0.0], np.cumsum(difference**2)[:-1]])
    weight = _PRIOR_UNITS + seen
    variance = (_PRIOR_UNITS * _PRIOR_VARIANCE + squares - total**2 / weight) / weight
    narrowest = np.sqrt(2 * np.log(1 / level) / (n * variance)) / _BETS[0][0]
    stakes: Floats = np.maximum(margin / (variance + margin**2), narrowest)
    return stakes


def _capital(difference: Floats, mean: float, margin: float, level: float) -> Floats:
    """(n,) capital after each unit of a bettor against "the true difference is at most ``mean``".

    A supermartingale starting at 1 when that is so. It falls as ``mean`` rises, unit by unit.
    """
    stakes = _stakes(difference, margin, level)
    largest = _LARGEST_LOSS / (1 + mean) if mean > -1 else np.inf
    capital = np.zeros(difference.size)
    for multiple, share in _BETS:
        factors = 1 + np.minimum(multiple * stakes, largest) * (difference - mean)
        capital += share * np.exp(np.minimum(np.cumsum(np.log(factors)), 700))
    return capital


def _first(capital: Floats, level: float) -> int:
    """Units until the capital reached 1 / level; more than there are when it did not."""
    reached = capital >= 1 / level
    return int(reached.argmax()) + 1 if reached.any() else capital.size + 1


def _bound(difference: Floats, margin: float, level: float) -> float:
    """The largest mean that the bettor refutes at some unit, by bisection; -1 when there is none."""
    low, high = -1.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _first(_capital(difference, middle, margin, level), level) <= difference.size:
            low = middle
        else:
            high = middle
    return low


def _more(difference: Floats, rule: Rule) -> int:
    """Units still needed for the nearer answer at the difference and variance seen so far."""
    mean = float(difference.mean())
    gap = max(mean + rule.margin, -mean)
    prior = _PRIOR_UNITS * _PRIOR_VARIANCE
    variance = float((prior + ((difference - mean) ** 2).sum()) / (_PRIOR_UNITS + difference.size))
    needed = _SETTLED * fixed_sample(variance, gap, rule)
    return max(int(np.ceil(needed)) - difference.size, difference.size // 4, 1)
