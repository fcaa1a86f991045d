"""No accepted record is lost: killed processes, a locked database, a full disk, a full spool."""

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import logged
from trunkline.clients import predictions
from trunkline.clients.predictions import log as log_module
from trunkline.clients.predictions import moving
from trunkline.errors import Error
from trunkline.records.prediction import Selection

# Larger than all that the writers accept, even where nothing is moved: a pipe that nobody reads holds them up.
SPOOL_MB = 32
# Records as fast as it can, and says each prediction once both of its records were accepted.
WRITER = f"""
import sys
from pathlib import Path
import logged
from trunkline.clients import predictions

log = predictions.Log(logged.settings(Path(sys.argv[1]), spool_mb={SPOOL_MB}, **eval(sys.argv[2])))
while True:
    assignment = logged.assigned(input="x" * 300)
    log.record(assignment)
    log.record(logged.ended(assignment))
    print(assignment.prediction, flush=True)
"""


def start_writer(folder, **changes):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", WRITER, str(folder), repr(changes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def accepted_until_killed(writer, count):
    """What a writer said until it was killed with SIGKILL, after so many predictions; the last line may be torn."""
    said = [next(writer.stdout) for _ in range(count)]
    writer.send_signal(signal.SIGKILL)
    said += writer.stdout
    writer.wait()
    return [line.strip() for line in said if line.endswith("\n")]


