"""`trunkline reap` after a runner that was reset: a real orphan of a real `dvc repro`."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import starter
from trunkline import cli, params
from trunkline.clients import daemons, leftovers
from trunkline.clients.daemons import Daemon
from trunkline.errors import Error
from trunkline.operations import reap

ORPHAN = "import os, time; print(os.getpid(), file=open('pid', 'w'), flush=True); time.sleep(600)"


@pytest.fixture
def tree(in_tmp) -> Path:
    starter.settings(in_tmp)
    return in_tmp


def run(tree: Path) -> str:
    return reap.run(params.load(tree / "params.yaml"))


def alive(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_orphan_of_a_killed_run_is_ended_and_its_half_written_files_go(tree, capsys):
    (tree / "dvc.yaml").write_text(
        f"stages:\n  train:\n    cmd: {sys.executable} train.py\n    deps: [train.py]\n    outs: [out]\n"
    )
    (tree / "train.py").write_text(ORPHAN)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], check=True)
    running = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "-q"], stdout=subprocess.DEVNULL, start_new_session=True
    )
    until(lambda: Path("pid").exists() and Path("pid").read_text().strip())
    orphan = int(Path("pid").read_text())
    running.kill()
    running.wait()
    assert alive(orphan), "which is why there is a watchdog"
    Path(f".out.partial-{orphan}").write_text("half")
    assert (tree / leftovers.RWLOCK).is_file()

    assert cli.main(["reap"]) == 0

    assert not alive(orphan)
    said = capsys.readouterr().out
    assert f"ended {orphan}: " in said
    assert f"removed .out.partial-{orphan}" in said
    assert not (tree / leftovers.RWLOCK).exists()
    assert run(tree) == "earlier runs have left nothing here"


def test_what_starts_anew_whenever_it_is_ended_is_an_error_and_not_an_endless_loop(tree, monkeypatch):
    endless = leftovers.Process(7, 7, "respawning")
    monkeypatch.setattr(leftovers, "processes", lambda tree: [endless])
    monkeypatch.setattr(leftovers, "end", lambda process, patience: True)
    with pytest.raises(Error, match="starts anew as it is ended: processes 7"):
        run(tree)


def test_what_does_not_end_is_an_error(tree, monkeypatch):
    monkeypatch.setattr(leftovers, "processes", lambda tree: [leftovers.Process(7, 7, "in the kernel")])
    monkeypatch.setattr(leftovers, "end", lambda process, patience: False)
    with pytest.raises(Error, match="process 7 does not end: in the kernel"):
        run(tree)


@pytest.fixture
def serving(tree) -> Iterator[list[subprocess.Popen | Daemon]]:
    """A program named `trunkline` as supervisor, and what such a one starts: an engine that has one itself."""
    (tree / "trunkline").write_text(
        "import subprocess, sys, time\n"
        "if 'engine' in sys.argv: subprocess.Popen([sys.executable, *sys.argv[:1], 'helper'])\n"
        "print(sys.argv[-1], 'up', flush=True); time.sleep(600)"
    )
    command, log = [sys.executable, "trunkline", "--params", "params.yaml"], tree / "engine.log"
    pipe = subprocess.PIPE
    supervisor = subprocess.Popen([*command, "supervise"], start_new_session=True, stdout=pipe)
    supervisor.stdout.readline()
    engine = daemons.start([*command, "engine"], tree / ".trunkline/serve", "engine v1.0.0 8081", log)
    until(lambda: log.read_text().count(" up\n") == 2)
    yield [supervisor, engine]
    os.killpg(engine.pid, 9)
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()


def test_what_serves_in_this_clone_is_spared_and_a_training_beside_it_is_not(tree, serving):
    command = [sys.executable, "trunkline", "train"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as training:
        training.stdout.readline()
        said = run(tree)
        assert said == f"ended {training.pid}: {' '.join(command)}"
    assert all(alive(process.pid) for process in serving)
    assert run(tree) == "earlier runs have left nothing here"


def test_files_that_a_living_process_writes_are_kept(tree):
    path = tree / f".out.partial-{os.getpid()}"
    path.write_text("half")
    run(tree)
    assert path.exists()
