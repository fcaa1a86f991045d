"""A bounded file that records wait in until the database has them: a ring of frames that survives a kill.

The file has its whole size from the start, so a full disk cannot refuse a record. A frame is 4 bytes of mark,
then little-endian length, sequence number and CRC-32 of number and content, then the content. Reading begins
at the position that the first page names and takes every frame whose checksum holds and whose number is
larger than the last: what an earlier lap left is older, and a torn frame does not hold. A frame that does not
fit before the end of the file is written at its beginning.

What ``append`` has returned from is in the kernel: no kill loses it. A power failure loses what came after the
last ``sync``.
"""

import fcntl
import mmap
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trunkline.errors import Error

_MARK = b"\xf5TkR"
_FRAME = struct.Struct("<4sIQI")
# Two copies of (number, position, CRC-32), written in turn: at least one is always whole.
_HEAD = struct.Struct("<QQI")
_HEAD_AT = (0, 2048)
_START = 4096


class Full(Error):
    """The spool has no room: answer 503 and record nothing, until the database takes records again."""


class Frame(NamedTuple):
    """A record in the spool: its number, its content, and the position after it."""

    number: int
    content: bytes
    end: int


class Spool:
    """One process's spool file, locked for as long as it is open.

    Args:
        path: made where it is missing.
        size: bytes; a record may have a quarter of it. A file of another size keeps it until it is empty.

    Raises:
        BlockingIOError: another process has it open.
        Error: it cannot be made.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Error(f"cannot open the spool {path}: {error.strerror}", "correct serve.log.spool") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_file(path, self._file):
                raise BlockingIOError(f"{path} was removed while it was opened")
            self._size = os.fstat(self._file).st_size or self._allocate(size)
            self._recover()
            if self.waiting == 0 and self._size != size:
                os.ftruncate(self._file, 0)
                self._size = self._allocate(size)
                self._recover()
        except BaseException:
            os.close(self._file)
            raise

    def _allocate(self, size: int) -> int:
        try:
            os.posix_fallocate(self._file, 0, size)
        except OSError as error:
            self._path.unlink()
            problem = f"no room for the spool {self._path} of {size >> 20} MiB: {error.strerror}"
            raise Error(problem, "free disk space, or lower serve.log.spool_mb") from None
        return size

    def _recover(self) -> None:
        """Find what an earlier process left: from the first page's position to the last frame that holds."""
        self._last, self._first = max(self._head(at) for at in _HEAD_AT)
        self._next, self._used, self.waiting = self._first, 0, 0
        self._jumps: dict[int, int] = {}  # where frames do not touch: from the end of one to the start of the next
        with mmap.mmap(self._file, self._size, access=mmap.ACCESS_READ) as ring:
            for frame in _scan(ring, self._first, self._last):
                self._advance(frame)

    def _head(self, at: int) -> tuple[int, int]:
        raw = os.pread(self._file, _HEAD.size, at)
        if len(raw) == _HEAD.size:
            number, position, checksum = _HEAD.unpack(raw)
            if checksum == zlib.crc32(raw[:16]) and _START <= position <= self._size:
                return number, position
        return 0, _START

    def _advance(self, frame: Frame) -> None:
        """Count a frame in; what lies before it counts as used, also a rest at the end of the file."""
        start, end = frame.end - _FRAME.size - len(frame.content), frame.end
        if start != self._next:
            self._jumps[self._next] = start
        self._used += self._distance(self._next, end)
        self._last, self._next = frame.number, end
        self.waiting += 1

    def _distance(self, start: int, end: int) -> int:
        return end - start if end >= start else self._size - start + end - _START

    @property
    def capacity(self) -> int:
        """Bytes that frames may take."""
        return self._size - _START

    @property
    def used(self) -> int:
        """Bytes that waiting records take."""
        return self._used

    def append(self, content: bytes, share: float = 1.0) -> None:
        """Add a record; safe from several threads.

        Args:
            content: at most a quarter of the capacity.
            share: of the capacity that may be used with it; less leaves room for what must follow.

        Raises:
            Full: there is no room, or the file system refuses the write.
        """
        needed = _FRAME.size + len(content)
        with self._lock:
            at = self._next if self._next + needed <= self._size else _START
            wasted = 0 if at == self._next else self._size - self._next
            if self._used + wasted + needed > self.capacity * share or needed > self.capacity // 4:
                problem = f"the spool {self._path} is full: {self.waiting} records wait for the database"
                raise Full(problem, "bring the database back, or raise serve.log.spool_mb")
            self._write(_framed(self._last + 1, content), at)
            self._advance(Frame(self._last + 1, content, at + needed))

    def _write(self, frame: bytes, at: int) -> None:
        try:
            written = os.pwrite(self._file, frame, at)
        except OSError as error:
            problem = f"cannot write the spool {self._path}: {error.strerror}"
            raise Full(problem, "see the machine's disk") from None
        if written < len(frame):
            raise Full(f"cannot write the spool {self._path}: {written} bytes of {len(frame)}", "see the disk")

    def oldest(self, most: int, most_bytes: int) -> list[Frame]:
        """The records that wait longest, in order: so many, and so many bytes unless the first alone has more."""
        with self._lock:
            at, count = self._first, min(most, self.waiting)
        found: list[Frame] = []
        size = 0
        while len(found) < count:
            frame = self._read(self._jumps.get(at, at))
            size += len(frame.content)
            if found and size > most_bytes:
                break
            found.append(frame)
            at = frame.end
        return found

    def _read(self, at: int) -> Frame:
        head = os.pread(self._file, _FRAME.size, at)
        length = _FRAME.unpack(head)[1] if len(head) == _FRAME.size else 0
        frame = _frame(head + os.pread(self._file, length, at + _FRAME.size), 0, 0)
        if frame is None:
            raise Error(f"the spool {self._path} was changed by another program", "restart the gateway")
        return frame._replace(end=at + frame.end)

    def release(self, frames: list[Frame]) -> None:
        """Give up the room of the oldest records, those that ``oldest`` gave; blank, as they may be erased elsewhere.

        On disk before the room can be used again: otherwise a power failure could leave neither.
        """
        number, _, end = frames[-1]
        copy = _HEAD.pack(number, end, 0)[:16]
        os.pwrite(self._file, copy + zlib.crc32(copy).to_bytes(4, "little"), _HEAD_AT[number % 2])
        self.sync()
        parts = [(self._first, end)] if self._first < end else [(self._first, self._size), (_START, end)]
        for start, stop in parts:
            os.pwrite(self._file, bytes(stop - start), start)
        with self._lock:
            for at in (self._first, *(frame.end for frame in frames[:-1])):
                self._jumps.pop(at, None)
            self.waiting -= len(frames)
            self._first = end
            self._used = self._distance(end, self._next)

    def sync(self) -> None:
        """Have all that was appended on disk."""
        os.fdatasync(self._file)

    def close(self, remove: bool = False) -> None:
        """Unlock the file; what waits in it stays, unless it is removed."""
        if remove:
            self._path.unlink(missing_ok=True)
        # Its number may be another file's soon: a late record must meet an error, not that file.
        file, self._file = self._file, -1
        os.close(file)


def _is_file(path: Path, opened: int) -> bool:
    """Whether a name still is the file that was opened by it: another process may have removed it meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False


def _framed(number: int, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(number.to_bytes(8, "little")))
    return _FRAME.pack(_MARK, len(content), number, checksum) + content


def _frame(data: bytes | mmap.mmap, at: int, after: int) -> Frame | None:
    """The frame at a position, if it is whole and its number is larger than ``after``."""
    if len(data) < at + _FRAME.size:
        return None
    mark, length, number, checksum = _FRAME.unpack_from(data, at)
    end = at + _FRAME.size + length
    if mark != _MARK or number <= after or end > len(data):
        return None
    content = data[at + _FRAME.size : end]
    if checksum != zlib.crc32(content, zlib.crc32(number.to_bytes(8, "little"))):
        return None
    return Frame(number, content, end)


def _scan(ring: mmap.mmap, first: int, number: int) -> Iterator[Frame]:
    """All whole frames from a position on, once around; damage is skipped to the next mark."""
    for at, end in ((first, len(ring)), (_START, first)):
        while (at := ring.find(_MARK, at, end)) >= 0:
            frame = _frame(ring, at, number)
            if frame is None:
                at += 1
                continue
            yield frame
            at, number = frame.end, frame.number
