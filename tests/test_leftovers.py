"""Leftovers are found by what they are; everything else is left alone. Real processes, ended with the test."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trunkline.clients import leftovers

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP


@pytest.fixture
def start(tmp_path):
    """Start a process and wait until it is up; all are killed at the end."""
    running = []

    def starting(*command: str, **how) -> subprocess.Popen:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, **how)
        running.append(process)
        process.stdout.readline()
        return process

    yield starting
    for process in running:
        process.kill()
        process.wait()


def ids(tree: Path) -> list[int]:
    return [process.pid for process in leftovers.processes(tree)]


def python(folder: Path, name: str) -> list[str]:
    """A program of that name, as pip installs one."""
    script = folder / name
    script.write_text(SLEEP)
    return [sys.executable, str(script)]


def environment(**variables: object) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name != "DVC_ROOT"}, **variables}


def test_what_a_stage_started_is_known_by_dvcs_variable_wherever_it_is(tmp_path, start):
    (tmp_path / "tree").mkdir()
    process = start(sys.executable, "-c", SLEEP, cwd="/", env=environment(DVC_ROOT=str(tmp_path / "tree")))
    assert ids(tmp_path / "tree") == [process.pid]
    (tmp_path / "tree2").mkdir()
    assert ids(tmp_path / "tree2") == []


@pytest.mark.parametrize("name", ["dvc", "trunkline"])
def test_dvc_and_trunkline_are_known_by_program_and_folder(tmp_path, start, name):
    (tmp_path / "tree/below").mkdir(parents=True)
    process = start(*python(tmp_path, name), cwd=tmp_path / "tree/below", env=environment())
    assert ids(tmp_path / "tree") == [process.pid]
    elsewhere = start(*python(tmp_path, name), cwd=tmp_path, env=environment())
    assert elsewhere.pid not in ids(tmp_path / "tree")


def test_other_programs_in_the_folder_are_left_alone(tmp_path, start):
    start(*python(tmp_path, "editor"), "dvc", cwd=tmp_path, env=environment())
    start(sys.executable, "-c", SLEEP, "trunkline", cwd=tmp_path, env=environment())
    assert ids(tmp_path) == []


def test_this_process_and_those_above_it_are_left_alone(tmp_path):
    code = "import sys; from pathlib import Path; from trunkline.clients import leftovers\n"
    code += "print([process.pid for process in leftovers.processes(Path(sys.argv[1]))])"
    command = ["sh", "-c", f"{sys.executable} -c '{code}' {tmp_path}; true"]
    variables = environment(DVC_ROOT=str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    assert done.stdout.strip() == "[]"


def test_a_process_with_a_terminal_is_somebodys(tmp_path):
    child, terminal = pty.fork()
    if child == 0:
        command = [sys.executable, "-c", SLEEP]
        os.execve(command[0], command, environment(DVC_ROOT=str(tmp_path)))  # noqa: S606
    try:
        assert b"up" in os.read(terminal, 100)
        assert ids(tmp_path) == []
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def test_a_process_that_will_not_end_is_killed(tmp_path, start):
    process = start(sys.executable, "-c", STUBBORN, env=environment(DVC_ROOT=str(tmp_path)))
    (found,) = leftovers.processes(tmp_path)
    before = time.monotonic()
    assert leftovers.end(found, 0.2)
    assert process.wait() == -signal.SIGKILL
    assert time.monotonic() - before < 60


def test_a_number_that_another_process_has_now_is_not_ended(tmp_path, start):
    process = start(sys.executable, "-c", SLEEP, env=environment(DVC_ROOT=str(tmp_path)))
    (found,) = leftovers.processes(tmp_path)
    assert leftovers.end(found._replace(started=found.started - 1), 0.2)
    assert process.poll() is None


def test_half_written_files_of_the_dead_are_found_and_those_of_the_living_are_not(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    for folder in ("models", ".trunkline/train", ".git", ".venv/lib"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f".x.partial-{dead.pid}").write_text("half")
    (tmp_path / f"models/.candidate.partial-{dead.pid}/deep").mkdir(parents=True)
    (tmp_path / f"models/.y.partial-{os.getpid()}").write_text("half")
    (tmp_path / "models/x.partial-notes").write_text("a user's")
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/tmp/rwlock").write_text("{}")
    assert [str(path.relative_to(tmp_path)) for path in leftovers.stale_files(tmp_path)] == [
        ".dvc/tmp/rwlock",
        f".trunkline/train/.x.partial-{dead.pid}",
        f"models/.candidate.partial-{dead.pid}",
        f"models/.x.partial-{dead.pid}",
    ]
