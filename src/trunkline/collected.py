"""New labelled rows: read out of labels and files, masked, without repeats, as the text of a partition.

Rows come as the data stage reads them: every raw column as text beside its kind (records.KIND_SUFFIX). What is wrong
with a row is left for that stage to find, so that bad labels are seen and not lost.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl
from pydantic import JsonValue

from trunkline import duplicates, pii, scoring
from trunkline.records import KIND_SUFFIX, Answer
from trunkline.schema import Columns

Row = dict[str, JsonValue]
_APART = "\x1f"  # between two values of an answer


class Layout(NamedTuple):
    """What raw rows look like.

    Attributes:
        columns: the user's names.
        answer: which columns make the answer.
        pii: kinds of personal data that are masked.
    """

    columns: Columns
    answer: Answer
    pii: Sequence[pii.Kind]

    @property
    def names(self) -> tuple[str, ...]:
        """Every raw column that counts, each once, in order."""
        columns = self.columns
        own = (columns.id, columns.customer, columns.conversation, columns.time, *columns.slices, columns.message)
        return tuple(dict.fromkeys([*filter(None, own), *self.answer.fields]))


class New(NamedTuple):
    """What is left of the rows that came in.

    Attributes:
        rows: the new ones, as they came.
        repeats: how many were left out because their id or their message and answer are there already.
        contradictions: how many of the new ones give another answer to a message that is there already.
    """

    rows: pl.DataFrame
    repeats: int
    contradictions: int


def of_log(said: pl.DataFrame, layout: Layout, sources: Sequence[str]) -> dict[str, list[Row]]:
    """Labelled predictions as raw rows, by the source of the label.

    Of several labels on a prediction the most trusted source's counts, and of that source the last. A label that does
    not read as an answer leaves the answer's columns empty, which no data check lets through.

    Args:
        said: as `predictions.labelled` gives it.
        sources: the most trusted first.
    """
    trusted = pl.DataFrame({"source": list(sources)}, schema={"source": pl.String}).with_row_index("rank")
    ranked = said.join(trusted, on="source").sort("prediction", "rank", "said", descending=[False, False, True])
    chosen = ranked.unique("prediction", keep="first", maintain_order=True)
    found: dict[str, list[Row]] = {}
    for row in chosen.iter_rows(named=True):
        found.setdefault(row["source"], []).append(_of_prediction(row, layout))
    return found


def _of_prediction(row: Mapping[str, object], layout: Layout) -> Row:
    columns = layout.columns
    made: Row = dict.fromkeys(layout.names)
    time = row["time"]
    values = {
        columns.id: row["prediction"],
        columns.customer: row["customer"],
        columns.conversation: row["unit"],
        columns.time: None if time is None else time.isoformat(),  # type: ignore[attr-defined]
        columns.message: row["input"],
    }
    made |= {name: str(value) for name, value in values.items() if name is not None and value is not None}
    return made | _answer(str(row["label"]), layout.answer)


def _answer(label: str, answer: Answer) -> Row:
    if answer.format != "json":
        return {answer.fields[0]: label}
    read = scoring.parse(label) or {}
    return {field: read.get(field) for field in answer.fields}


def masked(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Rows whose messages and free answers hold no personal data: a partition stays for as long as its commit."""
    closed = layout.answer.format == "label"
    free = [] if closed else [field for field in layout.answer.fields if field not in layout.answer.allowed]
    changed = []
    for name in (layout.columns.message, *free):
        found = pii.mask_column(rows[name], layout.pii)
        # A number that was masked is text from now on.
        kind = pl.when(found.held).then(pl.lit("text")).otherwise(rows[name + KIND_SUFFIX].cast(pl.String))
        changed += [found.texts.alias(name), pl.select(kind.alias(name + KIND_SUFFIX)).to_series()]
    return rows.with_columns(changed)


def without(rows: pl.DataFrame, customers: Sequence[str], layout: Layout) -> pl.DataFrame:
    """Rows of other customers than these."""
    column = layout.columns.customer
    if column is None or not customers:
        return rows
    return rows.filter(~pl.col(column).str.strip_chars().is_in(list(customers)).fill_null(False))


def new(rows: pl.DataFrame, known: pl.DataFrame, layout: Layout) -> New:
    """The rows whose id, and whose message with its answer, are neither known nor among the rows before them.

    A message that is known with another answer stays: which of the two is right is for the data checks to ask.

    Args:
        rows: masked.
        known: the rows of the existing partitions, masked alike.
    """
    keyed, before = (_keyed(side, layout) for side in (rows, known))
    kept = keyed.select(kept=_is_new("id", before) & _is_new("pair", before))["kept"]
    left = keyed.filter(kept)
    other = left.filter(pl.col("message").is_in(before["message"].drop_nulls().unique().implode())).height
    return New(rows.filter(kept), rows.height - left.height, other)


def _is_new(name: str, known: pl.DataFrame) -> pl.Expr:
    seen = pl.col(name).is_in(known[name].drop_nulls().unique().implode())
    return pl.col(name).is_null() | (pl.col(name).is_first_distinct() & ~seen)


def _keyed(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """What tells rows apart: id, message without differences of case and space, and both it and the answer."""
    none = pl.lit(None, dtype=pl.String)
    columns = layout.columns
    fields = [pl.col(field).str.strip_chars().fill_null("") for field in layout.answer.fields]
    return rows.select(
        id=none if columns.id is None else pl.col(columns.id).str.strip_chars(),
        message=duplicates.normalised(rows[columns.message]),
        answer=pl.concat_str(fields, separator=_APART),
    ).with_columns(pair=pl.concat_str("message", "answer", separator=_APART))


def text(rows: pl.DataFrame, layout: Layout) -> str:
    """The rows as JSON Lines, in an order that depends on nothing but them: the same rows are the same bytes."""
    names, first = layout.names, layout.columns.time or layout.names[0]
    lines = []
    for row in rows.iter_rows(named=True):
        cells = {name: _value(row[name], row[name + KIND_SUFFIX]) for name in names}
        lines.append((str(row[first]), json.dumps(cells, ensure_ascii=False)))
    return "".join(f"{line}\n" for _, line in sorted(lines))


def _value(cell: str | None, kind: str | None) -> JsonValue:
    """A cell as JSON has it; what is no single value stays none, so that the checks still see it."""
    if cell is None or kind is None:
        return None
    if kind == "other":
        return []
    if kind not in ("integer", "number", "boolean"):
        return cell
    try:
        value: JsonValue = json.loads(cell)
    except ValueError:
        return cell
    return value


def mix(rows: pl.DataFrame, layout: Layout) -> dict[str, dict[str, int]]:
    """How often each value of each closed answer field is there; an allowed value without rows counts 0."""
    fields = layout.answer.fields if layout.answer.format == "label" else tuple(layout.answer.allowed)
    found: dict[str, dict[str, int]] = {}
    for field in fields:
        counts = Counter(value.strip() for value in rows[field].drop_nulls().to_list())
        found[field] = dict.fromkeys(layout.answer.allowed.get(field, ()), 0) | dict(counts)
    return found
