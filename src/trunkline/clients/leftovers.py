"""Processes and files that a run which was killed has left in a working tree, on Linux.

DVC names its repository in ``DVC_ROOT`` for every command of a stage, and whatever that starts inherits it,
so nothing else can be taken for a stage's process. What DVC and Trunkline run themselves is known by the
program and its current folder. A process with a terminal is somebody's; it is never one of these, nor is one that
serves: `trunkline supervise`, and what carries its mark.
"""

import os
import re
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trunkline.errors import Error

_PROC = Path("/proc")
_PROGRAMS = ("dvc", "trunkline")
_SUPERVISOR = "supervise"
# Carried by all that a supervisor starts, see `daemons`.
SUPERVISED_FOR = "TRUNKLINE_SUPERVISED_FOR"
_PARTIAL = re.compile(r"\..+\.partial-(\d+)")
_OTHERS = (".git", ".venv", "node_modules")
RWLOCK = Path(".dvc/tmp/rwlock")
# One that is killed is gone as soon as this machine gets round to it, however little patience it was worth before.
_DIES_S = 10.0


class Process(NamedTuple):
    """A process of an earlier run.

    Attributes:
        started: clock ticks since the machine started, which with the id no other process has.
        command: what was run, at most 200 characters.
    """

    pid: int
    started: int
    command: str


def processes(tree: Path) -> list[Process]:
    """Those of this user that an earlier run has left in a working tree; never this process or those above it.

    Raises:
        Error: this system has no /proc.
    """
    if not (_PROC / "self/stat").is_file():
        raise Error("this system has no /proc to find processes in", "end them by hand")
    above = set(_ancestors(os.getpid()))
    found = (_read(int(entry.name), tree.resolve()) for entry in _PROC.iterdir() if entry.name.isdigit())
    return sorted(process for process in found if process is not None and process.pid not in above)


def end(process: Process, patience: float) -> bool:
    """Ask a process to end, kill it after ``patience`` seconds, and return whether it is gone soon after."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        # From here on the handle means this process, whoever gets its number next.
        if stat(process.pid).started != process.started:
            return True
        for how, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, max(patience, _DIES_S))):
            signal.pidfd_send_signal(handle, how)
            if select.select([handle], [], [], seconds)[0]:
                return True
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
    return False


def stale_files(tree: Path) -> list[Path]:
    """Half-written files of processes that are gone, and DVC's list of who reads and writes what."""
    found = [tree / RWLOCK] if (tree / RWLOCK).is_file() else []
    for folder, names, plain in os.walk(tree):
        partial = [name for name in (*names, *plain) if abandoned(name)]
        found += [Path(folder) / name for name in partial]
        names[:] = [name for name in names if name not in _OTHERS and name not in partial and name != ".dvc"]
    return sorted(found)


def abandoned(name: str) -> bool:
    """Whether a name is of a half-written file whose process is gone."""
    match = _PARTIAL.fullmatch(name)
    if match is None:
        return False
    try:
        # One that has ended stays listed until its parent asks for its exit code.
        return stat(int(match[1])).zombie
    except OSError:
        return True


class Stat(NamedTuple):
    """What Linux tells of a process that matters here."""

    parent: int
    terminal: int
    started: int
    zombie: bool


def stat(pid: int) -> Stat:
    """A process that is there now, or has ended and not been asked for its exit code.

    Raises:
        OSError: there is none.
    """
    # The program's name is in brackets and may hold anything, brackets too: proc(5).
    fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return Stat(int(fields[1]), int(fields[4]), int(fields[19]), fields[0] == "Z")


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        pid = stat(pid).parent


def _read(pid: int, tree: Path) -> Process | None:
    """A process, if it is a leftover of this tree."""
    place = _PROC / str(pid)
    try:
        found = stat(pid)
        if found.terminal or found.zombie or place.stat().st_uid != os.getuid():
            return None
        argv = [word.decode(errors="replace") for word in (place / "cmdline").read_bytes().split(b"\0")[:-1]]
        environment = dict(
            entry.split(b"=", 1) for entry in (place / "environ").read_bytes().split(b"\0") if b"=" in entry
        )
        cwd = Path(os.readlink(place / "cwd"))
    except (OSError, ValueError):
        return None  # it has ended since it was listed, or is not ours to look at
    step = _step(argv)
    if SUPERVISED_FOR.encode() in environment or _SUPERVISOR in step:
        return None
    root = environment.get(b"DVC_ROOT")
    of_a_stage = root is not None and Path(os.fsdecode(root)).resolve() == tree
    if of_a_stage or (step and cwd.is_relative_to(tree)):
        return Process(pid, found.started, " ".join(argv)[:200])
    return None


def _step(argv: list[str]) -> list[str]:
    """The words of a command that is `dvc`, `trunkline`, or Python running one of them; none of another one."""
    words = argv
    if argv and Path(argv[0]).name.startswith("python"):
        words = [word for word in argv[1:] if not word.startswith("-")]
    return words if words and Path(words[0]).name in _PROGRAMS else []
