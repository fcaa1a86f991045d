"""From raw rows to examples: what is valid is masked and kept once, and whatever is found is judged.

The stage `data` writes it down; `release` makes it again, as a report is a file that anybody can write.
"""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from trunkline import duplicates, pii, schema
from trunkline.examples.checks import judge
from trunkline.examples.findings import Findings
from trunkline.params import DataParams
from trunkline.records import EXAMPLE_COLUMNS, KIND_SUFFIX, Report
from trunkline.schema import FIELD_PREFIX


class Examined(NamedTuple):
    """What is made of the raw rows.

    Attributes:
        examples: EXAMPLE_COLUMNS and the slices of every row that is kept.
        rejected: partition, line, reasons and the row as text of every other one.
        report: of the stage ``data``; of no examples its verdict may be any.
    """

    examples: pl.DataFrame
    rejected: pl.DataFrame
    report: Report


def columns(settings: DataParams) -> tuple[str, ...]:
    """The columns of the raw data that are read, each once.

    Args:
        settings: the data section of params.yaml.
    """
    named = [settings.columns.message, *filter(None, settings.columns.model_dump().values())]
    return tuple(dict.fromkeys([*named, *settings.slices, *settings.answer.fields]))


def examine(rows: pl.DataFrame, unreadable: pl.DataFrame, settings: DataParams, trained_on: Sequence[str]) -> Examined:
    """Check, mask and deduplicate raw rows; data that break a limit are no Error.

    Args:
        rows: ``partition``, ``line`` and `columns`, each with its kind.
        unreadable: ``partition``, ``line``, ``reason`` and ``raw`` of every line that is no row.
        settings: the data section of params.yaml.
        trained_on: the partitions that production was trained on; none for the base model.
    """
    named = schema.Columns(**settings.columns.model_dump(), slices=settings.slices)
    limits = (schema.Chars(limit.min, limit.max) for limit in (settings.message_chars, settings.answer_chars))
    filtered = schema.filter_rows(rows, named, settings.answer, *limits)
    rejected = _rejected(filtered.rejected, unreadable, columns(settings), settings.pii)
    read = pl.concat([rows["partition"], unreadable["partition"]])
    failed = filtered.counts | dict(unreadable["reason"].value_counts().sort("reason").iter_rows())
    findings, kept = _examine(read, filtered.valid, failed, settings)
    judged = judge(findings, kept, settings, trained_on)
    report = Report.of("data", judged.checks, findings.metrics(), findings.details() | judged.details)
    return Examined(kept.select(*EXAMPLE_COLUMNS, *settings.slices), rejected, report)


def _examine(
    read: pl.Series, correct: pl.DataFrame, failed: dict[str, int], settings: DataParams
) -> tuple[Findings, pl.DataFrame]:
    """Mask the valid rows, leave out repeats, and count everything on the way."""
    valid, masked = _mask(correct, settings)
    repeats = duplicates.repeats(valid["message"], valid["answer"])
    rows = valid.with_columns(duplicate=repeats.duplicate, conflict=repeats.conflict)
    examples = rows.filter(~pl.col("duplicate") & ~pl.col("conflict")).drop("duplicate", "conflict")
    near = duplicates.near_duplicates(examples["message"], settings.near_duplicate)
    findings = Findings(
        partitions=_by_partition(read, rows),
        rejected=failed,
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
        before = valid[name + KIND_SUFFIX]
        kind = pl.when(masked.held).then(pl.lit("text")).otherwise(before.cast(pl.String))
        changed += [masked.texts, pl.select(kind.cast(before.dtype).alias(before.name)).to_series()]
        held = held | masked.held | pii.masked_before(valid[name], settings.pii)
        counts = {found: count + masked.counts[found] for found, count in counts.items()}
    frame = valid.with_columns(*changed, pii=held)
    return frame.with_columns(answer=schema.canonical(settings.answer)), counts


def _rejected(
    rows: pl.DataFrame, unreadable: pl.DataFrame, wanted: Sequence[str], kinds: Sequence[pii.Kind]
) -> pl.DataFrame:
    """Partition, line, reasons and the row as JSON text, masked like everything that is stored."""
    masked = rows.with_columns(pii.mask_column(rows[column], kinds).texts for column in wanted)
    where = ("partition", "line")
    parts = [
        masked.select(*where, pl.col("reasons").list.join("; "), raw=pl.struct(wanted).struct.json_encode()),
        unreadable.select(*where, reasons="reason", raw=pii.mask_column(unreadable["raw"], kinds).texts),
    ]
    return pl.concat(parts).sort(where)


def _by_partition(read: pl.Series, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in and out of each partition: read, rejected, duplicates, conflicts, kept."""
    counts = read.value_counts(name="read")
    valid = rows.group_by("partition").agg(
        valid=pl.len(), duplicates=pl.col("duplicate").sum(), conflicts=pl.col("conflict").sum()
    )
    joined = (
        counts.join(valid, on="partition", how="left").sort("partition").with_columns(pl.exclude("partition").cast(int))
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
