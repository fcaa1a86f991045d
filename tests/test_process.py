"""A stage dies with its parent and holds its lock alone."""

import os
import signal
import subprocess
import sys
import time

import pytest

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
