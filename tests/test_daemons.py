"""Programs that outlive whoever started them: real processes, found again, told apart, ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trunkline.clients import daemons
from trunkline.clients.daemons import Daemon
from trunkline.errors import Error

SLEEP = [sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(600)"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for daemon in daemons.find(tmp_path):
        daemon.end(0)


def start(folder: Path, command: list[str] = SLEEP, role: str = "engine v1.0.0 8081") -> Daemon:
    """Start it, and wait until it says something."""
    log = folder / f"{role.split()[1]}.log"
    daemon = daemons.start(command, folder, role, log)
    until(log.read_bytes)
    return daemon


def until(what: Callable[[], object]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_was_started_is_found_by_whoever_comes_next(folder):
    code = (
        "import sys; from pathlib import Path; from trunkline.clients import daemons\n"
        f"daemons.start({SLEEP!r}, Path(sys.argv[1]), 'engine v1.0.0 8081', Path(sys.argv[1]) / 'log')\n"
        "import os; os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    (found,) = daemons.find(folder)
    until(lambda: (folder / "log").read_bytes())
    assert found.role == "engine v1.0.0 8081"
    assert found.alive
    assert found.end(5)
    assert not found.alive
    assert found.outcome(folder / "log") == "up"
    assert daemons.find(folder) == []


def test_other_folders_and_what_a_program_starts_itself_are_not_found(folder):
    code = f"import subprocess; subprocess.Popen({SLEEP!r}).wait()"
    daemon = start(folder, [sys.executable, "-S", "-c", code])
    (folder / "other").mkdir()
    assert [found.pid for found in daemons.find(folder)] == [daemon.pid]
    assert daemons.find(folder / "other") == []
    os.killpg(daemon.pid, signal.SIGKILL)


def test_a_number_that_another_process_has_now_is_neither_alive_nor_ended(folder):
    started = start(folder)
    (found,) = daemons.find(folder)
    found._process = found._process._replace(started=found._process.started - 1)
    assert not found.alive
    assert found.end(0)
    assert started.alive


def test_one_that_will_not_end_is_killed_and_how_it_ended_is_told(folder):
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP[-1]
    daemon = start(folder, [sys.executable, "-S", "-c", stubborn])
    assert daemon.end(0.2)
    assert not daemon.alive
    assert daemon.outcome(folder / "v1.0.0.log") == "killed by signal 9"
    failed = daemons.start(
        [sys.executable, "-S", "-c", "raise SystemExit('error: full')"], folder, "x y", folder / "log"
    )
    until(lambda: not failed.alive)
    assert failed.outcome(folder / "log") == "exit code 1: full"


def test_what_cannot_be_started_is_an_error(folder):
    with pytest.raises(Error, match="cannot start engine v1: No such file"):
        daemons.start(["./nothing"], folder, "engine v1", folder / "log")
    with pytest.raises(Error, match="cannot start engine v1"):
        daemons.start(SLEEP, folder, "engine v1", folder / "no/log")


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", "it said nothing"),
        ("loading\nanswers\n\n", "answers"),
        ("loading\nerror: no room\nhint: make some\n", "no room"),
        ("x" * 5000 + "\nend", "end"),
    ],
)
def test_its_last_words_are_its_error_where_it_told_one(tmp_path, log, words):
    (tmp_path / "log").write_text(log)
    assert daemons.last_words(tmp_path / "log") == words
    assert daemons.last_words(tmp_path / "none") == "it said nothing"
