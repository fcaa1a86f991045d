"""Programs that outlive whoever started them, known again by what they were given to carry; on Linux.

Each is told in its environment for which folder it was started and as what, and leads a session of its own. So
nothing has to be written down that a kill could lose, and a number that another process has now is not mistaken.
"""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from trunkline.clients import leftovers
from trunkline.errors import Error

_PROC = Path("/proc")
_FOR, _AS = leftovers.SUPERVISED_FOR, "TRUNKLINE_SUPERVISED_AS"
_MOST_SAID = 2000


class Daemon:
    """A running program, or one that has ended.

    Attributes:
        role: as what it was started, such as ``engine v1.2.0 8081``.
    """

    def __init__(self, pid: int, role: str, child: "subprocess.Popen[bytes] | None" = None) -> None:
        """Know a process by its number and its start, which together no other process has.

        Raises:
            OSError: there is none.
        """
        self.role = role
        self._process = leftovers.Process(pid, leftovers.stat(pid).started, role)
        self._child = child

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        if self._child is not None:
            return self._child.poll() is None
        try:
            found = leftovers.stat(self.pid)
        except OSError:
            return False
        return found.started == self._process.started and not found.zombie

    def outcome(self, log: Path) -> str:
        """How it ended: the signal that killed it, or else what it said last, with its exit code if that is known."""
        code = None if self._child is None else self._child.poll()
        if code is not None and code < 0:
            return f"killed by signal {-code}"
        said = last_words(log)
        return said if code is None else f"exit code {code}: {said}"

    def end(self, patience: float) -> bool:
        """Ask it to end, kill it after ``patience`` seconds, and return whether it is gone."""
        return not self.alive or leftovers.end(self._process, patience)


def start(command: Sequence[str], folder: Path, role: str, log: Path) -> Daemon:
    """Start a program that goes on when this process ends, however that happens.

    Args:
        command: what to run, in the current folder.
        folder: for which `find` finds it.
        role: as what.
        log: what it says goes there, in the place of what the one before said.

    Raises:
        Error: the program or its log cannot be opened, or there are too many processes.
    """
    environment = {**os.environ, _FOR: str(folder.resolve()), _AS: role}
    try:
        with log.open("wb") as said:
            child = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Daemon(child.pid, role, child)
    except OSError as error:
        raise Error(
            f"cannot start {role}: {error.strerror or error}", f"see {log}, and what this machine lacks"
        ) from None


def find(folder: Path) -> list[Daemon]:
    """The programs of this user that were started for a folder and still run, by their numbers.

    Raises:
        Error: this system has no /proc.
    """
    if not (_PROC / "self/stat").is_file():
        raise Error("this system has no /proc to find processes in", "supervise on Linux")
    found = (_read(int(entry.name), str(folder.resolve())) for entry in _PROC.iterdir() if entry.name.isdigit())
    return sorted((daemon for daemon in found if daemon is not None), key=lambda daemon: daemon.pid)


def last_words(log: Path) -> str:
    """The last line that a program said; its own error where it told one."""
    try:
        lines = log.read_bytes()[-_MOST_SAID:].decode(errors="replace").splitlines()
    except OSError:
        return "it said nothing"
    said = [line.strip() for line in lines if line.strip()]
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return [*said, *errors][-1] if said else "it said nothing"


def _read(pid: int, folder: str) -> Daemon | None:
    """A process, if it was started for this folder and not by one that was."""
    with suppress(OSError, ValueError):
        daemon = Daemon(pid, "")
        entries = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        carried = dict(os.fsdecode(entry).split("=", 1) for entry in entries if b"=" in entry)
        # What it starts itself inherits the environment, but not the session's lead.
        if carried.get(_FOR) == folder and os.getsid(pid) == pid and daemon.alive:
            daemon.role = carried.get(_AS, "")
            return daemon
    return None