def logged_in(settings):
    with predictions.reading(settings) as database:
        return database.window(Selection())


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@contextmanager
def locked(folder):
    """Another process's write lock on the database, as a long transaction holds it."""
    other = sqlite3.connect(folder / "predictions.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
def impatient(monkeypatch):
    """Retries soon, so that a test need not wait."""
    monkeypatch.setattr(log_module, "LONGEST_WAIT_S", 0.1)
    monkeypatch.setattr("trunkline.clients.predictions.connection.WAIT_S", 0.1)


def test_a_killed_writer_loses_nothing_and_doubles_nothing(tmp_path):
    """Killed three times, each time in the middle of recording, moving and committing."""
    settings = logged.settings(tmp_path, spool_mb=SPOOL_MB)
    accepted = []
    for count in (1, 150, 600):
        accepted += accepted_until_killed(start_writer(tmp_path), count)
    log = predictions.Log(settings)
    assert log.close(120)
    frame = logged_in(settings)
    found = frame["prediction"].to_list()
    assert len(found) == len(set(found))
    assert set(accepted) <= set(found)
    assert len(accepted) > 750
    # The only ones beyond are those that were recorded and not yet said, and one without its outcome each time.
    assert frame["status"].null_count() <= 3


def test_what_a_killed_writer_left_in_its_spool_another_gateway_moves(tmp_path):
    settings = logged.settings(tmp_path, spool_mb=SPOOL_MB)
    predictions.Log(settings).close(60)
    with locked(tmp_path):
        accepted = accepted_until_killed(start_writer(tmp_path), 50)
    assert logged_in(settings).is_empty()
    left = moving.first_free(tmp_path / "spool", SPOOL_MB << 20)
    assert left.waiting >= 2 * len(accepted)
    # This gateway has a spool of its own, as the dead one's is taken at this moment.
    log = predictions.Log(settings)
    left.close()

    def moved():
        # As a minute later; again and again, as the log may be looking at what was not left yet.
        log._tidy_at = 0.0
        log._wake.set()
        return logged_in(settings).height >= len(accepted)

    wait_for(moved)
    assert log.close(60)
    assert set(accepted) <= set(logged_in(settings)["prediction"])


def test_a_locked_database_delays_nobody_and_loses_nothing(tmp_path, impatient):
    settings = logged.settings(tmp_path)
    log = predictions.Log(settings)
    with locked(tmp_path):
        for _ in range(100):
            log.record(logged.assigned())
        wait_for(lambda: log.status.problem is not None)
        assert "locked" in log.status.problem
        assert log.status.waiting == 100
        assert not log.flush(0.05)
    assert log.flush(60)
    assert log.status == (0, 0, log.status.capacity, None)
    assert log.close(60)
    assert logged_in(settings).height == 100


def test_who_waited_for_the_records_sees_no_problem_any_more(tmp_path, impatient, monkeypatch):
    """Also while the log still tidies up what other processes left."""
    tidied = threading.Event()
    monkeypatch.setattr(predictions.Log, "_tidy", lambda log, now: tidied.wait(60))
    log = predictions.Log(logged.settings(tmp_path))
    with locked(tmp_path):
        log.record(logged.assigned())
        tidied.set()
        wait_for(lambda: log.status.problem is not None)
        tidied.clear()
    assert log.flush(60)
    assert log.status.problem is None
    tidied.set()
    assert log.close(60)


def test_a_gateway_starts_while_the_database_is_locked(tmp_path, impatient):
    settings = logged.settings(tmp_path)
    predictions.Log(settings).close(60)
    (tmp_path / "predictions.sqlite").unlink()
    sqlite3.connect(tmp_path / "predictions.sqlite").close()
    with locked(tmp_path):
        log = predictions.Log(settings)
        log.record(logged.assigned())
        assert log.status.waiting == 1
    assert log.close(60)
    assert logged_in(settings).height == 1


def test_a_full_spool_refuses_new_work_but_not_the_outcomes_of_old(tmp_path, impatient):
    settings = logged.settings(tmp_path)
    log = predictions.Log(settings)
    accepted = []
    with locked(tmp_path):
        with pytest.raises(predictions.Full, match=r"\d+ records wait for the database") as caught:
            while True:
                assignment = logged.assigned(input="x" * 3_000)
                log.record(assignment)
                accepted.append(assignment)
        assert "spool_mb" in caught.value.hint
        with pytest.raises(predictions.Full):
            log.record(logged.said(accepted[0], comment="x" * 3_000))
        for assignment in accepted:
            log.record(logged.ended(assignment))
    assert log.close(60)
    frame = logged_in(settings)
    assert frame["prediction"].to_list() == [assignment.prediction for assignment in accepted]
    assert frame["status"].null_count() == 0


def test_when_the_disk_is_full_records_wait_in_the_room_that_the_spool_took_before(tmp_path, impatient):
    settings = logged.settings(tmp_path)
    log = predictions.Log(settings)
    log.record(logged.assigned())
    assert log.flush(60)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond the spool: the database's write-ahead log is refused, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        while log.status.problem is None:
            log.record(logged.assigned(input="x" * 40_000))
            wait_for(lambda: log.status.problem is not None or log.status.waiting == 0)
        for _ in range(5):
            log.record(logged.assigned())
        waiting = log.status.waiting
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert waiting >= 5
    assert log.close(60)
    frame = logged_in(settings)
    assert frame.height >= 5 + waiting
    assert log.status.waiting == 0


def test_no_room_for_the_spool_is_an_error_before_anything_is_served(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(Error, match="no room for the spool .* of 8 MiB"):
            predictions.Log(logged.settings(tmp_path, spool_mb=8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(Path(tmp_path).rglob("*.spool"))


def test_a_database_that_turns_bad_while_serving_keeps_the_records_waiting(tmp_path, impatient):
    """Somebody drops a table: nothing is lost, and the problem is told."""
    settings = logged.settings(tmp_path)
    log = predictions.Log(settings)
    other = sqlite3.connect(tmp_path / "predictions.sqlite", isolation_level=None)
    other.execute("ALTER TABLE assignment RENAME TO gone")
    log.record(logged.assigned())
    wait_for(lambda: log.status.problem is not None)
    assert "no such table" in log.status.problem
    other.execute("ALTER TABLE gone RENAME TO assignment")
    other.close()
    assert log.close(60)
    assert logged_in(settings).height == 1


@pytest.mark.parametrize("replaced", [False, True])
def test_a_log_that_is_removed_or_replaced_by_a_backup_goes_on_in_what_is_there(tmp_path, impatient, caplog, replaced):
    """SQLite would write on in a file that nobody finds any more."""
    log = predictions.Log(logged.settings(tmp_path))
    log.record(logged.assigned())
    assert log.flush(60)
    (tmp_path / "aside").mkdir()
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "aside/predictions.sqlite")) as backup,
        contextlib.closing(sqlite3.connect(tmp_path / "predictions.sqlite")) as now,
    ):
        now.backup(backup)
    for path in tmp_path.glob("predictions.sqlite*"):
        path.unlink()
    if replaced:
        (tmp_path / "aside/predictions.sqlite").rename(tmp_path / "predictions.sqlite")
    expected = [logged.assigned() for _ in range(3)]
    for one in expected:
        log.record(one)
        assert log.flush(60)
    assert log.close(60)
    found = logged_in(logged.settings(tmp_path))["prediction"].to_list()
    assert found[replaced:] == [one.prediction for one in expected]
    assert "was removed or replaced while it was in use" in caplog.text
    assert "takes records again" in caplog.text


def test_a_log_that_is_closed_while_the_database_is_away_keeps_the_rest(tmp_path, impatient, monkeypatch):
    settings = logged.settings(tmp_path)
    log = predictions.Log(settings)
    with locked(tmp_path):
        log.record(logged.assigned())
        assert not log.flush(0.5)
        # `close` would wait for it as long as for its threads, which may take longer to end than that.
        monkeypatch.setattr(log, "flush", lambda timeout_s: False)
        assert not log.close(60)
    log = predictions.Log(settings)
    assert log.close(60)
    assert logged_in(settings).height == 1
