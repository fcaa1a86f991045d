"""Values with intervals, for examples that come in clusters: conversations, customers.

Rows of one cluster resemble each other, so the cluster is what is counted (Miller, Adding Error Bars to
Evals, arXiv 2411.00640). No interval has zero width because too little was seen: where the spread of the
data says nothing, a bound that holds anyway takes its place, and where there is none, there is no estimate.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special  # and not scipy.stats, which calls the same functions and takes most of a second to import

from trunkline.records import Estimate

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000


def mean(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    confidence: float,
    bounds: tuple[float, float] | None = None,
) -> Estimate | None:
    """The mean over rows with a cluster-robust interval; ``n`` counts clusters.

    Shares (all values 0 or 1) get the Clopper-Pearson interval of the effective sample size (Korn and
    Graubard, Survey Methodology 24, 1998); other values the t interval of the ratio estimator with
    G - 1 degrees of freedom (Cochran, Sampling Techniques, 1977, ch. 6 and 9).

    Args:
        values: one number a row.
        clusters: the cluster of each row.
        confidence: coverage of the two-sided interval, 0 to 1.
        bounds: the range that values cannot leave; taken to be 0 to 1 where all values are in it.

    Returns:
        None without values, and where values without known bounds show no spread to judge by.
    """
    if not values:
        return None
    row_values = np.asarray(values, dtype=np.float64)
    sums, counts = _by_cluster(row_values, clusters)
    value = float(row_values.mean())
    if bounds is None and row_values.min() >= 0 and row_values.max() <= 1:
        bounds = (0.0, 1.0)
    variance = _variance(sums, counts, value)
    if set(values) <= {0.0, 1.0} and bounds == (0.0, 1.0):
        size = _effective_size(value, variance, counts, confidence)
        return _estimate(value, clopper_pearson(value * size, size, confidence), len(counts))
    if variance > 0:
        reach = _t_quantile((1 + confidence) / 2, len(counts) - 1) * math.sqrt(variance)
        low, high = bounds or (-math.inf, math.inf)
        return _estimate(value, (max(low, value - reach), min(high, value + reach)), len(counts))
    if bounds is None:
        return None
    low, high = bounds
    share = (value - low) / (high - low)
    ends = clopper_pearson(share * len(counts), len(counts), confidence)
    return _estimate(value, (low + ends[0] * (high - low), low + ends[1] * (high - low)), len(counts))


def macro_f1(
    expected: Sequence[str],
    predicted: Sequence[str | None],
    clusters: Sequence[Hashable],
    confidence: float,
    seed: int,
) -> Estimate | None:
    """The mean F1 of the classes that occur among the answers, with a cluster bootstrap interval.

    Percentile bootstrap of whole clusters (Davison and Hinkley, Bootstrap Methods, 1997, ch. 3.8). Where
    all resamples agree, as with no error at all, the interval is Clopper-Pearson's, as if every class had
    as few clusters as the rarest one.

    Args:
        expected: the class of each row.
        predicted: what was answered; None or a class that no answer has is simply wrong.
        clusters: the cluster of each row.
        confidence: coverage of the two-sided interval, 0 to 1.
        seed: of the resampling.

    Returns:
        None without rows.
    """
    if not expected:
        return None
    names = sorted(set(expected))
    counts = _confusion(expected, predicted, _numbered(clusters), names)
    units = len(counts)
    value = float(_macro(counts.sum(axis=0)[None])[0])
    weights = np.random.default_rng(seed).multinomial(units, [1 / units] * units, size=RESAMPLES)
    draws = _macro(np.tensordot(weights, counts, axes=1))
    low, high = (float(end) for end in np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2]))
    if low == high:
        rarest = int(((counts[:, :, 0] + counts[:, :, 1]) > 0).sum(axis=0).min())
        size = min(units, rarest * len(names))
        low, high = clopper_pearson(value * size, size, confidence)
    return _estimate(value, (low, high), units)


def quantile(values: Sequence[float], share: float, confidence: float) -> Estimate | None:
    """A quantile with the interval between two order statistics (David and Nagaraja, 2003, ch. 7.1).

    Args:
        values: independent numbers.
        share: which quantile, such as 0.95.
        confidence: coverage of the two-sided interval, 0 to 1.

    Returns:
        None with too few values to bound the quantile at this confidence: 6 for the median and 72 for
        the 95 % quantile, at 95 %.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    size = len(ordered)
    if not size:
        return None
    tail = (1 - confidence) / 2
    # Ranks counted from 1: P(X_(low) > quantile) <= tail and P(X_(high) < quantile) <= tail.
    low, high = _binomial_quantile(tail, size, share), _binomial_quantile(1 - tail, size, share) + 1
    if low < 1 or high > size:
        return None
    value = float(np.quantile(ordered, share))
    return _estimate(value, (float(ordered[low - 1]), float(ordered[high - 1])), size)


