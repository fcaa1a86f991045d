"""From examples to units: what is independent of what, in an order that no result can choose."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from trunkline.errors import Error
from trunkline.gate.betting import Floats
from trunkline.gate.decision import check_measured


def ordered(units: Iterable[str], seed: int) -> list[str]:
    """The distinct units in the order in which they bet: by a hash, so the same everywhere and for ever."""
    return sorted(set(units), key=lambda unit: hashlib.sha256(f"{seed}:{unit}".encode()).digest())


def differences(candidate: Floats, production: Floats, units: Sequence[str], seed: int) -> Floats:
    """Mean of candidate - production in each unit, in betting order.

    Args:
        candidate: (n,) scores of examples; higher is better.
        production: (n,) scores of the same examples in the same order.
        units: (n,) the unit (conversation or customer) of each example. Examples of a unit are not
            independent, so a unit counts once, however many examples it has.
        seed: of the order.

    Returns:
        (units,) one difference a unit.

    Raises:
        Error: nothing to compare, sides of different length, or a score that is NaN or infinite.
    """
    _check_lengths(candidate, production, units)
    difference = np.asarray(candidate, dtype=np.float64) - np.asarray(production, dtype=np.float64)
    return unit_means(difference, units, seed)


def relative(candidate: Floats, production: Floats, units: Sequence[str], seed: int) -> Floats:
    """(units,) how much less the candidate needs in each unit: (production - candidate) / (production + candidate).

    Between -1 and 1 for amounts of any size, and 0 where both need the same: one long answer cannot outweigh
    all others. A candidate that needs the share m more everywhere has -m / (2 + m).

    Args:
        candidate: (n,) tokens, milliseconds or money an example; not negative.
        production: (n,) the same of production.
        units: (n,) as in `differences`.
        seed: as in `differences`.

    Raises:
        Error: as in `differences`, or a negative amount.
    """
    _check_lengths(candidate, production, units)
    check_measured(np.concatenate([candidate, production]))
    if min(candidate.min(), production.min()) < 0:
        raise Error("an amount is negative", "run `dvc repro evaluate` again")
    theirs, ours = unit_means(production, units, seed), unit_means(candidate, units, seed)
    both = theirs + ours
    return np.where(both > 0, (theirs - ours) / np.where(both > 0, both, 1.0), 0.0)


def unit_means(values: Floats, units: Sequence[str], seed: int) -> Floats:
    """(units,) the mean of each unit's values, in betting order.

    Raises:
        Error: there is no value, or one is not a finite number.
    """
    check_measured(values)
    row = {unit: index for index, unit in enumerate(ordered(units, seed))}
    index = np.array([row[unit] for unit in units])
    means: Floats = (np.bincount(index, weights=values) / np.bincount(index)).astype(np.float64)
    return means


def _check_lengths(candidate: Floats, production: Floats, units: Sequence[str]) -> None:
    if not len(candidate) == len(production) == len(units):
        raise Error(
            f"{len(candidate)} candidate scores, {len(production)} production scores, {len(units)} units",
            "both models must answer the same examples: run `dvc repro evaluate`",
        )
