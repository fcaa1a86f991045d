"""Confidence sequences: where the effect lies, in an interval that covers it at every look at once.

A confidence sequence of level alpha misses the truth at any moment, ever, with a chance of at most alpha: it holds
each value that an e-process has not refuted at 1 / alpha (Howard, Ramdas, McAuliffe and Sekhon, AoS 2021).
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from trunkline.sequential.scores import Bets, Claim
from trunkline.sequential.spending import reached
from trunkline.sequential.votes import Tally

# The prior on the canary's share of the votes counts as so many votes that fell as the weight says: the interval is
# narrowest after a multiple of them, and the level does not depend on them.
_PRIOR_VOTES = 20.0
# Logarithms of the risk ratios that are looked at: up to exp(12), beyond which a ratio is no ratio any more.
_FURTHEST = 12.0

_GRID = np.round(np.geomspace(0.002, 0.5, 50), 4).tolist()
# Differences of the mean score, ascending, and the claims that the canary's is at most, or at least, that much more.
_DIFFERENCES = (*(-step for step in reversed(_GRID)), 0.0, *_GRID)
DIFFERENCE_CLAIMS: tuple[Claim, ...] = tuple(Claim(sign, -more) for more in _DIFFERENCES for sign in (-1, 1))


class Interval(NamedTuple):
    """An effect of the canary.

    Attributes:
        estimate: from what was seen; None where it cannot be told.
        low: everything below is ruled out.
        high: everything above is ruled out; infinite where a ratio has no such bound.
    """

    estimate: float | None
    low: float
    high: float


def ratio_interval(tally: Tally, level: float) -> Interval:
    """How many times as often a canary unit has the event, by votes.

    A mixture over the canary's share of the votes, with a beta prior around the weight, against each share that a
    ratio gives (Robbins 1970; Lindon and Malek, arXiv 2011.03567). Exact for units of one request each; where units
    come back it is the ratio of first events.

    Args:
        tally: of votes; those at a weight of 0 or 1 say nothing and are left out.
        level: chance that the interval misses the ratio at any look.
    """
    votes = {weight: seen for weight, seen in tally.votes.items() if 0 < weight < 1}
    canary = sum(seen[0] * (1 - weight) for weight, seen in votes.items())
    stable = sum(seen[1] * weight for weight, seen in votes.items())
    limit = _mixture(votes) + math.log(level)

    def beyond(log_ratio: float) -> float:
        return limit - _likelihood(votes, log_ratio)

    best = _likeliest(votes)
    low = math.exp(_root(beyond, -_FURTHEST, best)) if beyond(-_FURTHEST) > 0 else 0.0
    high = math.exp(_root(beyond, best, _FURTHEST)) if beyond(_FURTHEST) > 0 else math.inf
    return Interval(canary / stable if stable else None, low, high)


def difference_interval(bets: Bets, level: float) -> Interval:
    """How much higher a canary unit's mean score is, by bets on `DIFFERENCE_CLAIMS`.

    Both bounds are values of a grid, the next one outwards; beyond its ends, -1 and 1. A bound stands where all
    claims from its end of the grid up to it are refuted, so the one claim next to the truth decides on coverage.

    Args:
        bets: on the claims, among others.
        level: chance that the interval misses the difference at any look, half of it on each side.
    """
    logs, low, high = bets.logs, -1.0, 1.0
    for more in _DIFFERENCES:
        if not reached(logs[Claim(1, -more)], level / 2):
            break
        low = more
    for more in reversed(_DIFFERENCES):
        if not reached(logs[Claim(-1, -more)], level / 2):
            break
        high = more
    (canary, canary_total), (stable, stable_total) = bets.sums[True], bets.sums[False]
    known = canary > 0 and stable > 0
    return Interval(canary_total / canary - stable_total / stable if known else None, low, high)


def _mixture(votes: Mapping[float, tuple[int, int]]) -> float:
    total = 0.0
    for weight, (canary, stable) in votes.items():
        first, second = _PRIOR_VOTES * weight, _PRIOR_VOTES * (1 - weight)
        total += _log_beta(first + canary, second + stable) - _log_beta(first, second)
    return total


def _log_beta(first: float, second: float) -> float:
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)


def _likelihood(votes: Mapping[float, tuple[int, int]], log_ratio: float) -> float:
    """Concave in the logarithm of the ratio, so what is not refuted is an interval."""
    total = 0.0
    for weight, (canary, stable) in votes.items():
        odds = math.log(weight / (1 - weight)) + log_ratio
        total -= canary * math.log1p(math.exp(-odds)) + stable * math.log1p(math.exp(odds))
    return total


def _likeliest(votes: Mapping[float, tuple[int, int]]) -> float:
    """The logarithm of the likeliest ratio, within what is looked at."""

    def slope(log_ratio: float) -> float:
        total = 0.0
        for weight, (canary, stable) in votes.items():
            share = 1 / (1 + math.exp(-log_ratio) * (1 - weight) / weight)
            total += canary - (canary + stable) * share
        return total

    if slope(-_FURTHEST) <= 0:
        return -_FURTHEST
    if slope(_FURTHEST) >= 0:
        return _FURTHEST
    return _root(slope, -_FURTHEST, _FURTHEST)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq  # only here: it costs half a second, which only an A/B test need pay

    found: float = brentq(function, low, high)
    return found
