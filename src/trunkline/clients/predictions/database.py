"""The prediction log's database: what the gateways write, and what rollouts, monitors and lineage ask."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from trunkline.clients.predictions import connection, erasure
from trunkline.clients.predictions.tables import (
    TABLES,
    Row,
    assignments,
    feedback,
    from_row,
    microseconds,
    outcomes,
    to_row,
)
from trunkline.records import Record
from trunkline.records.prediction import Assignment, Feedback, Outcome, Prediction, Selection

_TIME = pl.Datetime("us", "UTC")
_ASSIGNED: dict[str, Any] = {
    "prediction": pl.String,
    "time": _TIME,
    "unit": pl.String,
    "arm": pl.String,
    "weight": pl.Float64,
    "rollout": pl.String,
    "release": pl.String,
    "environment": pl.String,
    "erased": pl.Boolean,
}
_MEASURED: dict[str, Any] = {
    "ended": _TIME,
    "status": pl.Int64,
    "error": pl.String,
    "latency_ms": pl.Float64,
    "ttft_ms": pl.Float64,
    "tokens_in": pl.Int64,
    "tokens_out": pl.Int64,
    "usd": pl.Float64,
    "format_ok": pl.Boolean,
    "findings": pl.List(pl.String),
    "engine_model": pl.String,
    "engine_fingerprint": pl.String,
    "finish_reason": pl.String,
    "confidence": pl.Float64,
    "empty": pl.Boolean,
}
# What is asked of a table by another name, or computed there.
_TOLD: dict[str, sa.ColumnElement[Any]] = {
    "ended": outcomes.c.time,
    "empty": sa.func.trim(outcomes.c.output, " \n\r\t") == "",
}
WINDOW: Mapping[str, Any] = {**_ASSIGNED, **_MEASURED}
TEXTS: Mapping[str, Any] = {**WINDOW, "customer": pl.String, "input": pl.String, "output": pl.String}
FEEDBACK: Mapping[str, Any] = {
    **{name: _ASSIGNED[name] for name in ("prediction", "unit", "arm", "rollout", "release")},
    "time": _TIME,
    "source": pl.String,
    "label": pl.String,
    "score": pl.Float64,
    "comment": pl.String,
}


class Database:
    """A migrated prediction log.

    Args:
        url: ``serve.log.database``.

    Raises:
        connection.Unreachable: it does not answer.
        Error: it is no prediction log, or one of a newer schema.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connect()

    def add(self, records: Sequence[Record]) -> None:
        """Write assignments, outcomes and feedback, all or none; what is there already stays as it is.

        Raises:
            connection.Unreachable: not now.
            connection.Refused: it will never take one of them.
        """
        rows: dict[type[Record], list[Row]] = {kind: [] for kind in TABLES}
        for record in records:
            rows[type(record)].append(to_row(record))
        self._check()
        insert = postgresql.insert if self.engine.dialect.name == "postgresql" else sqlite.insert
        with connection.transaction(self.engine) as open_:
            erasure.redact_late(open_, rows[Assignment], rows[Outcome], rows[Feedback])
            for kind, table in TABLES.items():
                if rows[kind]:
                    open_.execute(insert(table).on_conflict_do_nothing(), rows[kind])
        self._check()

    def find(self, prediction: str) -> Prediction | None:
        """All that is logged of one prediction; None where no assignment of it is."""
        with connection.transaction(self.engine, reads=True) as open_:
            row = open_.execute(sa.select(assignments).where(assignments.c.prediction == prediction)).mappings().first()
            if row is None:
                return None
            end = open_.execute(sa.select(outcomes).where(outcomes.c.prediction == prediction)).mappings().first()
            said = sa.select(feedback).where(feedback.c.prediction == prediction).order_by(feedback.c.id)
            return Prediction(
                assignment=from_row(Assignment, row),
                erased=row["erased"],
                outcome=None if end is None else from_row(Outcome, end),
                feedback=tuple(from_row(Feedback, one) for one in open_.execute(said).mappings()),
            )

    def window(self, selection: Selection) -> pl.DataFrame:
        """Assignments with their outcomes, in order of their ids.

        Returns:
            The columns of ``WINDOW``; those of the outcome are null where there is none. ``time`` is the
            assignment's and ``ended`` the outcome's; ``empty`` says that the output as it is kept has no text.
        """
        return self._frame(WINDOW, selection, _with_outcomes())

    def texts(self, selection: Selection) -> pl.DataFrame:
        """As ``window``, with customer, input and output: the columns of ``TEXTS``; null where not kept or erased."""
        return self._frame(TEXTS, selection, _with_outcomes())

    def feedback(self, selection: Selection) -> pl.DataFrame:
        """Feedback on the selected predictions: the columns of ``FEEDBACK``; ``time`` is the feedback's."""
        return self._frame(FEEDBACK, selection, _with_feedback(), ("time",))

    def count(self, selection: Selection) -> tuple[int, int, int]:
        """How many assignments are selected, and how many outcomes and how much feedback they have."""
        found = []
        with connection.transaction(self.engine, reads=True) as open_:
            for source in (assignments, assignments.join(outcomes, _same(outcomes)), _with_feedback()):
                query = sa.select(sa.func.count()).select_from(source).where(*conditions(selection))
                found.append(int(open_.execute(query).scalar_one()))
        assigned, ended, said = found
        return assigned, ended, said

    def _frame(
        self, schema: Mapping[str, Any], selection: Selection, source: sa.FromClause, later: tuple[str, ...] = ()
    ) -> pl.DataFrame:
        """The columns of a schema, each from the first table that has it, or for ``later`` from the last."""
        tables = (assignments, outcomes, feedback)
        columns: list[sa.ColumnElement[Any]] = []
        for name in schema:
            if name in _TOLD:
                columns.append(_TOLD[name].label(name))
                continue
            having = [table.c[name] for table in tables if name in table.c and table in _tables(source)]
            columns.append(having[-1] if name in later else having[0])
        query = sa.select(*columns).select_from(source).where(*conditions(selection))
        with connection.transaction(self.engine, reads=True) as open_:
            rows = open_.execute(query.order_by(assignments.c.prediction)).fetchall()
        raw = {name: pl.Int64 if kind == _TIME else kind for name, kind in schema.items()}
        frame = pl.DataFrame([tuple(row) for row in rows], schema=raw, orient="row")
        return frame.with_columns(pl.col(name).cast(_TIME) for name, kind in schema.items() if kind == _TIME)

    def erase(self, customer: str, before: int) -> int:
        """Erase a customer's data in place, also what still waits in spools; see ``erasure.erase``.

        Args:
            customer: as it is logged: as it is, or hashed.
            before: microseconds since 1970; predictions that arrive later and are of later are not touched.

        Returns:
            How many predictions held the customer's data.
        """
        with connection.transaction(self.engine, alone=True) as open_:
            count = erasure.erase(open_, customer, before)
        self._forget_log()
        return count

    def _forget_log(self) -> None:
        """SQLite's write-ahead log still holds what was erased until it is written over."""
        if self.engine.dialect.name == "sqlite":
            with self.engine.connect() as open_:
                driver = open_.connection.driver_connection
                if driver is not None:
                    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def prune(self, before: int) -> int:
        """Delete the predictions of before a moment (microseconds since 1970); how many."""
        count = 0
        while (pruned := self.prune_some(before)) == erasure.PRUNED_AT_ONCE:
            count += pruned
        return count + pruned

    def prune_some(self, before: int) -> int:
        """Delete as ``prune``, but at most ``PRUNED_AT_ONCE`` of them, so that nobody waits long."""
        with connection.transaction(self.engine) as open_:
            return erasure.prune(open_, before)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _connect(self) -> None:
        self.engine = connection.connect(self._url)
        connection.migrate(self.engine)
        self._file = connection.file_of(self.engine)

    def _check(self) -> None:
        """Find what is there now where the file was removed or replaced: SQLite would write on in what is gone."""
        if connection.file_of(self.engine) != self._file:
            self.close()
            self._connect()
            problem = f"the prediction log {self.engine.url.database} was removed or replaced while it was in use"
            raise connection.Unreachable(problem, "end the gateways before you move it")


def _same(table: sa.Table) -> sa.ColumnElement[bool]:
    return assignments.c.prediction == table.c.prediction


def _with_outcomes() -> sa.Join:
    return assignments.outerjoin(outcomes, _same(outcomes))


def _with_feedback() -> sa.Join:
    return assignments.join(feedback, _same(feedback))


def _tables(source: sa.FromClause) -> list[Any]:
    return [source.left, source.right] if isinstance(source, sa.Join) else [source]


def conditions(selection: Selection) -> list[sa.ColumnElement[bool]]:
    """What must hold of an assignment that is selected."""
    column = assignments.c
    found: list[sa.ColumnElement[bool]] = []
    found.append(column.shadow_of.is_not(None) if selection.shadow else column.shadow_of.is_(None))
    if selection.since is not None:
        found.append(column.time >= microseconds(selection.since))
    if selection.until is not None:
        found.append(column.time < microseconds(selection.until))
    for name in ("release", "rollout", "environment"):
        value = getattr(selection, name)
        if value is not None:
            found.append(column[name] == value)
    return found
