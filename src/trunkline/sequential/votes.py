"""E1: events one by one, each a vote for the arm it came from.

With a share w of the units on the canary and a risk ratio r, the next event is the canary's with chance
q_r = w r / (w r + 1 - w) (events of Poisson streams, after Lindon and Malek, arXiv 2011.03567). A claim about r
is refuted by the mixture over other ratios of prod q_r' / q_r. The tally by weight is all that matters, so it
is the same whether events come singly or by the hour.

A unit votes once, with its first event: then the votes are independent however often a unit comes back and
however much units differ, as long as the unit's arm was drawn by its hash. The ratio is that of first events:
where most units have the event sooner or later, it is nearer to 1 than the ratio of requests is.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from trunkline.sequential.conditional import PRIOR, RATIOS
from trunkline.sequential.spending import log_sum, reached

Floats = NDArray[np.float64]

# Ratios that may be true when a larger one is to be ruled out.
_SAFE: Floats = np.array([0.25, 0.5, 0.75, 1.0, 1.2])
_BOUNDS = np.round(np.geomspace(1.05, 20.0, 60), 3).tolist()


class Tally:
    """Votes by weight."""

    def __init__(self) -> None:
        self.votes: dict[float, tuple[int, int]] = {}

    def add(self, weights: Floats, canary: NDArray[np.bool_]) -> None:
        """Count votes.

        Args:
            weights: (n,) the canary's share when each voter was assigned.
            canary: (n,) whether the voter was on the canary.
        """
        for weight in np.unique(weights).tolist():
            here = canary[weights == weight]
            first, second = self.votes.get(weight, (0, 0))
            self.votes[weight] = first + int(here.sum()), second + int((~here).sum())

    @property
    def canary(self) -> int:
        """Votes for the canary."""
        return sum(canary for canary, _ in self.votes.values())

    @property
    def stable(self) -> int:
        """Votes for stable."""
        return sum(stable for _, stable in self.votes.values())


def log_factors(votes: Mapping[float, tuple[int, int]], claimed: Floats | float, ratios: Floats) -> Floats:
    """(j,) logarithms of how much likelier the votes are under each of ``ratios`` than under ``claimed``.

    Args:
        votes: (canary's, stable's) by weight; weights of 0 and 1 say nothing and are left out.
        claimed: the ratio to refute; of several, (k, 1), the logarithms are (k, j).
        ratios: (j,) other ratios.
    """
    logs: Floats = np.zeros(np.broadcast_shapes(np.shape(claimed), ratios.shape))
    for weight, (canary, stable) in votes.items():
        if 0 < weight < 1:
            share, other = _share(weight, claimed), _share(weight, ratios)
            logs = logs + xlogy(canary, other / share) + xlogy(stable, (1 - other) / (1 - share))
    return logs


def _share(weight: float, ratio: Floats | float) -> Floats:
    share: Floats = np.asarray(weight * ratio / (weight * ratio + 1 - weight))
    return share


def at_most(tally: Tally, tolerated: float = 1.0) -> float:
    """The logarithm of the e-value against "the risk ratio is at most ``tolerated``": large means roll back."""
    return float(log_sum(log_factors(tally.votes, tolerated, tolerated * RATIOS) + np.log(PRIOR)))


def at_least(tally: Tally, margin: float) -> float:
    """The logarithm of the e-value against "the risk ratio is at least ``margin``": large means no worse."""
    return float(_at_least(tally, np.array([margin]))[0])


def bound(tally: Tally, level: float, margins: Iterable[float] = ()) -> float:
    """The smallest risk ratio that is ruled out at this level, of a grid up to 20 and ``margins``; or infinity."""
    ratios = sorted({*_BOUNDS, *margins})
    logs = _at_least(tally, np.array(ratios)).tolist()
    return next((ratio for ratio, log in zip(ratios, logs, strict=True) if reached(log, level)), math.inf)


def _at_least(tally: Tally, margins: Floats) -> Floats:
    """(k,) the same against each of (k,) margins."""
    bets = margins[:, None] > _SAFE
    logs = np.where(bets, log_factors(tally.votes, margins[:, None], _SAFE), -np.inf)
    found: Floats = log_sum(logs) - np.log(bets.sum(axis=1))
    return found
