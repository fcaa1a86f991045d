"""P: the real canary among canaries that were not deployed.

Row 0 is the real salt, the other rows are placebo salts. If the version changes nothing, then the outcomes are
what they are under any salt, and row 0 is exchangeable with the rest: whatever a unit's requests have in
common, at any ramp fixed beforehand, for any number of metrics (randomisation test; one maximum over metrics,
Westfall and Young 1993). At each look the most extreme rows may leave, as many in all as alpha spent so far
affords; the canary is rolled back when row 0 is among them, which happens with a chance of at most alpha.

A row's statistic is the sum over its canary of outcomes less the weight times that over all, in standard
deviations over all rows. Rows that are exactly as extreme leave together or not at all, and only rows with
more harm than expected leave, so no evidence never stops anything.

How many rows there are changes nothing of the level, but much of the delay: rows leave one by one, and what the
next one has to exceed is the largest of all others, which is the more a matter of luck the fewer there are. Of a
canary with three times the errors 199 placebos let through half as many bad answers again as the exact test does,
999 a tenth more, and 4,999 a fiftieth.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
# Rows that are added up at once: their flags as numbers take little memory, and stay in a core's cache.
_BLOCK = 256


class Placebos:
    """The rows and what is left of them.

    Args:
        rows: the real canary and the placebos.
        metrics: how many there are.
        follows: metrics that count in a row only where another one, the value here, is more harmful than expected.
    """

    def __init__(self, rows: int, metrics: int, follows: Mapping[int, int] | None = None) -> None:
        self._follows = dict(follows or {})
        self._sums = np.zeros((rows, metrics))
        self._here = np.ones(rows, dtype=np.bool_)
        self.limit = np.inf

    def add(self, canary: Flags, weights: Floats, outcomes: Floats) -> None:
        """Take in requests.

        Args:
            canary: (rows, n) who would be on the canary under each salt; row 0 is who was.
            weights: (n,) the canary's share when each was assigned.
            outcomes: (n, metrics) harm less what is expected whatever the arm; 0 where nothing was measured.
        """
        expected = weights @ outcomes
        for first in range(0, canary.shape[0], _BLOCK):
            block = slice(first, first + _BLOCK)
            self._sums[block] += canary[block].astype(np.float64) @ outcomes - expected

    @property
    def scaled(self) -> Floats:
        """(rows, metrics) sums in standard deviations over all rows; 0 where all rows are the same."""
        spread = np.sqrt(np.mean(self._sums**2, axis=0))
        scaled: Floats = self._sums / np.where(spread > 0, spread, np.inf)
        for metric, other in self._follows.items():
            scaled[:, metric] *= scaled[:, other] > 0
        return scaled

    def look(self, allowed: float) -> bool:
        """Let rows leave while the share of those that left stays within ``allowed``.

        Returns:
            Whether the real canary left; `limit` is what it had to exceed.
        """
        worst = self.scaled.max(axis=1)
        here = np.where(self._here, worst, -np.inf)
        # The tolerance keeps 0.05 * 1000 from being 49.999.
        room = int(allowed * here.size + 1e-9) - int((~self._here).sum())
        if room <= 0:
            self.limit = np.inf
            return False
        places = here.size - room - 1
        limit = -np.inf if places < 0 else float(np.partition(here, places)[places])
        self.limit = max(limit, 0.0)
        # Sums that differ by rounding only are the same.
        self._here &= ~(here > self.limit + 1e-9)
        return not self._here[0]

    @property
    def worse_than(self) -> float:
        """The share of the placebos that are less extreme than the real canary."""
        worst = self.scaled.max(axis=1)
        return float(np.mean(worst[1:] < worst[0] - 1e-9)) if worst.size > 1 else 0.0
