"""The tables of the prediction log, and rows of them from and to records.

Times are whole microseconds since 1970, as SQLite has no type for them. No table refers to another: an outcome
may reach the database before its assignment.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa

from trunkline.records import Record
from trunkline.records.prediction import Assignment, Feedback, Outcome

metadata = sa.MetaData()
assignments = sa.Table(
    "assignment",
    metadata,
    sa.Column("prediction", sa.String(36), primary_key=True),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("customer", sa.Text),
    sa.Column("arm", sa.Text, nullable=False),
    sa.Column("weight", sa.Double, nullable=False),
    sa.Column("rollout", sa.Text),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("input", sa.Text),
    sa.Column("erased", sa.Boolean, nullable=False, default=False),
    sa.Column("shadow_of", sa.String(36)),
    sa.Index("assignment_time", "time"),
    sa.Index("assignment_release", "release", "time"),
    sa.Index("assignment_rollout", "rollout", "time"),
    sa.Index("assignment_customer", "customer"),
)
outcomes = sa.Table(
    "outcome",
    metadata,
    sa.Column("prediction", sa.String(36), primary_key=True),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("latency_ms", sa.Double, nullable=False),
    sa.Column("ttft_ms", sa.Double),
    sa.Column("tokens_in", sa.BigInteger),
    sa.Column("tokens_out", sa.BigInteger),
    sa.Column("usd", sa.Double),
    sa.Column("output", sa.Text),
    sa.Column("format_ok", sa.Boolean),
    sa.Column("findings", sa.JSON, nullable=False),
    sa.Column("engine_model", sa.Text),
    sa.Column("engine_fingerprint", sa.Text),
    sa.Column("finish_reason", sa.Text),
    sa.Column("confidence", sa.Double),
    sa.Index("outcome_time", "time"),
)
feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("prediction", sa.String(36), nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("label", sa.Text),
    sa.Column("score", sa.Double),
    sa.Column("comment", sa.Text),
    sa.Index("feedback_prediction", "prediction"),
    sa.Index("feedback_time", "time"),
)
# What was erased may still wait in a spool: by SHA-256 of the customer, up to which time.
erasures = sa.Table(
    "erasure",
    metadata,
    sa.Column("customer", sa.String(64), primary_key=True),
    sa.Column("before", sa.BigInteger, nullable=False),
)


def _remembered(name: str) -> sa.Table:
    """What the monitor remembers of a release in an environment, as JSON."""
    return sa.Table(
        name,
        metadata,
        sa.Column("release", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )


# What it asked of the release itself, and when.
asked = _remembered("asked")
# How the release's first windows were, when their predictions are not kept any more.
begun = _remembered("begun")

Kind = TypeVar("Kind", bound=Record)
Row = dict[str, Any]
TABLES: dict[type[Record], sa.Table] = {Assignment: assignments, Outcome: outcomes, Feedback: feedback}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(time: datetime) -> int:
    """Whole microseconds since 1970 of a time that knows its zone."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def time_of(microseconds: int) -> datetime:
    """The time of whole microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_row(record: Record) -> Row:
    """A record's row, in the column names of its table."""
    row = dict(record)
    row["time"] = microseconds(row["time"])
    if "findings" in row:
        row["findings"] = list(row["findings"])
    if isinstance(record, Assignment):
        row["erased"] = False
    return row


def from_row(kind: type[Kind], row: sa.RowMapping) -> Kind:
    """The record of a row; columns that the record does not have are left out."""
    known = {name: row[name] for name in kind.model_fields if name in row}
    return kind.model_validate({**known, "time": time_of(row["time"])})
