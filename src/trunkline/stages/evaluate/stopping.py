"""When to stop generating: as soon as the verdict that the whole holdout would give is settled.

Examples are answered in the committed order of their units, a few batches at a time, so nobody chooses
by the results which are left out. The bettors of the gate may be looked at after each of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from trunkline import criteria, gate
from trunkline.criteria import Criterion
from trunkline.verdict import Verdict


class Order(NamedTuple):
    """The holdout in the order in which it is answered.

    Attributes:
        examples: the rows, those of a unit together, units in betting order.
        units: the unit of each row.
    """

    examples: pl.DataFrame
    units: list[str]


def arrange(holdout: pl.DataFrame, unit: str, seed: int) -> Order:
    """Sort the holdout by the committed order of its units."""
    units = holdout[unit].cast(pl.String)
    place = {name: number for number, name in enumerate(gate.ordered(units, seed))}
    rows = holdout.with_columns(units.replace_strict(place).alias("")).sort("", maintain_order=True).drop("")
    return Order(rows, rows[unit].cast(pl.String).to_list())


def chunks(units: Sequence[str], size: int) -> Iterator[int]:
    """How many examples to have answered after each chunk: at least ``size`` more, ending with a unit."""
    last = 0
    for number in range(1, len(units) + 1):
        ends = number == len(units) or units[number] != units[number - 1]
        if ends and (number - last >= size or number == len(units)):
            last = number
            yield number


def settled(plan: Sequence[Criterion], order: Order, sides: Mapping[str, pl.DataFrame], seed: int) -> bool:
    """Whether the answers so far already give the verdict of the whole holdout.

    That is when one criterion fails for sure, or all pass for sure. A criterion that applies to no example
    so far, or to one side only, is not settled.

    Args:
        plan: the criteria that decide and that these answers measure.
        order: of the whole holdout.
        sides: by side, the first answers with the columns that the criteria read.
        seed: of the order.
    """
    verdicts = [_settled(criterion, order, sides, seed) for criterion in plan]
    return Verdict.FAIL in verdicts or set(verdicts) == {Verdict.PASS}


def _settled(criterion: Criterion, order: Order, sides: Mapping[str, pl.DataFrame], seed: int) -> Verdict | None:
    column = criteria.column_of(criterion)
    production, candidate = (sides[side][column].cast(pl.Float64) for side in ("production", "candidate"))
    here = production.is_not_null() & candidate.is_not_null()
    if not here.any() or (production.is_null() != candidate.is_null()).any():
        return None
    seen = pl.Series(order.units[: len(here)]).filter(here).to_list()
    values = criteria.units_of(
        criterion, np.asarray(production.filter(here)), np.asarray(candidate.filter(here)), seen, seed
    )
    # Of the units not answered yet, as many as of those seen will have the score.
    share = len(set(seen)) / len(set(order.units[: len(here)]))
    planned = max(len(values), round(share * len(set(order.units))))
    return gate.settled_verdict(values, criterion.rule, planned)
