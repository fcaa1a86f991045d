"""Whether both arms are there: the canary's share of the units seen, against the share it was given.

A dead canary, one that loses requests, or a router that does not split as told shows here first (sample ratio
mismatch; e-processes on multinomial counts, Lindon and Malek, arXiv 2011.03567). The canary may be lost at any
moment, so the e-process is a mixture over the moment too: half of it bets from the start, and the rest joins
bit by bit. A unit votes with its first request. That alone would never notice a canary that dies after all
users were seen once, so there are periods too, in each of which every unit votes again; half of alpha is
theirs, the n-th getting 1 / (n (n + 1)) of it.
"""

import math

import numpy as np
from numpy.typing import NDArray

from trunkline.sequential.spending import log_sum, reached
from trunkline.sequential.votes import Tally, log_factors

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

PERIOD_S = 300.0
# What has not joined yet joins at this rate: after so many seconds, a share of 1 / e is left.
_JOINING_S = 300.0
# The canary's requests as a multiple of those it should have had: none, half, most, some too many, doubled.
_RATIOS: Floats = np.array([0.0, 0.5, 0.8, 1.25, 2.0])
_LOG_PRIOR: Floats = np.log([0.3, 0.25, 0.25, 0.1, 0.1])


class SampleRatio:
    """An e-process that is never restarted, and one for each period.

    Args:
        alpha: chance of an alarm while both arms are there.

    Attributes:
        alarmed: whether there is, or was, a mismatch.
        silent: whether there is, or was, one for want of canary units.
    """

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha / 2
        self._whole, self._period = _Voters(0.0), _Voters(0.0)
        self._number = 1
        self.alarmed = self.silent = False

    def add(self, clock: float, units: Words, weights: Floats, canary: NDArray[np.bool_]) -> bool:
        """Take in the requests of a window.

        Args:
            clock: seconds since the start, at the window's beginning.
            units: (n,) digests.
            weights: (n,) the canary's share when each was assigned.
            canary: (n,) the arm.

        Returns:
            Whether there is, or was, a mismatch.
        """
        number = int(clock // PERIOD_S) + 1
        if number > self._number:
            self._number, self._period = number, _Voters(clock)
        for voters in (self._whole, self._period):
            voters.add(clock, units, weights, canary)
        rare = self._alpha / (self._number * (self._number + 1))
        for voters, alpha in ((self._whole, self._alpha), (self._period, rare)):
            if reached(voters.log, alpha):
                self.alarmed = True
                self.silent |= voters.tally.canary < voters.expected
        return self.alarmed

    @property
    def log(self) -> float:
        """The logarithm of the e-value that is never restarted."""
        return self._whole.log

    @property
    def seen(self) -> tuple[int, int]:
        """Units seen on the canary and on stable."""
        return self._whole.tally.canary, self._whole.tally.stable


class _Voters:
    def __init__(self, clock: float) -> None:
        self.tally = Tally()
        self._seen: set[int] = set()
        self._clock = clock
        # Capital by ratio, and the logarithm of the capital that has not been bet yet.
        self._bet, self._left = math.log(0.5) + _LOG_PRIOR, math.log(0.5)

    def add(self, clock: float, units: Words, weights: Floats, canary: NDArray[np.bool_]) -> None:
        self._join(clock - self._clock)
        self._clock = clock
        fresh, window = first_time(units, self._seen), Tally()
        for tally in (self.tally, window):
            tally.add(weights[fresh], canary[fresh])
        self._bet = self._bet + log_factors(window.votes, 1.0, _RATIOS)

    def _join(self, seconds: float) -> None:
        if seconds > 0:
            joining = self._left + math.log(-math.expm1(-seconds / _JOINING_S))
            self._bet = np.logaddexp(self._bet, joining + _LOG_PRIOR)
            self._left -= seconds / _JOINING_S

    @property
    def expected(self) -> float:
        """Units that the canary should have had."""
        return sum(weight * (canary + stable) for weight, (canary, stable) in self.tally.votes.items())

    @property
    def log(self) -> float:
        return float(np.logaddexp(log_sum(self._bet), self._left))


def first_time(units: Words, seen: set[int]) -> NDArray[np.bool_]:
    """(n,) which of the units are new, counting each once; they are added to ``seen``."""
    fresh = np.zeros(units.size, dtype=np.bool_)
    for place, unit in enumerate(units.tolist()):
        if unit not in seen:
            seen.add(unit)
            fresh[place] = True
    return fresh
