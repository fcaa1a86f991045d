"""The verdicts on the data: each finding against its limit in data.limits."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
from pydantic import JsonValue

from trunkline import shift
from trunkline.examples.findings import Findings
from trunkline.params import DataParams
from trunkline.records import KIND_SUFFIX
from trunkline.schema import FIELD_PREFIX
from trunkline.verdict import Check, Limit, Verdict, within

_PATH = "data.limits."


class Judged(NamedTuple):
    """Checks, and the tables behind those that need one."""

    checks: tuple[Check, ...]
    details: dict[str, JsonValue]


def judge(findings: Findings, examples: pl.DataFrame, settings: DataParams, trained_on: Sequence[str]) -> Judged:
    """Every check of the data.

    Args:
        findings: what was counted.
        examples: the rows that are kept, with their answer fields and ``pii``.
        settings: the data section of params.yaml.
        trained_on: the partitions that production was trained on; none for the base model.
    """
    limits, valid = settings.limits, findings.valid
    measured = (
        ("rejected", findings.total("rejected"), findings.read, limits.rejected, "rows failed a schema rule"),
        ("duplicates", findings.total("duplicates"), valid, limits.duplicates, "rows repeat an earlier message"),
        (
            "near_duplicates",
            len(findings.near.rows),
            valid,
            limits.near_duplicates,
            "rows nearly repeat an earlier one",
        ),
        ("conflicts", findings.total("conflicts"), valid, limits.conflicts, "rows have another answer elsewhere"),
        ("pii", findings.pii_rows, valid, limits.pii, "rows held personal data, now masked"),
    )
    checks = [
        within(_PATH + name, count / total if total else None, limit, f"{count} of {total} {what}")
        for name, count, total, limit, what in measured
    ]
    labels = _label_counts(examples, settings)
    checks += _imbalance(labels, settings.limits.imbalance)
    shifted, table = _shift(examples, settings, trained_on)
    return Judged(
        (*checks, *shifted), {"labels": {field: dict(counts) for field, counts in labels.items()}, "shift": table}
    )


def _label_counts(examples: pl.DataFrame, settings: DataParams) -> dict[str, dict[str, int]]:
    """Examples by value of each answer field that has classes; an allowed value without examples counts 0."""
    answer = settings.answer
    found: dict[str, dict[str, int]] = {}
    for field in answer.fields:
        values = examples[FIELD_PREFIX + field]
        if field in answer.allowed or answer.format == "label" or _has_classes(examples, field):
            counts = dict(values.drop_nulls().value_counts().iter_rows())
            counts = dict.fromkeys(answer.allowed.get(field, ()), 0) | counts
            found[field] = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return found


def _has_classes(examples: pl.DataFrame, field: str) -> bool:
    return not _is_number(examples, field) and shift.is_categorical(examples[FIELD_PREFIX + field])


def _is_number(examples: pl.DataFrame, field: str) -> bool:
    return bool(examples[FIELD_PREFIX + field + KIND_SUFFIX].cast(pl.String).is_in(["integer", "number"]).all())


def _imbalance(labels: dict[str, dict[str, int]], limit: Limit) -> list[Check]:
    """The largest class over the smallest of the worst field; none where no field has classes."""
    ratios: dict[str, float] = {}
    absent: list[str] = []
    for field, counts in labels.items():
        present = [count for count in counts.values() if count]
        absent += [f"{field} has no example of {value}" for value, count in counts.items() if not count]
        if present:
            ratios[field] = max(present) / min(present)
    if not labels:
        return []
    worst = max(ratios, key=lambda field: ratios[field], default="")
    message = f"the largest class of {worst} is {ratios.get(worst, 0):.1f} times the smallest"
    check = within(_PATH + "imbalance", ratios.get(worst), limit, message)
    if absent and check.verdict is not Verdict.FAIL:
        return [within(_PATH + "imbalance", None, limit, "; ".join(absent[:5]))]
    return [check]


def _shift(
    examples: pl.DataFrame, settings: DataParams, trained_on: Sequence[str]
) -> tuple[list[Check], dict[str, JsonValue]]:
    """The shift of partitions that production has not seen, on one row a conversation."""
    here = examples["partition"].unique().sort().to_list()
    # The base model was trained on none of these data: the newest partition stands against the earlier.
    reference = [name for name in here if name in trained_on] if trained_on else here[:-1]
    new = [name for name in here if name not in trained_on] if trained_on else here[-1:]
    table: dict[str, JsonValue] = {"reference": list(reference), "new": list(new), "columns": []}
    table["against"] = "the data production was trained on" if trained_on else "the earlier partitions"
    limit, name = settings.limits.shift, _PATH + "shift"
    if not new or (not reference and not trained_on):
        return [], table | {"against": "nothing: no partition is new"}
    if not reference:
        return [within(name, None, limit, "no partition that production was trained on is here")], table
    sides = [examples.filter(pl.col("partition").is_in(side)) for side in (reference, new)]
    first = [side.unique("conversation", keep="first", maintain_order=True) for side in sides]
    usual = first[0]["message"]
    old, fresh = (
        _compared(side, examples, settings).with_columns(
            shift.rare_words(side["message"], usual, among=side is first[0]).alias("rare words")
        )
        for side in first
    )
    shifts = shift.measure(old, fresh, settings.shift_alpha)
    table["columns"] = [dict(found._asdict()) for found in shifts]
    significant = [found for found in shifts if found.significant and found.effect is not None]
    if not any(found.effect is not None for found in shifts):
        return [within(name, None, limit, "no column has values on both sides")], table
    worst = max(significant, key=lambda found: found.effect or 0.0, default=None)
    absent = [found.column for found in shifts if found.effect is None]
    unknown = f"; only one side has values of {', '.join(absent)}" if absent else ""
    if worst is None:
        measured = len(shifts) - len(absent)
        return [within(name, 0.0, limit, f"none of {measured} columns shifted significantly{unknown}")], table
    others = f", and {len(significant) - 1} more columns shifted" if len(significant) > 1 else ""
    message = f"{worst.column} shifted against {table['against']}{others}{unknown}"
    return [within(name, worst.effect, limit, message)], table


def _compared(side: pl.DataFrame, examples: pl.DataFrame, settings: DataParams) -> pl.DataFrame:
    """The columns to compare, of one row a conversation: rows of one are not independent."""
    message = pl.col("message")
    columns = {
        "message characters": message.str.len_chars(),
        "message words": message.str.count_matches(r"\S+"),
        "personal data": pl.col("pii").cast(pl.String),
    }
    # Not every source knows a slice, as the prediction log: values are compared, and not whether there is one.
    columns |= {column: pl.col(column) for column in settings.slices}
    for field in settings.answer.fields:
        value = pl.col(FIELD_PREFIX + field)
        if _is_number(examples, field):
            columns[field] = value.cast(pl.Float64)
        elif field in settings.answer.allowed or settings.answer.format == "label" or _has_classes(examples, field):
            columns[field] = value
        else:
            columns[f"{field} characters"] = value.str.len_chars()
    return side.select(**columns)
