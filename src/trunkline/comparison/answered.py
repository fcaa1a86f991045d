"""What the two models answered, checked to belong together: the same examples, once each, none left out."""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from trunkline import gate
from trunkline.errors import Error
from trunkline.records import CANARY_METRIC, PROBE_COLUMNS, SIDES, Terms

_HINT = "run `dvc repro evaluate`: both models must answer every example of the holdout once"


class Answered(NamedTuple):
    """The examples that both models answered.

    Attributes:
        examples: rows of the holdout with ``unit`` (text).
        predictions: by side, in the order of ``examples``.
        probes: by side, each with PROBE_COLUMNS, without the sides that were not asked.
        planned: units of the whole holdout.
    """

    examples: pl.DataFrame
    predictions: dict[str, pl.DataFrame]
    probes: dict[str, pl.DataFrame]
    planned: int


def match(
    holdout: pl.DataFrame, tables: Mapping[str, pl.DataFrame], probes: Mapping[str, pl.DataFrame], terms: Terms
) -> Answered:
    """Put both sides' answers beside each other.

    Args:
        holdout: every example, with EXAMPLE_COLUMNS.
        tables: each side's answers, with PREDICTION_COLUMNS.
        probes: the answers to the probes of each side that was asked.
        terms: the unit, and the seed of the committed order.

    Raises:
        Error: a side answers other examples than the other, or an example twice, or is a copy of the other;
            or examples are left out that come earlier in the committed order than others that are answered.
    """
    holdout = holdout.with_columns(unit=pl.col(terms.unit).cast(pl.String))
    for side, table in tables.items():
        _check_once(side, table, holdout)
    production, candidate = (tables[side] for side in SIDES)
    if set(production["id"]) != set(candidate["id"]):
        odd = len(set(production["id"]) ^ set(candidate["id"]))
        raise Error(f"{odd} examples of the holdout are answered by one of the two models only", _HINT)
    if production.equals(candidate):
        raise Error("both models have the same answers and latencies: one side is a copy of the other", _HINT)
    examples = holdout.filter(pl.col("id").is_in(production["id"].implode()))
    _check_first(examples, holdout, terms.seed)
    ids = examples.select("id")
    predictions = {side: ids.join(table, on="id", how="left", maintain_order="left") for side, table in tables.items()}
    return Answered(examples, predictions, _probes(probes), holdout["unit"].n_unique())


def _check_once(side: str, table: pl.DataFrame, holdout: pl.DataFrame) -> None:
    found = set(table["id"])
    if table.height != len(found):
        raise Error(f"the {side} answers {table.height - len(found)} examples more than once", _HINT)
    added = found - set(holdout["id"])
    if added:
        raise Error(f"the {side} adds {len(added)} examples to the {holdout.height} of the holdout", _HINT)
    if not found:
        raise Error(f"the {side} answers no example", _HINT)


def _check_first(examples: pl.DataFrame, holdout: pl.DataFrame, seed: int) -> None:
    """Examples may be left out only at the end of the committed order: nobody chose them by their result."""
    if examples.height == holdout.height:
        return
    complete = holdout.filter(pl.col("unit").is_in(examples["unit"].unique().implode())).height == examples.height
    order = gate.ordered(holdout["unit"], seed)
    if not complete or set(order[: examples["unit"].n_unique()]) != set(examples["unit"]):
        raise Error(
            f"the answers lack {holdout.height - examples.height} of the {holdout.height} examples of the holdout, "
            "and not the last ones of the committed order",
            _HINT,
        )


def _probes(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The candidate is asked all of them; production, where it was asked any, the same but the canaries."""
    production, candidate = (tables.get(side) for side in SIDES)
    if production is not None:
        asked = [table.select("id", "metric").sort("id") for table in (production, _without_canaries(candidate))]
        if not asked[0].equals(asked[1]):
            raise Error("the two models answered different probes", _HINT)
    return {side: table.sort("id") for side, table in tables.items()}


def _without_canaries(table: pl.DataFrame | None) -> pl.DataFrame:
    if table is None:
        return pl.DataFrame(schema=dict.fromkeys(PROBE_COLUMNS, pl.String))
    return table.filter(pl.col("metric") != CANARY_METRIC)
