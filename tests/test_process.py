"""A stage dies with its parent and holds its lock alone."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import starter
from trunkline.clients import process
from trunkline.errors import Error


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_a_stage_dies_with_its_parent():
    child = (
        "import time; from trunkline.clients import process\n"
        "process.die_with_parent(); print('up', flush=True); time.sleep(600)"
    )
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(600)"
    )
    started = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    pid = int(started.stdout.readline())
    assert alive(pid)
    started.kill()
    started.wait()
    deadline = time.monotonic() + 60
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(pid)


def test_a_lock_is_held_by_one_and_freed_however_its_holder_ends(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = (
        "import os, sys, time; from trunkline.clients import process\n"
        "with process.alone('train'):\n    print(os.getpid(), flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(holder.stdout.readline())
    with pytest.raises(Error, match=rf"train is already running here \(process {pid}\)"), process.alone("train"):
        pass
    with process.alone("evaluate"):
        pass
    os.kill(pid, signal.SIGKILL)
    holder.wait()
    with process.alone("train"):
        pass


def test_a_lock_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "locks").write_text("a file where a folder should be")
    with pytest.raises(Error, match="cannot write .*train.lock"), process.alone("train", tmp_path / "locks"):
        pass


# An ignored interrupt is inherited, as from a shell's background.
HEEDING = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_ctrl_c_ends_a_run_with_one_line_of_its_stage_and_leaves_nothing_half_written(in_tmp, monkeypatch):
    starter.inputs(in_tmp)
    starter.examples(in_tmp)
    starter.settings(in_tmp, features__prompt="prompt")
    os.mkfifo("prompt")
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    Path("dvc.yaml").write_text("stages:\n  features:\n    cmd: exec trunkline features\n")
    before = present(in_tmp)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    command = [sys.executable, "-c", HEEDING, "dvc", "repro"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    pipe = opened_by_its_reader(Path("prompt"), running)
    while not ignores_interrupts(running.pid):  # DVC leaves them to its stage
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    os.close(pipe)
    _, said = running.communicate(timeout=240)
    assert said.count("interrupted: `trunkline features` has not finished; run it again") == 1, said
    assert not re.search("Traceback|KeyboardInterrupt|Exception", said), said
    assert f"exited with {-signal.SIGINT}" in said and running.returncode != 0, said
    assert present(in_tmp) - before == {Path(".trunkline"), Path(".trunkline/features.lock")}


def present(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if not {".dvc", "__pycache__"} & set(path.parts)}


def opened_by_its_reader(pipe: Path, running: subprocess.Popen) -> int:
    """The writing end, once the stage waits at the other."""
    while running.poll() is None:
        with contextlib.suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    raise AssertionError(running.communicate())


def ignores_interrupts(pid: int) -> bool:
    ignored = re.search(r"SigIgn:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[1]
    return bool(int(ignored, 16) >> signal.SIGINT - 1 & 1)
