"""Predictions as a gateway logs them, for the tests of the prediction log."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from trunkline.clients import predictions
from trunkline.clients.predictions import connection
from trunkline.params import LogParams
from trunkline.records.prediction import Assignment, Feedback, Outcome

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def settings(folder: Path, **changes: Any) -> LogParams:
    """`serve.log` with a database and a small spool in a folder."""
    content = {
        "database": f"sqlite:///{folder}/predictions.sqlite",
        "spool": str(folder / "spool"),
        "spool_mb": 1,
        "fsync_seconds": 1.0,
        "keep_days": None,
        "customer": "text",
        "input": "text",
        "output": "text",
        "confidence": True,
    }
    return LogParams(**(content | changes))


def assigned(**changes: Any) -> Assignment:
    """An assignment with an id of its own."""
    content = {
        "prediction": predictions.new_id(),
        "time": NOW,
        "unit": "conversation-1",
        "customer": "c-1",
        "arm": "canary",
        "weight": 0.25,
        "rollout": "r1",
        "release": "m@v1.1.0",
        "environment": "production",
        "input": "My card is gone.",
    }
    return Assignment(**(content | changes))


def ended(assignment: Assignment, **changes: Any) -> Outcome:
    """The outcome of an assignment."""
    content = {
        "prediction": assignment.prediction,
        "time": assignment.time,
        "status": 200,
        "error": None,
        "latency_ms": 120.5,
        "ttft_ms": 40.0,
        "tokens_in": 190,
        "tokens_out": 24,
        "usd": 0.00001,
        "output": '{"intent": "card_lost"}',
        "format_ok": True,
        "findings": ("pii@1:0123456789ab",),
        "engine_model": "m",
        "engine_fingerprint": None,
        "finish_reason": "stop",
        "confidence": -0.25,
    }
    return Outcome(**(content | changes))


def said(assignment: Assignment, **changes: Any) -> Feedback:
    """Feedback on an assignment."""
    content = {
        "id": predictions.new_id(),
        "prediction": assignment.prediction,
        "time": assignment.time,
        "source": "agent",
        "label": "card_lost",
        "score": 1.0,
        "comment": "the customer was happy",
    }
    return Feedback(**(content | changes))


def older(url: str, revision: str) -> sa.Engine:
    """A log's database with the schema of an older version of Trunkline."""
    engine, config = connection.connect(url), Config()
    config.set_main_option("script_location", connection._MIGRATIONS)
    with connection.transaction(engine, alone=True) as open_:
        config.attributes["connection"] = open_
        command.upgrade(config, revision)
    return engine


def keep(settings: LogParams, *records: Assignment | Outcome | Feedback) -> None:
    """Put records into a log as its gateway would, in the form that its settings name."""
    kept = predictions.Kept(settings)
    database = predictions.Database(settings.database)
    database.add([kept.record(record) for record in records])
    database.close()
