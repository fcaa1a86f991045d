"""Check the raw data and keep what is valid: data/raw -> data/examples.parquet.

Every row that is left out is counted with its reasons. Data that break a limit stop the pipeline here,
with the reports written and the previous examples as they were.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from trunkline import duplicates, pii, schema
from trunkline.clients import files, tables
from trunkline.errors import Error
from trunkline.params import DataParams, Params
from trunkline.records import EXAMPLE_COLUMNS, KIND_SUFFIX, Production, Report
from trunkline.schema import FIELD_PREFIX
from trunkline.stages.data.checks import judge
from trunkline.stages.data.findings import Findings
from trunkline.stages.data.summary import render
from trunkline.verdict import Verdict

EXAMPLES = Path("data/examples.parquet")
REJECTED = Path("data/rejected.parquet")
REPORT = Path("reports/data.json")
SUMMARY = Path("reports/data.md")

logger = logging.getLogger("trunkline")


def run(params: Params) -> None:
    """Read, check, mask and deduplicate the partitions; write the examples unless a limit is broken.

    Raises:
        Error: a partition cannot be read, a limit's ``fail`` is exceeded, or no example is left.
    """
    settings = params.data
    production = Production.read(Path(params.production.pinned))
    columns = schema.Columns(**settings.columns.model_dump(), slices=settings.slices)
    named = [settings.columns.message, *filter(None, settings.columns.model_dump().values())]
    wanted = tuple(dict.fromkeys([*named, *settings.slices, *settings.answer.fields]))
    raw = tables.read(Path(settings.folder), wanted)
    limits = (schema.Chars(limit.min, limit.max) for limit in (settings.message_chars, settings.answer_chars))
    filtered = schema.filter_rows(raw.rows, columns, settings.answer, *limits)
    rejected = _rejected(filtered.rejected, raw.unreadable, wanted, settings.pii)
    findings, examples = _examine(raw, filtered, settings)

    judged = judge(findings, examples, settings, production.partitions)
    report = Report.of("data", judged.checks, findings.metrics(), findings.details() | judged.details)
    files.write_table(REJECTED, rejected)
    files.write_text(SUMMARY, render(report))
    files.write_text(REPORT, report.text())
    if report.verdict is Verdict.FAIL or examples.is_empty():
        raise _broken(report)
    files.write_table(EXAMPLES, examples.select(*EXAMPLE_COLUMNS, *settings.slices))
    logger.info("data: %d of %d rows are examples, %s; see %s", examples.height, findings.read, report.verdict, SUMMARY)


def _examine(raw: tables.Raw, filtered: schema.Filtered, settings: DataParams) -> tuple[Findings, pl.DataFrame]:
    """Mask the valid rows, leave out repeats, and count everything on the way."""
    valid, masked = _mask(filtered.valid, settings)
    repeats = duplicates.repeats(valid["message"], valid["answer"])
    rows = valid.with_columns(duplicate=repeats.duplicate, conflict=repeats.conflict)
    examples = rows.filter(~pl.col("duplicate") & ~pl.col("conflict")).drop("duplicate", "conflict")
    near = duplicates.near_duplicates(examples["message"], settings.near_duplicate)
    unreadable = dict(raw.unreadable["reason"].value_counts().sort("reason").iter_rows())
    findings = Findings(
        partitions=_by_partition(raw, rows),
        rejected=filtered.counts | unreadable,
        pii=masked,
        pii_rows=int(valid["pii"].sum()),
        near=near,
        near_examples=[examples["message"][list(cluster[:3])].to_list() for cluster in near.clusters[:5]],
    )
    return findings, examples


def _mask(valid: pl.DataFrame, settings: DataParams) -> tuple[pl.DataFrame, dict[str, int]]:
    """Mask messages and free answers; adds ``pii``, whether a row held personal data, and counts by kind."""
    message = pii.mask_column(valid["message"], settings.pii)
    changed, counts = [message.texts], dict(message.counts)
    held = message.held | pii.masked_before(valid["message"], settings.pii)
    closed = settings.answer.format == "label"
    for field in () if closed else (f for f in settings.answer.fields if f not in settings.answer.allowed):
        name = FIELD_PREFIX + field
        masked = pii.mask_column(valid[name], settings.pii)
        # A number that was masked is text from now on.
        kind = pl.when(masked.held).then(pl.lit("text")).otherwise(valid[name + KIND_SUFFIX].cast(pl.String))
        changed += [masked.texts, pl.select(kind.cast(tables.KIND).alias(name + KIND_SUFFIX)).to_series()]
        held = held | masked.held | pii.masked_before(valid[name], settings.pii)
        counts = {found: count + masked.counts[found] for found, count in counts.items()}
    frame = valid.with_columns(*changed, pii=held)
    return frame.with_columns(answer=schema.canonical(settings.answer)), counts


def _rejected(
    rows: pl.DataFrame, unreadable: pl.DataFrame, columns: Sequence[str], kinds: Sequence[pii.Kind]
) -> pl.DataFrame:
    """Partition, line, reasons and the row as JSON text, masked like everything that is stored."""
    masked = rows.with_columns(pii.mask_column(rows[column], kinds).texts for column in columns)
    where = ("partition", "line")
    parts = [
        masked.select(*where, pl.col("reasons").list.join("; "), raw=pl.struct(columns).struct.json_encode()),
        unreadable.select(*where, reasons="reason", raw=pii.mask_column(unreadable["raw"], kinds).texts),
    ]
    return pl.concat(parts).sort(where)


def _by_partition(raw: tables.Raw, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in and out of each partition: read, rejected, duplicates, conflicts, kept."""
    read = pl.concat([raw.rows["partition"], raw.unreadable["partition"]]).value_counts(name="read")
    valid = rows.group_by("partition").agg(
        valid=pl.len(), duplicates=pl.col("duplicate").sum(), conflicts=pl.col("conflict").sum()
    )
    joined = (
        read.join(valid, on="partition", how="left").sort("partition").with_columns(pl.exclude("partition").cast(int))
    )
    counted = joined.with_columns(pl.exclude("partition").fill_null(0))
    return counted.select(
        "partition",
        "read",
        "duplicates",
        "conflicts",
        rejected=pl.col("read") - pl.col("valid"),
        kept=pl.col("valid") - pl.col("duplicates") - pl.col("conflicts"),
    )


def _broken(report: Report) -> Error:
    broken = [
        f"{check.name}: {check.message} ({check.value:.3g}, limit {check.limit:g})"
        for check in report.checks
        if check.verdict is Verdict.FAIL and check.value is not None and check.limit is not None
    ]
    broken = broken or ["no example is left"]
    return Error(
        "\n".join(["the data are not fit to train on; the previous examples are untouched", *broken]),
        f"see {SUMMARY}, and {REJECTED} for each row; correct the data, or data.limits in params.yaml",
    )
