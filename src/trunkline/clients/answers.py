"""The files that hold what both models answered: read, and nothing decided."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from trunkline.clients import files
from trunkline.records import CANARIES, EXAMPLE_COLUMNS, PREDICTION_COLUMNS, PROBE_COLUMNS, SIDES

DATA = Path("data")
HOLDOUT = Path("holdout.parquet")
PREDICTIONS = Path("predictions")


class Tables(NamedTuple):
    """What is in the files.

    Attributes:
        holdout: every example.
        predictions: each side's answers.
        probes: by side, its answers to the probes and what it makes of the canaries, with PROBE_COLUMNS; without
            the sides that were not asked.
    """

    holdout: pl.DataFrame
    predictions: dict[str, pl.DataFrame]
    probes: dict[str, pl.DataFrame]


def read(data: Path = DATA) -> Tables:
    """Read holdout, predictions and probes.

    Raises:
        Error: a file is missing or damaged, or lacks a column.
    """
    folder = data / PREDICTIONS
    return Tables(
        files.read_table(data / HOLDOUT, EXAMPLE_COLUMNS),
        {side: files.read_table(folder / f"{side}.parquet", PREDICTION_COLUMNS) for side in SIDES},
        {side: table for side in SIDES if (table := _probes(folder, side)) is not None},
    )


def _probes(folder: Path, side: str) -> pl.DataFrame | None:
    """A side's answers to the probes and what it makes of the canaries, where it was asked."""
    paths = [folder / f"{side}_{kind}.parquet" for kind in ("probes", CANARIES)]
    found = [files.read_table(path, PROBE_COLUMNS).select(PROBE_COLUMNS) for path in paths if path.exists()]
    return pl.concat(found) if found else None
