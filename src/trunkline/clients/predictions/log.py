"""The gateway's side of the prediction log: recording returns at once, a thread moves records to the database."""

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from trunkline.clients.predictions import erasure, moving
from trunkline.clients.predictions.connection import Unreachable
from trunkline.clients.predictions.database import Database
from trunkline.clients.predictions.kept import Kept
from trunkline.clients.predictions.tables import microseconds
from trunkline.errors import Error
from trunkline.params import LogParams
from trunkline.records.prediction import Assignment, Feedback, Outcome

# A new assignment or feedback leaves this much of the spool to the outcomes of what is being answered.
SHARE_OF_NEW = 0.75
GATHER_S = 0.02  # records that come within it share a transaction
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
TIDY_S = 60.0  # between looks for the spools of processes that died
PRUNE_S = 3600.0
REJECTED = "rejected.jsonl"
_logger = logging.getLogger(__name__)


class Status(NamedTuple):
    """How the log is.

    Attributes:
        waiting: records that the database does not have yet.
        used: bytes of the spool that they take.
        capacity: bytes that the spool has.
        problem: why the database does not take them; None while it does.
    """

    waiting: int
    used: int
    capacity: int
    problem: str | None


class Log:
    """Records predictions: first into this process's spool file, from there into the database.

    A database that is down, slow, locked or full delays nobody: records wait in the spool and are moved when it
    is back, each exactly once. What a killed process left there, the next one with the same spool folder moves.

    Raises:
        Error: the spool cannot be made, or the database is no prediction log or has a newer schema. One that
            does not answer is no error: it is tried again and again.
    """

    def __init__(self, params: LogParams) -> None:
        self._params, self._kept, self._folder = params, Kept(params), Path(params.spool)
        self._database: Database | None = None
        self._problem: str | None = None
        try:
            self._connected()
        except Unreachable as error:
            self._note(error)
        self._spool = moving.first_free(self._folder, params.spool_mb << 20)
        self._wake, self._stop, self._idle = threading.Event(), threading.Event(), threading.Event()
        self._wait_s, self._tidy_at, self._prune_at = FIRST_WAIT_S, 0.0, 0.0
        loops = (self._move_on, self._sync)
        self._threads = [threading.Thread(target=loop, name="prediction-log", daemon=True) for loop in loops]
        for thread in self._threads:
            thread.start()

    def record(self, record: Assignment | Outcome | Feedback) -> None:
        """Accept a record: when this returns, no kill loses it. Takes microseconds; for any thread.

        Raises:
            Full: there is no room. Nothing was recorded; answer 503.
        """
        share = 1.0 if isinstance(record, Outcome) else SHARE_OF_NEW
        self._spool.append(moving.packed(self._kept.record(record)), share)
        self._idle.clear()
        self._wake.set()

    @property
    def status(self) -> Status:
        """How many records wait, and why."""
        return Status(self._spool.waiting, self._spool.used, self._spool.capacity, self._problem)

    def flush(self, timeout_s: float) -> bool:
        """Wait until the database has every record; whether it has."""
        self._wake.set()
        return self._idle.wait(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Move what can be moved in that time and stop; whether nothing waits. The rest stays in the spool."""
        done = self.flush(timeout_s)
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(timeout_s)
        if not any(thread.is_alive() for thread in self._threads):
            self._spool.sync()
            self._spool.close()
            if self._database is not None:
                self._database.close()
        return done

    def _sync(self) -> None:
        """Have the spool on disk every few moments, however long the database takes."""
        while not self._stop.wait(self._params.fsync_seconds):
            try:
                if self._spool.waiting:
                    self._spool.sync()
            except OSError as error:
                self._note(error)

    def _move_on(self) -> None:
        while not self._stop.is_set():
            try:
                self._move()
                self._tidy(time.monotonic())
                self._is_back()
                self._wake.wait(TIDY_S)
                self._stop.wait(GATHER_S)
                self._wake.clear()
            except Exception as error:  # whatever it is: records wait, and it is tried again
                self._note(error)
                self._stop.wait(self._wait_s)
                self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    def _move(self) -> None:
        # After each batch, and before `flush` says so: whoever waited for it sees no problem any more.
        moving.move(self._connected(), self._spool, self._folder / REJECTED, self._stop, self._is_back)
        if not self._spool.waiting:
            self._idle.set()
            # A record may have come between the two.
            if self._spool.waiting:
                self._idle.clear()

    def _tidy(self, now: float) -> None:
        """Move what dead processes left, and delete what is older than it may be kept, a little at a time."""
        database = self._connected()
        if now >= self._tidy_at:
            for spool in moving.left(self._folder, self._params.spool_mb << 20):
                moving.move(database, spool, self._folder / REJECTED, self._stop)
            self._tidy_at = now + TIDY_S
        if self._params.keep_days is not None and now >= self._prune_at:
            if database.prune_some(oldest(self._params.keep_days)) == erasure.PRUNED_AT_ONCE:
                self._wake.set()
            else:
                self._prune_at = now + PRUNE_S

    def _connected(self) -> Database:
        if self._database is None:
            self._database = Database(self._params.database)
        return self._database

    def _note(self, error: Exception) -> None:
        """Say once that the database takes nothing, however often it is tried."""
        problem = error.problem if isinstance(error, Error) else f"{type(error).__name__}: {error}"
        if self._problem is None:
            ours = not isinstance(error, Error)
            _logger.error("%s; records wait in %s", problem, self._params.spool, exc_info=ours)
        self._problem = problem

    def _is_back(self) -> None:
        if self._problem is not None:
            _logger.warning("the prediction log takes records again")
        self._problem, self._wait_s = None, FIRST_WAIT_S


def oldest(keep_days: int) -> int:
    """The moment (microseconds since 1970) before which predictions are not kept."""
    return microseconds(datetime.now(UTC) - timedelta(days=keep_days))