def clopper_pearson(successes: float, size: float, confidence: float) -> tuple[float, float]:
    """The exact interval of a share; both counts may be fractions (Clopper and Pearson, Biometrika 1934)."""
    tail = (1 - confidence) / 2
    failures = size - successes
    low = float(special.betaincinv(successes, failures + 1, tail)) if successes > 0 else 0.0
    high = float(special.betaincinv(successes + 1, failures, 1 - tail)) if failures > 0 else 1.0
    return low, high


def _by_cluster(values: Floats, clusters: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Sum and number of the rows of each cluster."""
    rows = _numbered(clusters)
    return np.bincount(rows, weights=values).astype(np.float64), np.bincount(rows).astype(np.float64)


def _numbered(clusters: Sequence[Hashable]) -> list[int]:
    """Each row's cluster as a number from 0, in order of appearance."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(cluster, len(numbers)) for cluster in clusters]


def _variance(sums: Floats, counts: Floats, value: float) -> float:
    """Variance of the ratio ``sums / counts``; 0 when the clusters do not differ, or there is only one."""
    if len(counts) < 2:
        return 0.0
    residuals = sums - value * counts
    # Rounding must not pass for spread.
    if np.allclose(residuals, 0, atol=1e-12 * max(1.0, float(np.abs(sums).max()))):
        return 0.0
    factor = len(counts) / (len(counts) - 1)
    return factor * float((residuals**2).sum()) / float(counts.sum()) ** 2


def _effective_size(share: float, variance: float, counts: Floats, confidence: float) -> float:
    """How many independent rows would tell as much; the number of clusters where nothing varies."""
    rows, units = float(counts.sum()), len(counts)
    if variance == 0:
        return float(units)
    tail = (1 + confidence) / 2
    degrees = (_t_quantile(tail, rows - 1) / _t_quantile(tail, units - 1)) ** 2
    return min(rows, share * (1 - share) / variance * degrees)


def _confusion(
    expected: Sequence[str], predicted: Sequence[str | None], rows: Sequence[int], names: list[str]
) -> Floats:
    """Counts ``[unit, class, (true positive, false negative, false positive)]``."""
    position = {name: number for number, name in enumerate(names)}
    counts = np.zeros((max(rows) + 1, len(names), 3))
    for right, guess, row in zip(expected, predicted, rows, strict=True):
        if guess == right:
            counts[row, position[right], 0] += 1
            continue
        counts[row, position[right], 1] += 1
        if guess in position:
            counts[row, position[guess], 2] += 1
    return counts


def _macro(counts: Floats) -> Floats:
    """Macro F1 of counts ``[resample, class, 3]``, over the classes that the resample holds."""
    right, missed, wrong = counts[..., 0], counts[..., 1], counts[..., 2]
    present = right + missed > 0
    scores = 2 * right / np.maximum(2 * right + missed + wrong, 1)
    return np.asarray((scores * present).sum(axis=1) / present.sum(axis=1))


def _estimate(value: float, ends: tuple[float, float], size: int) -> Estimate:
    """An Estimate whose interval holds its value whatever the rounding."""
    return Estimate(value=value, low=min(value, ends[0]), high=max(value, ends[1]), n=size)


def _t_quantile(share: float, degrees: float) -> float:
    """A quantile of Student's t distribution."""
    return float(special.stdtrit(degrees, share))


def _binomial_quantile(share: float, size: int, chance: float) -> int:
    """The smallest count that a binomial variable does not exceed with this probability."""
    count: int = math.ceil(special.bdtrik(share, size, chance))
    # What rounds to the count above is the one below where that is already enough.
    return count - 1 if count > 0 and special.bdtr(count - 1, size, chance) >= share else count
