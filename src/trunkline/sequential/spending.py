"""One alpha for a whole rollout: how it is spent over time, and how it is shared among metrics."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_LOG = 700.0


def spent(alpha: float, elapsed: float, horizon: float) -> float:
    """The part of alpha that may be spent by now: alpha * sqrt(elapsed / horizon).

    Concave, so gross failures are found early (Lan and DeMets 1983 for spending functions; Silva, Maro and
    Kulldorff, Statistics in Medicine 2021, for concave ones in exact surveillance).

    Args:
        alpha: in all.
        elapsed: on the planned clock; past the horizon nothing more is spent.
        horizon: the planned length, in the same unit.
    """
    return alpha * math.sqrt(min(max(elapsed, 0.0) / horizon, 1.0))


def average(logs: Sequence[float]) -> float:
    """The logarithm of the mean of e-values, itself one however they depend (Vovk and Wang, AoS 2021).

    Args:
        logs: logarithms of e-values; none gives 0, the e-value of nothing measured.
    """
    if not logs:
        return 0.0
    return float(log_sum(np.asarray(logs, dtype=np.float64))) - math.log(len(logs))


def log_sum(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """log of the sum of exp over the last axis, of which one is finite (scipy's takes ten times as long on a few)."""
    most = logs.max(axis=-1)
    total: NDArray[np.float64] = most + np.log(np.exp(logs - most[..., None]).sum(axis=-1))
    return total


def reached(log: float, level: float) -> bool:
    """Whether an e-value, given its logarithm, refutes its claim at this level."""
    return log >= -math.log(level)


def value(log: float) -> float:
    """The e-value of a logarithm, finite."""
    return math.exp(min(log, MOST_LOG))
