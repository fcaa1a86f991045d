"""What the two models answered, checked to belong together: the same examples, once each, none left out."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from trunkline import gate
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.records import EXAMPLE_COLUMNS, PREDICTION_COLUMNS, PROBE_COLUMNS, SIDES

PREDICTIONS = Path("data/predictions")
HOLDOUT = Path("data/holdout.parquet")
_HINT = "run `dvc repro evaluate`: both models must answer every example of the holdout once"


class Answered(NamedTuple):
    """The examples that both models answered.

    Attributes:
        examples: rows of the holdout with ``unit`` (text).
        predictions: by side, in the order of ``examples``.
        probes: by side, each with PROBE_COLUMNS; none where there are no probes.
        planned: units of the whole holdout.
    """

    examples: pl.DataFrame
    predictions: dict[str, pl.DataFrame]
    probes: dict[str, pl.DataFrame]
    planned: int


def read(unit: str, seed: int) -> Answered:
    """Read holdout, predictions and probes.

    Args:
        unit: the column of what is independent of what.
        seed: of the order of units.

    Raises:
        Error: a side is missing, answers other examples than the other, or leaves out examples that come
            earlier in the committed order than others it answers.
    """
    holdout = files.read_table(HOLDOUT, EXAMPLE_COLUMNS).with_columns(unit=pl.col(unit).cast(pl.String))
    tables = {side: files.read_table(PREDICTIONS / f"{side}.parquet", PREDICTION_COLUMNS) for side in SIDES}
    for side, table in tables.items():
        _check_once(side, table, holdout)
    production, candidate = (tables[side] for side in SIDES)
    if set(production["id"]) != set(candidate["id"]):
        odd = len(set(production["id"]) ^ set(candidate["id"]))
        raise Error(f"{odd} examples of {HOLDOUT} are answered by one of the two models only", _HINT)
    if production.equals(candidate):
        raise Error(f"{PREDICTIONS} holds the same answers and latencies twice: one side is a copy of the other", _HINT)
    examples = holdout.filter(pl.col("id").is_in(production["id"].implode()))
    _check_first(examples, holdout, seed)
    ids = examples.select("id")
    predictions = {side: ids.join(table, on="id", how="left", maintain_order="left") for side, table in tables.items()}
    return Answered(examples, predictions, _probes(), holdout["unit"].n_unique())


def _check_once(side: str, table: pl.DataFrame, holdout: pl.DataFrame) -> None:
    path, found = PREDICTIONS / f"{side}.parquet", set(table["id"])
    if table.height != len(found):
        raise Error(f"{path} answers {table.height - len(found)} examples more than once", _HINT)
    added = found - set(holdout["id"])
    if added:
        raise Error(f"{path} adds {len(added)} examples to the {holdout.height} of {HOLDOUT}", _HINT)
    if not found:
        raise Error(f"{path} answers no example", _HINT)


def _check_first(examples: pl.DataFrame, holdout: pl.DataFrame, seed: int) -> None:
    """Examples may be left out only at the end of the committed order: nobody chose them by their result."""
    if examples.height == holdout.height:
        return
    complete = holdout.filter(pl.col("unit").is_in(examples["unit"].unique().implode())).height == examples.height
    order = gate.ordered(holdout["unit"], seed)
    if not complete or set(order[: examples["unit"].n_unique()]) != set(examples["unit"]):
        raise Error(
            f"{PREDICTIONS} lacks {holdout.height - examples.height} of the {holdout.height} examples of {HOLDOUT}, "
            "and not the last ones of the committed order",
            _HINT,
        )


def _probes() -> dict[str, pl.DataFrame]:
    paths = {side: PREDICTIONS / f"{side}_probes.parquet" for side in SIDES}
    if not any(path.exists() for path in paths.values()):
        return {}
    tables = {side: files.read_table(path, PROBE_COLUMNS) for side, path in paths.items()}
    production, candidate = (tables[side].select("id", "metric").sort("id") for side in SIDES)
    if not production.equals(candidate):
        raise Error(f"the two models answered different probes: see {PREDICTIONS}", _HINT)
    return {side: table.sort("id") for side, table in tables.items()}
