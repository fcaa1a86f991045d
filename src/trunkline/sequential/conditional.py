"""X and E2: events of two arms given each window's margins, exact at any weight and any base rate.

In a window the canary answered n1 requests, e1 of them with the event, and stable n0 and e0. If the arms are
exchangeable, then given n1, n0 and e = e1 + e0 the count e1 is hypergeometric, whatever the rate was. Windows
multiply, so drift, incidents that hit both arms and steps of the ramp cancel; pooling their counts would not
(Simpson's paradox). Requires that requests are independent: one each unit.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from trunkline.sequential.spending import log_sum

Floats = NDArray[np.float64]

# Odds ratios that E2 and the votes bet on, with more weight on small ones and a fifth on gross failures.
RATIOS: Floats = np.geomspace(1.15, 100.0, 28)
_GROSS = 4.0


def _prior() -> Floats:
    half_normal = np.exp(-0.5 * np.log(RATIOS) ** 2)
    gross = RATIOS >= _GROSS
    weights: Floats = 0.8 * half_normal / half_normal.sum() + 0.2 * gross / gross.sum()
    return weights


PRIOR: Floats = _prior()


class Counts(NamedTuple):
    """One window.

    Attributes:
        canary: requests that the canary answered.
        canary_events: those of them with the event.
        stable: requests that stable answered.
        stable_events: those of them with the event.
    """

    canary: int
    canary_events: int
    stable: int
    stable_events: int


def conditional_chances(window: Counts, ratio: float = 1.0) -> tuple[int, Floats]:
    """The chances of the canary's events given the window's margins, and the smallest possible count.

    Args:
        window: of which only the margins are used.
        ratio: the odds ratio; at 1 the distribution is hypergeometric, else Fisher's noncentral one.

    Returns:
        The smallest count, and (k,) the chances of it and the following counts.
    """
    low, logs = _weights(window, ratio)
    chances: Floats = np.exp(logs - log_sum(logs))
    return low, chances


def _weights(window: Counts, ratio: float) -> tuple[int, Floats]:
    events = window.canary_events + window.stable_events
    low, high = max(0, events - window.stable), min(window.canary, events)
    k = np.arange(low, high + 1)
    logs = _log_binomial(window.canary, k) + _log_binomial(window.stable, events - k) + k * math.log(ratio)
    return low, logs


def _log_binomial(n: int, k: NDArray[np.int64]) -> Floats:
    logs: Floats = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return logs


class Conditional:
    """X: roll back once the canary's cumulative events are too many, exactly at alpha over a planned horizon.

    The distribution of the cumulative count among rollouts that were not stopped yet is carried along. At each
    look the largest counts that the alpha spent so far affords are cut off; they are the ones that stop. Kin:
    exact sequential surveillance (Silva, Maro and Kulldorff 2021), with the two-arm window as the unit.

    Args:
        tolerated: the odds ratio that is tolerated; 1 tests that there is no difference.
    """

    def __init__(self, tolerated: float = 1.0) -> None:
        self._tolerated = tolerated
        self._alive: Floats = np.ones(1)
        self._used = 0.0
        self.events = 0

    def add(self, window: Counts) -> None:
        """Take in a window; one without events, or with one arm only, changes nothing."""
        low, chances = conditional_chances(window, self._tolerated)
        self.events += window.canary_events
        self._alive = np.convolve(self._alive, np.concatenate([np.zeros(low), chances]))

    def look(self, allowed: float) -> int:
        """Spend alpha up to ``allowed`` and return the smallest cumulative count that stops; `events` may reach it."""
        tail = np.cumsum(self._alive[::-1])[::-1]
        affordable = self._used + tail <= allowed
        limit = int(affordable.argmax()) if affordable.any() else self._alive.size
        if limit < self._alive.size:
            self._used += float(tail[limit])
            self._alive = self._alive[:limit]
        return limit

    @property
    def used(self) -> float:
        """The alpha that the looks so far have used up."""
        return self._used


class Stratified:
    """E2: an e-process on the same margins, for watching without a horizon.

    Each window multiplies ratio^e1 / E[ratio^X] for every odds ratio of a mixture, E being the expectation
    under the tolerated ratio; larger ratios have monotone likelihood ratios, so smaller true ones are covered
    too (after Turner, Ly and Grünwald, arXiv 2106.02693).

    Args:
        tolerated: the odds ratio that is tolerated.
    """

    def __init__(self, tolerated: float = 1.0) -> None:
        self._tolerated = tolerated
        self._logs = np.log(PRIOR)

    def add(self, window: Counts) -> None:
        """Take in a window; one without events, or with one arm only, changes nothing."""
        low, logs = _weights(window, self._tolerated)
        k = low + np.arange(logs.size)
        logs = logs - log_sum(logs)
        normal = log_sum(logs[None, :] + np.log(RATIOS)[:, None] * k[None, :])
        self._logs = self._logs + window.canary_events * np.log(RATIOS) - normal

    @property
    def log(self) -> float:
        """The logarithm of the e-value against "the odds ratio is at most the tolerated one"."""
        return float(log_sum(self._logs))
