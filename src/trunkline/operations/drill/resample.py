"""The gate and the rules people use instead, on thousands of pull requests resampled from this holdout.

Production is played by the better of the two models. A resample draws its units with replacement, whole
conversations or customers as `compare.unit` says. The candidate of a resample gives production's answers,
except on a share of units where it gives those of another unit drawn at random: it is as good as production
and answers differently. A planted loss then spoils units at random, as many as lower the mean by that loss.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from trunkline import common_rules, gate
from trunkline.criteria import Criterion
from trunkline.gate import Outcomes, Rule
from trunkline.gate.betting import Floats
from trunkline.params import DrillParams

OURS = "Trunkline"
RULES: dict[str, Callable[[Floats, Rule], Outcomes]] = {OURS: lambda values, rule: gate.outcomes(values, rule)}
RULES |= common_rules.RULES
_NINE_OF_TEN = 1.4  # nine of ten betting tests have settled by this multiple of the fixed sample size
_BOLDEST = 0.9  # the largest share of the capital that the gate bets
_MOST_VALUES = 2**20  # in memory at once


class Counts(NamedTuple):
    """What one rule said of all resamples with one planted loss.

    Attributes:
        rule: its name.
        loss: planted, in multiples of the margin; 0 is A/A.
        passed: resamples that passed.
        failed: that failed; what did neither is inconclusive.
        of: resamples in all.
        used: units used, on average.
    """

    rule: str
    loss: float
    passed: int
    failed: int
    of: int
    used: float

    @property
    def open(self) -> int:
        """Resamples that were inconclusive."""
        return self.of - self.passed - self.failed


class Tried(NamedTuple):
    """A criterion on all resamples.

    Attributes:
        unit: singular, such as ``conversation``.
        scores: (units,) of who plays production, between 0 and 1, higher is better.
        counts: by rule and loss; a loss larger than the mean score cannot be planted and is left out.
    """

    criterion: Criterion
    unit: str
    scores: Floats
    counts: list[Counts]


def count(criterion: Criterion, scores: Floats, settings: DrillParams, show: Callable[[], None]) -> list[Counts]:
    """Judge every resample by every rule.

    Args:
        criterion: of kind ``score``.
        scores: as in Tried.
        settings: how many resamples, which losses.
        show: called after each loss.
    """
    found: list[Counts] = []
    for number, loss in enumerate([0.0, *settings.losses]):
        if loss * criterion.margin <= scores.mean():
            judged = {name: Counts(name, loss, 0, 0, 0, 0.0) for name in RULES}
            for part in differences(scores, loss * criterion.margin, settings, number):
                judged = {name: _added(so_far, part, criterion.rule) for name, so_far in judged.items()}
            found += judged.values()
        show()
    return found


def needed(tried: Tried, changed: float) -> int:
    """Units with which nine of ten equal candidates would pass, by the variance of what the drill draws."""
    rule = tried.criterion.rule
    variance = 2 * changed * float(tried.scores.var())
    # Models that never differ need as many units as bets that win the margin each take to reach 1 / alpha.
    least = np.log(1 / rule.alpha) / np.log1p(_BOLDEST * rule.margin)
    return int(np.ceil(max(_NINE_OF_TEN * gate.fixed_sample(variance, rule.margin, rule), least)))


def _added(so_far: Counts, part: Floats, rule: Rule) -> Counts:
    outcomes = RULES[so_far.rule](part, rule)
    total = so_far.of + len(part)
    used = (so_far.used * so_far.of + float(outcomes.used.sum())) / total
    passed, failed = so_far.passed + int(outcomes.passed.sum()), so_far.failed + int(outcomes.failed.sum())
    return Counts(so_far.rule, so_far.loss, passed, failed, total, used)


def differences(scores: Floats, loss: float, settings: DrillParams, number: int) -> Iterator[Floats]:
    """Resampled paired differences with a true mean of exactly ``-loss``, in parts of (resamples, units).

    Args:
        scores: (units,) as in Tried; their mean is at least ``loss``.
        loss: planted.
        settings: how many resamples, and how many units are answered differently.
        number: of the draw; each is another one.
    """
    rng = np.random.default_rng([settings.seed, number])
    spoiled = loss / scores.mean() if loss else 0.0
    left = settings.resamples
    while left:
        shape = (min(left, max(1, _MOST_VALUES // scores.size)), scores.size)
        production, other = (scores[rng.integers(scores.size, size=shape)] for _ in range(2))
        candidate = np.where(rng.random(shape) < settings.changed, other, production)
        yield np.where(rng.random(shape) < spoiled, 0.0, candidate) - production
        left -= shape[0]
