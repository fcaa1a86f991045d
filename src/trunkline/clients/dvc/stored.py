"""What DVC keeps under hashes: a file's, a folder's list, and what it logs about single ones that it could not move."""

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trunkline.errors import Error

# As DVC writes one, of a folder with `.dir` at its end; stores make paths of them.
HASH = re.compile(r"[0-9a-f]{32}(\.dir)?", re.ASCII)
FORGED = "no DVC has written that: see who changed dvc.lock, and what was pushed to the remote"


def md5(path: Path) -> str:
    """A file's hash as DVC names it, in hex."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def members(listing: bytes) -> dict[str, str]:
    """MD5 by path of a folder's files, from the list that DVC keeps of them.

    Raises:
        Error: it is no such list.
    """
    try:
        return {str(member["relpath"]): str(member["md5"]) for member in json.loads(listing)}
    except (ValueError, KeyError, TypeError):
        raise Error("DVC's list of a folder is none", "remove that object and `dvc push` it again") from None


def inside(path: str) -> bool:
    """Whether a path in such a list stays in the folder.

    Nobody reviews a list: dvc.lock shows its hash alone, and whoever may push to the remote has written it.
    """
    return not {"", ".", ".."} & set(path.split("/")) and "\0" not in path


def check(value: str) -> str:
    """A hash that is one, as `HASH` says.

    Raises:
        Error: it is none.
    """
    if not HASH.fullmatch(value):
        raise Error(f"{value!r} is no hash of DVC's", FORGED)
    return value


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the cause's words where there are any, else the message's."""
        cause = record.exc_info[1] if record.exc_info else None
        self.lines.append(f"{type(cause).__name__}: {cause}" if cause else record.getMessage())


@contextmanager
def heard(*names: str, quiet: bool) -> Iterator[list[str]]:
    """Why single objects failed: DVC logs it, with a traceback, and raises or returns only that some did.

    Args:
        names: of loggers.
        quiet: whether nobody else hears it.
    """
    handler, loggers = _Heard(), [logging.getLogger(name) for name in names]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = logger.propagate and not quiet
    try:
        yield handler.lines
    finally:
        for logger, propagated in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagated
