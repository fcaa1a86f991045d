"""What people judge canaries by today, on one number a minute and arm; for benchmarks/rollout.py.

Ports of the documented rules, each with the settings of its documentation and as a grid from which an oracle
picks the best on the very streams it is measured on. None runs the original program. Every rule gives the
minute at which it rolls back, or the number of minutes if it never does.
"""

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Protocol

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Minutes:
    """One number a minute: (streams, minutes) each; more is worse.

    Attributes:
        canary: the canary's value, such as its error rate; NaN without requests.
        stable: stable's.
        baseline: that of as many of stable's requests as the canary has; all of them where it has more.
        requests: the canary's and stable's requests, by which minutes are pooled.
        bad: what the canary served badly.
    """

    canary: Array
    stable: Array
    baseline: Array
    requests: tuple[Array, Array]
    bad: Array


class Rule(Protocol):
    def __call__(self, minutes: Minutes) -> Array: ...


def argo(minutes: Minutes, limit: float, interval: int, failures: int) -> Array:
    """Argo Rollouts: a measurement each interval; more than `failures` failed ones in all abort."""
    return _first(_mean(minutes.canary, minutes.requests[0], interval) > limit, failures + 1, interval)


def argo_ratio(minutes: Minutes, limit: float, interval: int, failures: int) -> Array:
    """Argo Rollouts with a query that divides the canary's value by stable's."""
    canary, stable = (
        _mean(values, requests, interval)
        for values, requests in zip((minutes.canary, minutes.stable), minutes.requests, strict=True)
    )
    return _first(canary > limit * np.maximum(stable, 1e-12), failures + 1, interval)


def flagger(minutes: Minutes, limit: float, threshold: int) -> Array:
    """Flagger: a check a minute, no value is a failed one; `threshold` failed ones in all roll back."""
    return _first(~(minutes.canary <= limit), threshold, 1)


def kayenta(minutes: Minutes, interval: int, window: int, fresh: bool = True) -> Array:
    """Kayenta's Mann-Whitney judge on a point a minute, each interval, on the last `window` points (0: on all).

    Its documentation compares the canary with a fresh baseline of the same size, not with all of production.
    """
    streams, length = minutes.canary.shape
    other = minutes.baseline if fresh else minutes.stable
    found = np.full(streams, length)
    for end in range(interval, length + 1, interval):
        start = max(0, end - window) if window else 0
        for stream in np.flatnonzero(found == length):
            if _high(minutes.canary[stream, start:end], other[stream, start:end]):
                found[stream] = end
    return found


def _high(canary: Array, stable: Array) -> bool:
    """NetflixACAJudge: the 98 % interval of the shift is above a quarter of its estimate."""
    canary, stable = canary[~np.isnan(canary)], stable[~np.isnan(stable)]
    if canary.size < 2 or stable.size < 2 or canary.mean() < stable.mean():
        return False
    shifts = (canary[:, None] - stable[None, :]).ravel()
    m, n = canary.size, stable.size
    place = max(int(m * n / 2 - 2.326 * np.sqrt(m * n * (m + n + 1) / 12)), 0)
    return bool(np.partition(shifts, place)[place] > 0.25 * abs(float(np.median(shifts))))


def _mean(values: Array, requests: Array, interval: int) -> Array:
    """(streams, intervals) pooled over an interval's requests; NaN without any."""
    length = values.shape[1] // interval * interval
    total, count = (
        part[:, :length].reshape(values.shape[0], -1, interval).sum(axis=2)
        for part in (np.nan_to_num(values) * requests, requests)
    )
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _first(failed: Array, needed: int, interval: int) -> Array:
    count = np.cumsum(failed, axis=1)
    reached = count >= needed
    return np.where(reached.any(axis=1), (reached.argmax(axis=1) + 1) * interval, failed.shape[1] * interval)


def grids(usual: float) -> dict[str, list[Rule]]:
    """Settings to choose from, around what production usually has."""
    times = (1.03, 1.06, 1.1, 1.2, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0)
    polls = list(product(times, (1, 2, 3, 5, 10), (0, 1, 2, 3, 5, 8)))
    finer = np.geomspace(1.02, 5.0, 50)
    fine = product(finer, (1, 2, 3, 5, 10), range(13))
    windows = [(i, w) for i, w in product((5, 10, 15, 20), (0, 20, 30)) if not 0 < w < i]
    return {
        "Argo": [partial(argo, limit=x * usual, interval=i, failures=f) for x, i, f in polls],
        "Argo, ratio": [partial(argo_ratio, limit=x, interval=i, failures=f) for x, i, f in polls],
        "Flagger": [partial(flagger, limit=x * usual, threshold=t) for x in times for t in (1, 2, 3, 5, 8, 10, 15, 20)],
        "Argo, finer grid": [partial(argo, limit=x * usual, interval=i, failures=f) for x, i, f in fine],
        "Flagger, finer grid": [
            partial(flagger, limit=x * usual, threshold=t) for x, t in product(finer, range(1, 21))
        ],
        "Kayenta": [partial(kayenta, interval=i, window=w) for i, w in windows],
        "Kayenta, all of stable": [partial(kayenta, interval=i, window=w, fresh=False) for i, w in windows],
    }


def oracle(rules: list[Rule], same: Minutes, worse: list[Minutes]) -> Rule | None:
    """The rule with the fewest bad requests on average (of logarithms) whose false rollbacks stay within 5 %."""
    best, found = np.inf, None
    for rule in rules:
        if np.mean(rule(same) < same.canary.shape[1]) > 0.05:
            continue
        cost = np.mean([np.log(served(rule(minutes), minutes).mean()) for minutes in worse])
        if cost < best:
            best, found = cost, rule
    return found


def served(until: Array, minutes: Minutes) -> Array:
    """(streams,) what the canary served badly up to the rollback."""
    within = np.arange(minutes.bad.shape[1])[None, :] < until[:, None]
    return (minutes.bad * within).sum(axis=1)
