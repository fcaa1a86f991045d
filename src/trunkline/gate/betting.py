"""The bettors: capital that grows only while a claim about a mean keeps being refuted.

A bettor starts with capital 1 and, unit after unit in an order fixed beforehand, bets that the mean is
above a claimed one. If it is not, no strategy multiplies the capital by 1/level with more than chance
``level``, whenever one looks and whatever the distribution (Ville's inequality; betting on bounded means
as in Waudby-Smith and Ramdas, arXiv 2010.09686; without replacement, arXiv 2006.04347).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Two bets at once, a timid and a bold one: (multiple of the best bet at the boundary, share of the capital).
_BETS = ((0.8, 0.8), (2.0, 0.2))
# A bet may lose at most this share of the capital on one unit: it never goes bankrupt.
_LARGEST_LOSS = 0.9
# The variance starts as if this many units of this variance had been seen.
PRIOR_UNITS, PRIOR_VARIANCE = 10, 0.25
_BISECTIONS = 32
_MOST_LOG = 700.0


class Bet(NamedTuple):
    """How a bettor bets.

    Attributes:
        gap: the distance from the claimed mean that matters; the bets are the best where the truth is that far off.
        level: chance to refute a claim that holds.
        lowest: the smallest value a unit can have.
        planned: units in all, seen or not.
    """

    gap: float
    level: float
    lowest: float
    planned: int


def capital(values: Floats, claimed: Floats | float, bet: Bet) -> Floats:
    """Capital after each unit of a bettor against "the mean is at most ``claimed``".

    It falls as ``claimed`` rises, unit by unit.

    Args:
        values: (..., n) one value a unit, none below ``bet.lowest``.
        claimed: one mean, or (..., n) one before each unit.
        bet: how much is bet.

    Returns:
        (..., n); a supermartingale starting at 1 while the claim holds.
    """
    return _grown(values, _stakes(values, bet), claimed, bet.lowest)


def _grown(values: Floats, sizes: Floats, claimed: Floats | float, lowest: float) -> Floats:
    room = np.maximum(np.asarray(claimed) - lowest, 1e-12)
    total = np.zeros(values.shape)
    for multiple, share in _BETS:
        factors = 1 + np.minimum(multiple * sizes, _LARGEST_LOSS / room) * (values - claimed)
        total += share * np.exp(np.minimum(np.cumsum(np.log(factors), axis=-1), _MOST_LOG))
    return total


def first(grown: Floats, level: float) -> NDArray[np.int64]:
    """(...,) units until each capital (..., n) reached 1 / level; more than there are where it did not."""
    reached = grown >= 1 / level
    units: NDArray[np.int64] = np.where(reached.any(axis=-1), reached.argmax(axis=-1) + 1, grown.shape[-1] + 1)
    return units


def bound(values: Floats, bet: Bet, highest: float) -> float:
    """The largest mean that the bettor refutes at some unit, by bisection; ``bet.lowest`` when there is none."""
    low, high = bet.lowest, highest
    sizes = _stakes(values, bet)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _grown(values, sizes, middle, bet.lowest).max() >= 1 / bet.level:
            low = middle
        else:
            high = middle
    return low


def p_value(values: Floats, claimed: float, bet: Bet) -> float:
    """The smallest level at which the bettor refutes the claim at some unit; valid whenever one looks."""
    return float(1 / max(1.0, capital(values, claimed, bet).max()))


def settled(values: Floats, claimed: float, bet: Bet) -> bool:
    """Whether the mean over all ``bet.planned`` units is surely above ``claimed``, with those not seen yet.

    Units are drawn without replacement, so what the rest must average for the claim to hold changes with
    each unit: the bettor bets against that.
    """
    seen = np.arange(values.size)
    before = np.concatenate([[0.0], np.cumsum(values)[:-1]])
    rest = (bet.planned * claimed - before) / (bet.planned - seen)
    # Whatever the rest will be, the claim fails; or it holds, and nothing can be refuted any more.
    if (rest < bet.lowest).any() or values.sum() + (bet.planned - values.size) * bet.lowest > bet.planned * claimed:
        return True
    return bool(first(capital(values, np.minimum(rest, 1.0), bet), bet.level) <= values.size)


def _stakes(values: Floats, bet: Bet) -> Floats:
    """(..., n) the bet before each unit, from the units before it only.

    gap / (variance + gap^2) grows the capital fastest when the truth is one gap away from the claim. With
    too few units for that gap, the bet that would give the narrowest interval from all the planned ones is
    larger, and taken.
    """
    weight = PRIOR_UNITS + np.arange(values.shape[-1])
    total = np.cumsum(values, axis=-1) - values
    squares = np.cumsum(values**2, axis=-1) - values**2
    variance = (PRIOR_UNITS * PRIOR_VARIANCE + squares - total**2 / weight) / weight
    variance = np.maximum(variance, 1e-12)
    narrowest = np.sqrt(2 * np.log(1 / bet.level) / (bet.planned * variance)) / _BETS[0][0]
    stakes: Floats = np.maximum(bet.gap / (variance + bet.gap**2), narrowest)
    return stakes
