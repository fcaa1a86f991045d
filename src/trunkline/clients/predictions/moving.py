"""Moves records from spool files into the database, and finds the spool files of a folder."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

from pydantic import ValidationError

from trunkline.clients.predictions.connection import Refused
from trunkline.clients.predictions.database import Database
from trunkline.clients.predictions.spool import Frame, Spool
from trunkline.errors import Error
from trunkline.records import Record
from trunkline.records.prediction import Assignment, Feedback, Outcome

BATCH, BATCH_BYTES = 500, 4 << 20
_KINDS: dict[bytes, type[Record]] = {b"A": Assignment, b"O": Outcome, b"F": Feedback}
_MARKS = {kind: mark for mark, kind in _KINDS.items()}
_MOST_SPOOLS = 1_000
_logger = logging.getLogger(__name__)


def packed(record: Record) -> bytes:
    """A record as a spool holds it: a letter for its kind, and JSON."""
    return _MARKS[type(record)] + record.model_dump_json().encode()


def move(
    database: Database,
    spool: Spool,
    rejected: Path,
    stop: Event | None = None,
    moved: Callable[[], None] = lambda: None,
) -> int:
    """Move all that waits, in order and in batches; how many records. A batch leaves the spool when it is committed.

    Args:
        rejected: records that the database will never take are appended here, so that the others go on.
        stop: when set, the rest stays.
        moved: called after each batch, as more may come for as long as one looks.

    Raises:
        connection.Unreachable: the database does not take them now.
    """
    count = 0
    while (stop is None or not stop.is_set()) and (frames := spool.oldest(BATCH, BATCH_BYTES)):
        _add(database, frames, rejected)
        spool.release(frames)
        moved()
        count += len(frames)
    return count


def _add(database: Database, frames: list[Frame], rejected: Path) -> None:
    try:
        database.add([_unpacked(frame) for frame in frames])
    except (ValidationError, Refused) as error:
        if len(frames) == 1:
            _reject(frames[0], rejected, error)
            return
        middle = len(frames) // 2
        _add(database, frames[:middle], rejected)
        _add(database, frames[middle:], rejected)


def _unpacked(frame: Frame) -> Record:
    """The record of a frame; a kind that this version does not know is no valid assignment either."""
    kind = _KINDS.get(frame.content[:1], Assignment)
    return kind.model_validate_json(frame.content[1:])


def _reject(frame: Frame, path: Path, error: Exception) -> None:
    reason = str(error) if isinstance(error, Refused) else "it is no record that this version knows"
    _logger.error("the database will never take a record (%s): it is kept in %s", reason, path)
    line = json.dumps({"reason": reason, "record": frame.content.decode(errors="replace")}) + "\n"
    with open(path, "a", encoding="utf-8", opener=_private) as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def first_free(folder: Path, size: int) -> Spool:
    """Open the first spool file of a folder that no process has open, with what waits in it, or a new one.

    Raises:
        Error: there is no room for it, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Error(f"cannot make the folder {folder}: {error.strerror}", "correct serve.log.spool") from None
    for number in range(_MOST_SPOOLS):
        try:
            return Spool(folder / f"{number}.spool", size)
        except BlockingIOError:
            continue
    raise Error(f"{folder} holds {_MOST_SPOOLS} spools in use", "give gateways folders of their own")


def left(folder: Path, size: int) -> Iterator[Spool]:
    """Open, one after another, the spools that no process has open; those that end up empty are removed."""
    for path in sorted(folder.glob("*.spool")):
        try:
            spool = Spool(path, size)
        except BlockingIOError:
            continue
        try:
            yield spool
        finally:
            spool.close(remove=spool.waiting == 0)
