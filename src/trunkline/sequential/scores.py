"""E3: bets on a bounded score, such as a judge's, where higher is better and both arms are drawn by hash.

With the assignment A of share w and a centre g known beforehand, Z = (Y - g)(A / w - (1 - A) / (1 - w)) has the
expectation "canary's mean - stable's mean", exactly and whatever the scores' distribution. A bettor against a
claim about it multiplies 1 + s * stake * (Z + shift), which is a supermartingale while the claim holds
(Waudby-Smith and Ramdas, arXiv 2010.09686). The centre is the running mean over both arms, so it needs no
knowledge of the score.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trunkline.sequential.spending import log_sum

Floats = NDArray[np.float64]

# Stakes in units of w (1 - w): the best one is (difference / variance of the score) times that.
_STAKES: Floats = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
# A bet may lose at most this share of the capital on one score.
_LARGEST_LOSS = 0.9
# The running mean starts as if this many scores of this value had been seen.
_PRIOR_COUNT, _PRIOR_MEAN = 2.0, 0.5


class Claim(NamedTuple):
    """What is bet against.

    Attributes:
        sign: -1 for "the canary loses at most ``shift``", 1 for "it loses at least ``shift``".
        shift: a loss in points of the score, at least 0.
    """

    sign: Literal[-1, 1]
    shift: float


class Bets:
    """Capital against several claims at once.

    Args:
        claims: see `Claim`.
    """

    def __init__(self, claims: Iterable[Claim]) -> None:
        self.claims = tuple(claims)
        self._sign = np.array([[claim.sign] for claim in self.claims], dtype=np.float64)
        self._shift = np.array([[claim.shift] for claim in self.claims], dtype=np.float64)
        self._logs = np.full((len(self.claims), _STAKES.size), -np.log(_STAKES.size))
        self._total, self._count = _PRIOR_COUNT * _PRIOR_MEAN, _PRIOR_COUNT
        self.sums = {True: (0, 0.0), False: (0, 0.0)}

    def add(self, scores: Floats, weights: Floats, canary: NDArray[np.bool_]) -> None:
        """Take in scores in a fixed order, one a unit.

        Args:
            scores: (n,) in [0, 1].
            weights: (n,) the canary's share when each unit was assigned, in (0, 1).
            canary: (n,) whether the unit was on the canary.
        """
        before = np.cumsum(scores) - scores
        centre = (self._total + before) / (self._count + np.arange(scores.size))
        self._total, self._count = self._total + float(scores.sum()), self._count + scores.size
        for arm in (True, False):
            count, total = self.sums[arm]
            self.sums[arm] = count + int((canary == arm).sum()), total + float(scores[canary == arm].sum())
        z = (scores - centre) * np.where(canary, 1 / weights, -1 / (1 - weights))
        # The worst that a bet for "better" and one for "worse" can meet, by the claim's sign.
        worst = np.where(
            self._sign > 0,
            np.maximum(centre / weights, (1 - centre) / (1 - weights)) - self._shift,
            np.maximum((1 - centre) / weights, centre / (1 - weights)) + self._shift,
        )
        most = _LARGEST_LOSS / np.maximum(worst, 1e-12)
        for number, stake in enumerate(_STAKES):
            stakes = np.minimum(stake * weights * (1 - weights), most)
            self._logs[:, number] += np.log1p(self._sign * stakes * (z + self._shift)).sum(axis=1)

    @property
    def logs(self) -> dict[Claim, float]:
        """The logarithm of the e-value against each claim."""
        return dict(zip(self.claims, log_sum(self._logs).tolist(), strict=True))
