"""Many predictions without keeping them: pieces of their numbers, and by id the texts of a few."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from trunkline.clients.predictions import connection
from trunkline.clients.predictions.database import Database, conditions
from trunkline.clients.predictions.tables import assignments, feedback, microseconds, outcomes
from trunkline.records.prediction import Selection

_AT_ONCE = 50_000
_ASKED_AT_ONCE = 500
# What is counted of every prediction, never its texts. Findings come as their JSON: most are the same empty list.
_NUMBERS: dict[str, tuple[sa.ColumnElement[Any], Any]] = {
    "prediction": (assignments.c.prediction, pl.String),
    "unit": (assignments.c.unit, pl.String),
    "status": (outcomes.c.status, pl.Int64),
    "error": (outcomes.c.error, pl.String),
    "latency_ms": (outcomes.c.latency_ms, pl.Float64),
    "ttft_ms": (outcomes.c.ttft_ms, pl.Float64),
    "tokens_in": (outcomes.c.tokens_in, pl.Int64),
    "tokens_out": (outcomes.c.tokens_out, pl.Int64),
    "usd": (outcomes.c.usd, pl.Float64),
    "findings": (sa.cast(outcomes.c.findings, sa.Text), pl.String),
    "engine_model": (outcomes.c.engine_model, pl.String),
    "engine_fingerprint": (outcomes.c.engine_fingerprint, pl.String),
    "confidence": (outcomes.c.confidence, pl.Float64),
}
_SAID: dict[str, tuple[sa.ColumnElement[Any], Any]] = {
    "prediction": (assignments.c.prediction, pl.String),
    "unit": (assignments.c.unit, pl.String),
    "source": (feedback.c.source, pl.String),
    "label": (feedback.c.label, pl.String),
    "score": (feedback.c.score, pl.Float64),
}
_TEXTS: dict[str, tuple[sa.ColumnElement[Any], Any]] = {
    "prediction": (assignments.c.prediction, pl.String),
    "input": (assignments.c.input, pl.String),
    "output": (outcomes.c.output, pl.String),
}


def pieces(database: Database, selection: Selection) -> Iterator[pl.DataFrame]:
    """Assignments with what was measured of their outcomes, piece by piece and in no order; at least one piece.

    Memory is that of one piece, however many are selected. All pieces are of one moment of the log.

    Returns:
        ``prediction unit status error latency_ms ttft_ms tokens_in tokens_out usd findings engine_model
        engine_fingerprint confidence``; null where there is no outcome.
    """
    with connection.transaction(database.engine, reads=True) as open_:
        found_by = [assignments.c.prediction == outcomes.c.prediction, *_range(open_, selection)]
        joined = assignments.outerjoin(outcomes, sa.and_(*found_by))
        query = _select(_NUMBERS).select_from(joined).where(*conditions(selection))
        found = open_.execution_options(yield_per=_AT_ONCE).execute(query)
        rows: Sequence[Any] = found.fetchmany(_AT_ONCE)
        while True:
            yield _frame(_NUMBERS, rows).with_columns(pl.col("findings").str.json_decode(pl.List(pl.String)))
            if not (rows := found.fetchmany(_AT_ONCE)):
                return


def _range(open_: sa.Connection, selection: Selection) -> tuple[sa.ColumnElement[bool], ...]:
    """Between which ids the selected predictions are, for PostgreSQL.

    It does not know that ids go with time, and would read all outcomes of the log for every window of it.
    """
    if open_.dialect.name != "postgresql":
        return ()
    # Otherwise an assignment that comes in between would miss its outcome.
    open_.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    # With only the other two, it looks for the first row through the whole index of ids.
    ends = sa.select(sa.func.min(assignments.c.prediction), sa.func.max(assignments.c.prediction), sa.func.count())
    first, last, _ = open_.execute(ends.where(*conditions(selection))).one()
    return (outcomes.c.prediction.between(first, last),)


def said(database: Database, selection: Selection, sources: Sequence[str], before: datetime) -> pl.DataFrame:
    """What people of these sources said of the selected predictions before a moment, in order of time.

    Returns:
        ``prediction``, ``unit``, ``source``, ``label`` and ``score``.
    """
    joined = assignments.join(feedback, assignments.c.prediction == feedback.c.prediction)
    wanted = (*conditions(selection), feedback.c.source.in_(sources), feedback.c.time < microseconds(before))
    query = _select(_SAID).select_from(joined).where(*wanted)
    with connection.transaction(database.engine, reads=True) as open_:
        ordered = query.order_by(feedback.c.time, assignments.c.prediction, feedback.c.id)
        return _frame(_SAID, open_.execute(ordered).all())


def texts(database: Database, predictions: Sequence[str]) -> pl.DataFrame:
    """What was asked and answered: ``prediction``, ``input`` and ``output``; null where not kept or erased."""
    joined = assignments.outerjoin(outcomes, assignments.c.prediction == outcomes.c.prediction)
    found: list[Any] = []
    with connection.transaction(database.engine, reads=True) as open_:
        for at in range(0, len(predictions), _ASKED_AT_ONCE):
            some = assignments.c.prediction.in_(predictions[at : at + _ASKED_AT_ONCE])
            found += open_.execute(_select(_TEXTS).select_from(joined).where(some)).all()
    return _frame(_TEXTS, found)


def _select(columns: dict[str, tuple[sa.ColumnElement[Any], Any]]) -> sa.Select[Any]:
    return sa.select(*(column.label(name) for name, (column, _) in columns.items()))


def _frame(columns: dict[str, tuple[sa.ColumnElement[Any], Any]], rows: Sequence[Any]) -> pl.DataFrame:
    # By columns, as polars takes rows that are no tuples one by one.
    values = zip(*rows, strict=True) if rows else ((),) * len(columns)
    return pl.DataFrame(
        [pl.Series(name, list(some), kind) for (name, (_, kind)), some in zip(columns.items(), values, strict=True)]
    )
