"""Folders for a moment: gone after their block, and after a kill once the next one is made."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trunkline.clients import scratch

KILLED = (
    "import os; from trunkline.clients import scratch\n"
    "with scratch.folder() as folder:\n"
    "    (folder / 'labels.jsonl').write_text('what a customer wrote'); print(folder, flush=True); {}"
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def living(place: Path) -> Iterator[Path]:
    """The folder of a process that goes on."""
    command = [sys.executable, "-c", KILLED.format("input()")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Path(process.stdout.readline().strip())
        process.kill()


def test_it_is_empty_and_gone_after_its_block(place):
    with scratch.folder() as first, scratch.folder() as second:
        assert first != second
        assert list(first.iterdir()) == []
        (first / "deep").mkdir()
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_one(place):
    done = subprocess.run([sys.executable, "-c", KILLED.format("os.kill(os.getpid(), 9)")], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    left = Path(done.stdout.decode().strip())
    assert (left / "labels.jsonl").is_file()
    with scratch.folder() as folder:
        assert list(place.iterdir()) == [folder]


def test_what_a_living_process_uses_stays(place, living):
    with scratch.folder():
        assert (living / "labels.jsonl").is_file()


def test_what_is_not_such_a_folder_stays(place, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "kept").write_text("a user's")
    (place / f"{scratch.PREFIX}link").symlink_to(elsewhere)
    (place / f"{scratch.PREFIX}file").write_text("a user's")
    (place / "trunkline-notes").mkdir()
    before = sorted(place.iterdir())
    with scratch.folder():
        pass
    assert sorted(place.iterdir()) == before
    assert (elsewhere / "kept").is_file()


def test_who_comes_at_the_same_moment_loses_nothing(place):
    def use(number: int) -> bool:
        with scratch.folder() as folder:
            (folder / "own").write_text(str(number))
            return (folder / "own").read_text() == str(number)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(400)))
    assert list(place.iterdir()) == []
