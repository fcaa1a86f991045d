"""Folders for a moment, in the system's place for them; what a killed run left of them goes before the next is made.

Each is locked by whoever uses it. The kernel gives up a lock with its process, however that ends, so a folder that
can be locked is nobody's; numbers of processes would mean others in another container.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trunkline.clients import files

PREFIX = "trunkline-scratch-"


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder, gone after the block.

    Raises:
        OSError: there is no room for one.
    """
    _sweep(Path(tempfile.gettempdir()))
    path, lock = _make()
    try:
        yield path
    finally:
        files.remove(path)
        os.close(lock)


def _make() -> tuple[Path, int]:
    """A new folder, and its lock; made anew where another process takes it for a left one before it is locked."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        with suppress(OSError):  # where nothing can be locked, nothing is swept either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if path.is_dir():
            return path, lock
        os.close(lock)


def _sweep(place: Path) -> None:
    """Remove the folders of this user's processes that are gone; what cannot be removed stays."""
    for path in place.glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.getuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    files.remove(path)
            finally:
                os.close(lock)
