"""Everything that a report is made of, as far as it is there."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl
from pydantic import JsonValue

from trunkline import findings
from trunkline.clients import files, git, reports
from trunkline.errors import Error
from trunkline.findings import Finding, Standing
from trunkline.params import Params
from trunkline.records import EXAMPLE_COLUMNS, PREDICTION_COLUMNS, SCORE_PREFIX, SIDES, Bundle, Report
from trunkline.verdict import Verdict

HOLDOUT = Path("data/holdout.parquet")
PREDICTIONS = Path("data/predictions")
MODELS = Path("models")
LOCK = Path("dvc.lock")
# What a run writes itself and Git keeps: not a change of code, data or params.
_WRITTEN = ("reports", "dvc.lock", "dvclive")

Value = TypeVar("Value")


@dataclass(frozen=True)
class Evidence:
    """What the stages left behind.

    Attributes:
        reports: the reports that could be read, by step.
        found: everything that is not a pass.
        bundles: the identity of each side's model, where it is there.
        answers: the holdout with ``production`` and ``candidate`` (outputs) and ``change`` (of the primary
            score; positive is better), or None.
        commit: the commit checked out, or None.
        dirty: whether the tree holds changes that are not in that commit.
        revision: the commit that production is pinned to, or None for the base model alone.
        params: all of params.yaml as it is here.
        hashes: SHA-256 of dvc.lock and of the holdout, by path, where they are there.
    """

    reports: dict[str, Report]
    found: list[Finding]
    bundles: dict[str, Bundle]
    answers: pl.DataFrame | None
    commit: str | None
    dirty: bool
    revision: str | None
    params: dict[str, JsonValue]
    hashes: dict[str, str]

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings."""
        return findings.verdict_of(self.found)

    def metrics(self, step: str) -> dict[str, JsonValue]:
        """A report's metrics; none when it is missing."""
        return self.reports[step].metrics if step in self.reports else {}

    def details(self, step: str) -> dict[str, JsonValue]:
        """A report's details; none when it is missing."""
        return self.reports[step].details if step in self.reports else {}


def gather(params: Params) -> Evidence:
    """Read what is there; what is not is a finding or simply absent, never an Error."""
    primary = params.gate.primary
    left = reports.here(findings.REQUIRED, Path(params.production.pinned))
    known = {step: report for step, report in left.reports.items() if isinstance(report, Report)}
    bundles = {side: _if_there(partial(Bundle.read, MODELS / side / "bundle.json")) for side in SIDES}
    hashes = {str(path): _if_there(partial(files.sha256, path)) for path in (LOCK, HOLDOUT)}
    commit = git.head()
    return Evidence(
        reports=known,
        found=findings.collect(left.reports, Standing(left.changed, left.unwritten)),
        bundles={side: bundle for side, bundle in bundles.items() if bundle is not None},
        answers=_if_there(partial(_answers, primary, _lower_is_better(known, primary))),
        commit=commit,
        dirty=commit is not None and git.dirty(ignoring=_WRITTEN),
        revision=None if isinstance(left.pinned, Error) else left.pinned.revision,
        params=params.model_dump(mode="json", by_alias=True),
        hashes={path: digest for path, digest in hashes.items() if digest is not None},
    )


def _if_there(read: Callable[[], Value]) -> Value | None:
    try:
        return read()
    except Error:
        return None


def _lower_is_better(known: dict[str, Report], primary: str) -> bool:
    metric = known["compare"].metrics.get(primary) if "compare" in known else None
    return isinstance(metric, dict) and metric.get("higher_is_better") is False


def _answers(primary: str, lower_is_better: bool) -> pl.DataFrame:
    column = SCORE_PREFIX + primary
    table = files.read_table(HOLDOUT, EXAMPLE_COLUMNS).select("id", "message", "answer")
    for side in SIDES:
        predictions = files.read_table(PREDICTIONS / f"{side}.parquet", (*PREDICTION_COLUMNS, column))
        named = predictions.select("id", pl.col("output").alias(side), pl.col(column).alias(f"{side}_score"))
        table = table.join(named, on="id", how="inner", maintain_order="left")
    change = pl.col("candidate_score") - pl.col("production_score")
    return table.with_columns(change=-change if lower_is_better else change)
