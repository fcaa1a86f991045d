"""Is something more frequent in a window than in the reference? Exact at any size, with a limit for each size.

The claim is that nothing changed: the conversations of a window are exchangeable with those of the reference. Then
every choice of ``size`` conversations out of all of them together was equally likely to be the window, and the number
of them that have the feature is hypergeometric (Fisher's exact test; a permutation test whose resamples need not be
drawn, as all of them are counted: Pitman 1937, Lehmann and Romano, Testing Statistical Hypotheses, 2005, ch. 5.8 and
15.2). Nothing is assumed about distributions, and how little the reference holds is accounted for.

An amount becomes such a feature by a threshold that is found in window and reference together, so that the
argument holds as it is. Or by one that so many of the reference are beyond: that ``hits`` of the window or more are
beyond it too means that of the ``hits + few`` largest of all so many are the window's, whose chance is the same tail
(the precedence test: Balakrishnan and Ng, Precedence-Type Tests, 2006, ch. 3). Few messages of a new kind among many
usual ones are found sooner so, as they are far beyond, and how many they are is not bounded by a share of all.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Counts(NamedTuple):
    """Conversations with a feature and conversations in all, of a window and of its reference."""

    hits: int
    size: int
    reference_hits: int
    reference_size: int

    @property
    def share(self) -> float:
        """Of the window's conversations that have it."""
        return self.hits / self.size

    @property
    def reference_share(self) -> float:
        """Of the reference's."""
        return self.reference_hits / self.reference_size


class Extreme(NamedTuple):
    """Which conversations are extreme.

    Attributes:
        window, reference: which of each side's.
        at: the amount beyond which one is.
    """

    window: Bools
    reference: Bools
    at: float


def chance(counts: Counts) -> float:
    """The chance that so many of the window's conversations have the feature, or more, if nothing changed."""
    having = counts.hits + counts.reference_hits
    others = counts.size + counts.reference_size - having
    hits = np.arange(counts.hits, min(having, counts.size) + 1)
    logs = _choose(having, hits) + _choose(others, counts.size - hits) - _choose(having + others, counts.size)
    return float(min(1.0, np.exp(logs).sum()))


def _choose(n: int, k: NDArray[np.int64] | int) -> Floats:
    """The logarithm of the binomial coefficient (scipy's distribution takes ten times as long for one number)."""
    found: Floats = gammaln(n + 1) - gammaln(np.asarray(k) + 1) - gammaln(n - np.asarray(k) + 1)
    return found


def either(counts: Counts) -> tuple[float, Literal["up", "down", "none"]]:
    """The chance of such a difference in either direction, at most, and the direction."""
    missing = Counts(
        counts.size - counts.hits,
        counts.size,
        counts.reference_size - counts.reference_hits,
        counts.reference_size,
    )
    up, down = chance(counts), chance(missing)
    if counts.share == counts.reference_share:
        return 1.0, "none"
    return min(1.0, 2 * min(up, down)), "up" if up < down else "down"


def limit(counts: Counts, level: float, of_all: bool = False) -> float | None:
    """The smallest share of a window of this size that is an alarm at this level; None where none can be.

    Args:
        counts: of the window only the size matters.
        level: of this one test.
        of_all: the number of conversations with the feature is fixed for window and reference together, as that of the
            extreme ones is.
    """
    having = counts.hits + counts.reference_hits
    most = min(counts.size, having) if of_all else counts.size

    def alarms(hits: int) -> bool:
        theirs = having - hits if of_all else counts.reference_hits
        return chance(counts._replace(hits=hits, reference_hits=theirs)) <= level

    if not alarms(most):
        return None
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if alarms(middle) else (middle + 1, high)
    return high / counts.size


def beyond(window: Floats, reference: Floats, part: float) -> tuple[Counts, float]:
    """How many of the window have larger amounts than all but a part of the reference, and that amount.

    Equal amounts are not beyond, so the reference's hits are so many or fewer: then the chance is smaller than told.

    Args:
        window: (n,) amounts.
        reference: (m,) amounts.
        part: of the reference.
    """
    few = int(part * reference.size)
    at = float(np.sort(reference)[-1 - few])
    return Counts(int((window > at).sum()), window.size, few, reference.size), at


def largest(window: Floats, reference: Floats, part: float) -> Extreme | None:
    """The conversations with the largest amounts of both sides together.

    Args:
        window: (n,) amounts.
        reference: (m,) amounts.
        part: which share of them all is meant; where amounts are equal, the nearest to it that can be had.

    Returns:
        None where all amounts are equal.
    """
    pool = np.concatenate([window, reference])
    at = float(np.quantile(pool, 1 - part, method="inverted_cdf"))
    above = float(np.mean(pool > at))
    below = pool[pool < at]
    # With the threshold itself among the extremes, the amount beyond which one is extreme is the next smaller one.
    if below.size and (above == 0 or abs(np.mean(pool >= at) - part) < abs(above - part)):
        at = float(below.max())
    elif above == 0:
        return None
    return Extreme(window > at, reference > at, at)
