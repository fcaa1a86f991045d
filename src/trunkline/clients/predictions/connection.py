"""Connections to the log's database, SQLite or PostgreSQL, with its schema brought up to date."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, exc

from trunkline.errors import Error

WAIT_S = 5  # for a connection, and for another process's lock
STATEMENT_S = 60
# No statement takes longer than it may: who is silent for so long is not there.
SILENT_S = STATEMENT_S + WAIT_S
_MIGRATIONS = str(Path(__file__).parent / "migrations")
_LOCK = 0x7452_6C6F  # of PostgreSQL's advisory locks: "tRlo"


class Refused(Exception):
    """The database will never take a row, as it is: a value breaks a rule or a limit of it."""


class Unreachable(Error):
    """The database does not take the work now; it may later."""


def connect(url: str) -> sa.Engine:
    """Prepare connections; none is made yet.

    Args:
        url: ``sqlite:///path`` or ``postgresql+psycopg://user@host/name``.

    Raises:
        Error: the address is not one, or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed)
        return _postgresql(parsed)
    except (exc.ArgumentError, ValueError):  # a port that is no number
        problem = "serve.log.database is no address of a database"
        raise Error(problem, "write sqlite:///path or postgresql+psycopg://user@host/name") from None
    except ImportError:
        raise Error("PostgreSQL's driver is not installed", "pip install 'trunkline[serve]'") from None


def _postgresql(url: sa.URL) -> sa.Engine:
    from trunkline.clients.predictions import patience

    options = f"-c statement_timeout={STATEMENT_S}s -c lock_timeout={WAIT_S}s"
    wanted = {"connect_timeout": WAIT_S, "options": options, "application_name": "trunkline"}
    engine = sa.create_engine(url, connect_args=wanted, pool_pre_ping=True, pool_size=2)
    patience.limit(engine, SILENT_S)
    return engine


def _sqlite(url: sa.URL) -> sa.Engine:
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Error(f"cannot make {path.parent}: {error.strerror}", "correct serve.log.database") from None
    if url.database:
        # Customers' texts are for nobody else on this machine; SQLite's other files are as this one is.
        with suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    engine = sa.create_engine(url, connect_args={"timeout": WAIT_S})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        # The driver's own transactions leave out schema changes and begin too late to wait for a lock.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        # A committed batch leaves the spool: it must be on disk.
        connection.execute("PRAGMA synchronous=FULL")
        # What is erased must not stay readable in free pages.
        connection.execute("PRAGMA secure_delete=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def file_of(engine: sa.Engine) -> tuple[int, int] | None:
    """Which file SQLite's address names at this moment, whatever it is called; None where there is none."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    with suppress(OSError):
        found = os.stat(engine.url.database)
        return found.st_dev, found.st_ino
    return None


@contextmanager
def transaction(engine: sa.Engine, reads: bool = False, alone: bool = False) -> Iterator[sa.Connection]:
    """One transaction; SQLite has one writer at a time, PostgreSQL many unless one asks to be alone.

    Raises:
        Unreachable: the database is down, locked, full or otherwise not able to do it now.
        Refused: it will never take a row.
        Error: the file is no database.
    """
    with explained(engine), engine.connect() as connection:
        # A reader must not stop writers, so it does not ask for their lock.
        connection = connection.execution_options(reads=reads)
        with connection.begin():
            if not reads and engine.dialect.name == "postgresql":
                kind = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
                connection.execute(sa.text(f"SELECT {kind}({_LOCK})"))
            yield connection


@contextmanager
def explained(engine: sa.Engine) -> Iterator[None]:
    """Say in our words what the database refuses; a driver's message may repeat addresses and rows."""
    name = engine.url.render_as_string(hide_password=True)
    try:
        yield
    except (exc.DataError, exc.IntegrityError) as error:
        raise Refused(_first_line(error)) from None
    except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.ProgrammingError, exc.TimeoutError) as e:
        # Class 54 of SQLSTATE is "program limit exceeded", such as a value too long for an index.
        if str(getattr(getattr(e, "orig", None), "sqlstate", "")).startswith("54"):
            raise Refused(_first_line(e)) from None
        raise Unreachable(f"the prediction log {name} does not answer: {_first_line(e)}", _HINT) from None
    except exc.DatabaseError as error:
        problem = f"the prediction log {name} is damaged: {_first_line(error)}"
        raise Error(problem, "restore it from a backup, or move the file away to begin a new one") from None


_HINT = "check that the database runs, has room, and that nobody holds a lock on it"


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return re.sub(r"password\s*=\s*\S+", "password=***", (str(cause).strip() or type(cause).__name__).splitlines()[0])


def migrate(engine: sa.Engine) -> None:
    """Bring the schema up to date; safe when several processes start at once.

    Raises:
        Error: the schema is newer than this version of Trunkline.
        Unreachable: the database does not answer.
    """
    config = Config()
    config.set_main_option("script_location", _MIGRATIONS.replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    with transaction(engine, reads=True) as connection:
        found = _version(connection)
    if found == scripts.get_current_head():
        return
    with transaction(engine, alone=True) as connection:
        found = _version(connection)
        known = {script.revision for script in scripts.walk_revisions()}
        if found is not None and found not in known:
            problem = f"the prediction log has schema {found}; this version of Trunkline knows up to {max(known)}"
            raise Error(problem, "upgrade Trunkline on this machine, or use another serve.log.database")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _version(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": "schema_version"}).get_current_revision()
