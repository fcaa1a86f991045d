"""Connections to PostgreSQL that end when it is silent: a network or proxy may swallow everything without a word."""

from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import event

_Result = TypeVar("_Result")
_LOOK_S = 0.1


def limit(engine: sa.Engine, seconds: float) -> None:
    """Have an engine's connections end when a statement is not answered in that time, as when the server is down.

    Args:
        seconds: longer than the server itself lets a statement take.
    """

    class Connection(psycopg.Connection[Any]):
        """One that waits no longer."""

        def wait(self, gen: PQGen[_Result], interval: float = _LOOK_S, timeout: float | None = None) -> _Result:
            """See psycopg, which waits without end where no one says otherwise."""
            try:
                return super().wait(gen, interval, seconds if timeout is None else timeout)
            except psycopg.OperationalError:
                if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                    raise
                # The statement is still going on, as far as anybody knows here.
                self.pgconn.finish()
                raise psycopg.OperationalError(f"it has said nothing for {seconds:g} seconds") from None

    @event.listens_for(engine, "do_connect")
    def connect(_: object, __: object, arguments: list[Any], named: dict[str, Any]) -> Connection:
        return Connection.connect(*arguments, **named)
