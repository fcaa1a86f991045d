"""What a valid example is: a pandera schema built from plain values, with every failure counted.

Rows come as text with a kind for each value, so that one wrongly typed value costs its row and not the
file. Nothing is thrown away silently: each rejected row carries all of its reasons.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData
from pandera.errors import SchemaErrors

from trunkline.records import EXAMPLE_COLUMNS, KIND_SUFFIX, Answer

FIELD_PREFIX = "answer."
_NAMES = ("text",)
_IDENTIFIERS = ("text", "integer")
_LABELS = ("text", "integer", "boolean")
_TIMES = ("text", "time")
_SCALARS = ("text", "integer", "number", "boolean")
_RFC3339 = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.Z+-]"
# date, time, seconds, fraction, offset of ISO 8601 (RFC 3339 and what databases print)
_ISO = r"^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?)? ?(?:([Zz])|([+-]\d\d):?(\d\d)?)?$"


class Columns(NamedTuple):
    """The user's column names; None where there is no such column."""

    id: str | None
    message: str
    customer: str | None
    conversation: str | None
    time: str | None
    slices: tuple[str, ...]


class Chars(NamedTuple):
    """An inclusive range of lengths in characters."""

    min: int
    max: int


class Filtered(NamedTuple):
    """The rows that are valid, those that are not, and why.

    Attributes:
        valid: EXAMPLE_COLUMNS, the slices as text, and each answer field in ``answer.<field>`` with its kind.
        rejected: the rows as they came, with ``reasons`` (a list of texts).
        counts: failing rows by rule; a row may fail several.
    """

    valid: pl.DataFrame
    rejected: pl.DataFrame
    counts: dict[str, int]


def filter_rows(raw: pl.DataFrame, columns: Columns, answer: Answer, message: Chars, length: Chars) -> Filtered:
    """Split raw rows into valid examples and rejected rows.

    Args:
        raw: ``partition``, ``line``, and each column as text beside its kind (records.KIND_SUFFIX).
        columns: which raw columns are what.
        answer: the answer's format, fields and closed sets.
        message: characters a message may have, without the space around it.
        length: characters a canonical answer may have.
    """
    typed = _typed(raw, columns, answer)
    failures = _failures(_schema(columns, answer, message, length), typed)
    counts = {rule: len(rows) for rule, rows in failures.items()}
    reasons = [
        pl.DataFrame({"row": rows, "reasons": pl.repeat(rule, len(rows), dtype=pl.String, eager=True)})
        for rule, rows in failures.items()
    ]
    bad = pl.concat([pl.DataFrame(schema={"row": pl.UInt32, "reasons": pl.String}), *reasons])
    by_row = bad.group_by("row", maintain_order=True).agg("reasons").sort("row")
    rejected = raw[by_row["row"]].with_columns(by_row["reasons"])
    keep = [*EXAMPLE_COLUMNS, *columns.slices]
    keep += [FIELD_PREFIX + field + suffix for field in answer.fields for suffix in ("", KIND_SUFFIX)]
    passed = pl.repeat(True, raw.height, dtype=pl.Boolean, eager=True).scatter(by_row["row"], False)
    return Filtered(typed.select(keep).filter(passed), rejected, counts)


def canonical(answer: Answer) -> pl.Expr:
    """The answer a model is trained to give, as an expression over the ``answer.<field>`` columns.

    ``json``: fields in order, numbers and booleans as they are, and no space between, as each would be a token to
    learn, to generate and to pay for. ``label`` and ``text``: the field's text. Null where a field is.
    """
    if answer.format != "json":
        return pl.col(FIELD_PREFIX + answer.fields[0])
    parts: list[pl.Expr] = []
    for position, field in enumerate(answer.fields):
        name = FIELD_PREFIX + field
        text = pl.when(pl.col(name).is_not_null()).then(_json_text(pl.col(name)))
        value = pl.when(pl.col(name + KIND_SUFFIX) == "text").then(text).otherwise(pl.col(name))
        parts += [pl.lit("{" if position == 0 else ","), _json_text(pl.lit(field)), pl.lit(":"), value]
    return pl.concat_str([*parts, pl.lit("}")])


def parse_time(text: pl.Series) -> pl.Series:
    """ISO-8601 text as UTC datetimes, null where it is none.

    Formats may be mixed: with ``T`` or a space, with or without seconds, fraction and offset; a time
    without an offset is UTC, a date is its midnight.
    """
    # What RFC 3339 allows is nearly all there is, and ten times faster without the pattern.
    plain = _utc(text.set(~text.str.contains(_RFC3339), None))
    rest = (plain.is_null() & text.is_not_null()).arg_true()
    if rest.is_empty():
        return plain
    date, minutes, seconds, fraction, _, hours, more = (pl.field(str(group)) for group in range(1, 8))
    clock = (minutes.fill_null("00:00"), seconds.fill_null(":00"), pl.lit("."), fraction.fill_null("0"))
    offset = (hours.fill_null("+00"), pl.lit(":"), more.fill_null("00"))
    # Inside the struct, so that the pattern runs once and not once a group.
    parts = pl.col("text").str.strip_chars().str.extract_groups(_ISO).struct
    whole = parts.with_fields(whole=pl.concat_str(date, pl.lit("T"), *clock, *offset)).struct.field("whole")
    normal = pl.DataFrame({"text": text.gather(rest)}).select(whole).to_series()
    return plain.scatter(rest, _utc(normal))


def _utc(text: pl.Series) -> pl.Series:
    return text.str.to_datetime("%+", strict=False, time_unit="us", time_zone="UTC")


