"""The prediction log: recorded by gateways, asked by rollouts, monitors and lineage.

log = Log(params.serve.log)                      # in the gateway; connects, so not on its event loop
log.record(Assignment(prediction=new_id(), ...)) # before the answer; raises Full
log.record(Outcome(...))                         # after it
log.close(timeout_s=10)

with reading(params.serve.log) as database:
    database.find(prediction)                    # of one prediction, everything
    database.window(Selection(rollout="r7"))     # a polars frame
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trunkline.clients.predictions import moving
from trunkline.clients.predictions.connection import Unreachable
from trunkline.clients.predictions.database import FEEDBACK, TEXTS, WINDOW, Database
from trunkline.clients.predictions.ids import new as new_id
from trunkline.clients.predictions.kept import Kept
from trunkline.clients.predictions.labelled import erased, labelled
from trunkline.clients.predictions.log import REJECTED, Log, Status, oldest
from trunkline.clients.predictions.lookup import erased_until, first_answer, nameless_texts, of_customer
from trunkline.clients.predictions.many import pieces, said, texts
from trunkline.clients.predictions.mirrored import PAIRS, pairs
from trunkline.clients.predictions.remembered import remember, remembered
from trunkline.clients.predictions.spool import Full
from trunkline.clients.predictions.tables import microseconds as moment
from trunkline.errors import Error
from trunkline.params import LogParams
from trunkline.records.prediction import Prediction

__all__ = [
    "FEEDBACK",
    "PAIRS",
    "REJECTED",
    "TEXTS",
    "WINDOW",
    "Database",
    "Full",
    "Kept",
    "Log",
    "Status",
    "Unreachable",
    "absent",
    "erased",
    "erased_until",
    "find",
    "first_answer",
    "labelled",
    "moment",
    "nameless_texts",
    "new_id",
    "of_customer",
    "oldest",
    "pairs",
    "pieces",
    "reading",
    "recover",
    "remember",
    "remembered",
    "said",
    "texts",
    "waiting",
]


def absent(params: LogParams) -> str | None:
    """The path of a SQLite log that does not exist; None where there is one, or a server holds the log."""
    path = params.database.removeprefix("sqlite:///")
    return path if path != params.database and not Path(path).is_file() else None


@contextmanager
def reading(params: LogParams) -> Iterator[Database]:
    """The log's database for a command.

    Raises:
        Error: it is not there, does not answer, is no prediction log, or has a newer schema.
    """
    path = absent(params)
    if path is not None:
        raise Error(f"there is no prediction log {path}", "nothing was served here; or correct serve.log.database")
    database = Database(params.database)
    try:
        yield database
    finally:
        database.close()


def find(params: LogParams, prediction: str) -> Prediction | None:
    """All that is logged of one prediction; None where it is not in the database (yet).

    Raises:
        Error: as ``reading``.
    """
    with reading(params) as database:
        return database.find(prediction)


def recover(params: LogParams, database: Database) -> int:
    """Move what processes that are dead left in this machine's spool folder; how many records."""
    folder = Path(params.spool)
    spools = moving.left(folder, params.spool_mb << 20)
    return sum(moving.move(database, spool, folder / REJECTED) for spool in spools)


def waiting(params: LogParams) -> int:
    """How many records wait in this machine's spool folder that processes which are dead have left there."""
    spools = moving.left(Path(params.spool), params.spool_mb << 20)
    return sum(spool.waiting for spool in spools)
