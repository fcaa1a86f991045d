"""What a stage owes the machine: it dies with its parent and shares nothing it must have alone."""

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from trunkline.errors import Error

LOCKS = Path(".trunkline")
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere do nothing.

    DVC leaves its stage running when it is killed: an orphan would keep the GPU and write outputs
    that the next run is writing too. The parent must be DVC itself, so dvc.yaml has the shell replaced (`exec`):
    a shell between them lives on.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def alone(name: str, folder: Path = LOCKS) -> Iterator[None]:
    """Hold the lock ``name`` of a folder, by default this working tree's.

    The kernel releases it however the process ends.
    Processes that torchrun started together share the lock that their first one holds.

    Raises:
        Error: another process holds it, or it cannot be written.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    path = folder / f"{name}.lock"
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise Error(f"{name} is already running here (process {holder})", "wait for it, or end it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _opened(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+")
    except OSError as error:
        raise Error(f"cannot write {path}: {error.strerror}", "correct the permissions of this folder") from None
