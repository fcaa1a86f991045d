"""Labels against the holdout: did the model become wrong more often than it was shown to be?

A bettor against "the mean loss is at most c" multiplies 1 + stake * (loss - c) label after label, which on average
gains nothing while the claim holds (Waudby-Smith and Ramdas, arXiv 2010.09686). Nobody knows when a change begins,
so with every window one more bettor of capital 1 begins. The sum of all their capitals is a Shiryaev-Roberts
e-detector: while nothing changes, the mean time until it first reaches a limit A is at least A windows (Shin,
Ramdas and Rinaldo, E-detectors, arXiv 2203.03532), whatever the losses' distribution.
"""

import numpy as np

from trunkline.drift.exact import Floats
from trunkline.sequential.spending import log_sum

# What the mean loss may have risen by; a bet is the best one where this is so.
_RISES: Floats = np.array([0.02, 0.05, 0.1, 0.2, 0.4])
# A bet may lose at most this share of the capital on one label.
_LARGEST_LOSS = 0.9
_LARGEST_CLAIM = 1 - 1e-6


class Detector:
    """The bettors of one release.

    Args:
        claimed: the mean loss, 0 to 1, that is claimed not to be exceeded.
    """

    def __init__(self, claimed: float) -> None:
        self._claimed = min(max(claimed, 1e-6), _LARGEST_CLAIM)
        spread = self._claimed * (1 - self._claimed)
        self._stakes = np.minimum(_RISES / spread, _LARGEST_LOSS / self._claimed)
        self._logs = np.full(_RISES.size, -np.inf)

    def add(self, losses: Floats) -> float:
        """Take in the labels of a window; one without any says nothing, and lets no time pass.

        Args:
            losses: (n,) in [0, 1], one a conversation.

        Returns:
            The logarithm of the sum of all capitals.
        """
        if losses.size:
            gains = np.log1p(self._stakes[:, None] * (losses[None, :] - self._claimed)).sum(axis=1)
            self._logs = np.logaddexp(self._logs, 0.0) + gains
        return self.log

    @property
    def log(self) -> float:
        """The logarithm of the sum of all capitals; minus infinity before the first label."""
        if np.isneginf(self._logs).all():
            return -np.inf
        return float(log_sum(self._logs)) - float(np.log(_RISES.size))
