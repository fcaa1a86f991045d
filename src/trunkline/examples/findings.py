"""What was found in the data, in numbers, before anything is judged."""

from typing import NamedTuple

import polars as pl
from pydantic import JsonValue

from trunkline.duplicates import NearDuplicates


class Findings(NamedTuple):
    """Counts of rows.

    Attributes:
        partitions: read, rejected, duplicates, conflicts and kept rows of each partition.
        rejected: rows by the rule they failed.
        pii: matches by kind.
        pii_rows: valid rows that held personal data.
        near: near-duplicates among the kept rows.
        near_examples: masked messages of the largest clusters.
    """

    partitions: pl.DataFrame
    rejected: dict[str, int]
    pii: dict[str, int]
    pii_rows: int
    near: NearDuplicates
    near_examples: list[list[str]]

    @property
    def read(self) -> int:
        """Rows and unreadable lines in all partitions."""
        return int(self.partitions["read"].sum())

    @property
    def valid(self) -> int:
        """Rows that failed no rule."""
        return self.read - self.total("rejected")

    def total(self, column: str) -> int:
        """The sum of a column of ``partitions``."""
        return int(self.partitions[column].sum())

    def metrics(self) -> dict[str, JsonValue]:
        """The numbers that `dvc metrics` tracks."""
        return {
            "rows": self.read,
            "rejected": self.total("rejected"),
            "duplicates": self.total("duplicates"),
            "conflicts": self.total("conflicts"),
            "near_duplicates": len(self.near.rows),
            "pii_rows": self.pii_rows,
            "examples": self.total("kept"),
        }

    def details(self) -> dict[str, JsonValue]:
        """Tables for the report."""
        examples: list[JsonValue] = [list[JsonValue](texts) for texts in self.near_examples]
        partitions: list[JsonValue] = list(self.partitions.to_dicts())
        rejected = sorted(self.rejected.items(), key=lambda item: (-item[1], item[0]))
        return {
            "partitions": partitions,
            "rejected": dict(rejected),
            "pii": dict(self.pii),
            "near_duplicates": {"clusters": len(self.near.clusters), "examples": examples},
        }