def _json_text(text: pl.Expr) -> pl.Expr:
    return pl.struct(text.alias("v")).struct.json_encode().str.slice(5).str.head(-1)


def _cell(source: str, name: str, kinds: Sequence[str]) -> list[pl.Expr]:
    """A column under its own name, null unless its kind is allowed, and its kind, null where nothing is there."""
    kind = pl.col(source + KIND_SUFFIX)
    text = pl.col(source).str.strip_chars()
    present = pl.when(text != "").then(kind)
    shown = pl.col(source) if name == "message" else text
    return [
        pl.when((text != "") & kind.is_in(list(kinds))).then(shown).alias(name),
        present.alias(name + KIND_SUFFIX),
    ]


def _typed(raw: pl.DataFrame, columns: Columns, answer: Answer) -> pl.DataFrame:
    cells = _cell(columns.message, "message", _NAMES)
    for name, source in (("id", columns.id), ("customer", columns.customer), ("conversation", columns.conversation)):
        cells += _cell(source, name, _IDENTIFIERS) if source else []
    for field in answer.fields:
        cells += _cell(field, FIELD_PREFIX + field, _field_kinds(field, answer))
    for column in columns.slices:
        cells += [e.alias(s) for e, s in zip(_cell(column, column, _SCALARS), _slice_names(column), strict=True)]
    if columns.time:
        cells += _cell(columns.time, "time", _TIMES)
    if columns.id is None:
        cells.append(pl.format("{}:{}", "partition", "line").alias("_row"))
    frame = raw.lazy().select("partition", *cells)
    typed = frame.with_columns(*_stand_ins(columns), canonical(answer).alias("answer")).collect()
    time = parse_time(typed["time"]) if columns.time else pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    return typed.with_columns(time.alias("time"))


def _slice_names(column: str) -> tuple[str, str]:
    return column, "slice." + column + KIND_SUFFIX


def _stand_ins(columns: Columns) -> list[pl.Expr]:
    """What stands for an identifier that the data do not have."""
    row = "id" if columns.id else "_row"
    conversation = "conversation" if columns.conversation else row
    # A conversation without a known customer must still stay on one side of the split.
    customer = "customer" if columns.customer else conversation
    return [pl.col(row).alias("id"), pl.col(conversation).alias("conversation"), pl.col(customer).alias("customer")]


def _field_kinds(field: str, answer: Answer) -> Sequence[str]:
    if answer.format != "json":
        # A CSV file holds a label such as 3 or true as text, so those of other files are taken too.
        return _LABELS
    return _NAMES if field in answer.allowed else _SCALARS


def _rule(name: str, passes: pl.Expr) -> pa.Check:
    def check(data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(passes)

    return pa.Check(check, name=name)


def _required(name: str, kinds: Sequence[str], shown: str) -> dict[str, pa.Column]:
    """Presence and type of a column, which its kinds tell."""
    kind = name + KIND_SUFFIX
    known = _rule(f"{shown}: not {' or '.join(kinds)}", pl.col(kind).is_in(list(kinds)))
    return {kind: pa.Column(nullable=False, checks=known, title=f"{shown}: missing")}


def _chars(name: str, shown: str, limit: Chars) -> pa.Column:
    length = pl.col(name).str.strip_chars().str.len_chars()
    checks = [
        _rule(f"{shown}: shorter than {limit.min} characters", length >= limit.min),
        _rule(f"{shown}: longer than {limit.max} characters", length <= limit.max),
    ]
    return pa.Column(pl.String, nullable=True, checks=checks)


def _schema(columns: Columns, answer: Answer, message: Chars, length: Chars) -> pa.DataFrameSchema:
    rules = _required("message", _NAMES, columns.message)
    rules["message"] = _chars("message", columns.message, message)
    rules["answer"] = _chars("answer", "answer", length)
    for name, source in (("id", columns.id), ("customer", columns.customer), ("conversation", columns.conversation)):
        rules |= _required(name, _IDENTIFIERS, source) if source else {}
    first = pl.col("id").is_first_distinct() | pl.col("id").is_null()
    rules["id"] = pa.Column(pl.String, nullable=True, checks=_rule(f"{columns.id}: repeats an earlier one", first))
    for field in answer.fields:
        name = FIELD_PREFIX + field
        rules |= _required(name, _field_kinds(field, answer), field)
        if field in answer.allowed:
            allowed = _rule(f"{field}: not an allowed value", pl.col(name).is_in(list(answer.allowed[field])))
            rules[name] = pa.Column(pl.String, nullable=True, checks=allowed)
    if columns.time:
        rules |= _required("time", _TIMES, columns.time)
        unread = pl.col("time").is_null() & pl.col("time" + KIND_SUFFIX).is_in(list(_TIMES))
        rules["time"] = pa.Column(nullable=True, checks=_rule(f"{columns.time}: not an ISO-8601 time", ~unread))
    for column in columns.slices:
        kind = _slice_names(column)[1]
        scalar = _rule(f"{column}: not {' or '.join(_SCALARS)}", pl.col(kind).is_in(list(_SCALARS)))
        rules[kind] = pa.Column(nullable=True, checks=scalar)
    return pa.DataFrameSchema(rules)


def _failures(schema: pa.DataFrameSchema, frame: pl.DataFrame) -> dict[str, pl.Series]:
    """Positions of the failing rows by rule."""
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        found: dict[str, pl.Series] = {}
        for error in errors.schema_errors:
            rule = error.check.name if isinstance(error.check, pa.Check) else error.schema.title
            passed = error.check_output.to_series()
            found[str(rule)] = passed.not_().arg_true()
        return found
    return {}
