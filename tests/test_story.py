"""The whole story with real Git and real DVC: run, run again, break it, kill it, run two at once.

It plays with a tiny model in seconds; test_real_model.py fine-tunes the real one as `make run` does.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
import yaml

import starter
from trunkline import cli
from trunkline.records import Report

pytestmark = pytest.mark.slow
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "CI": "true"}
# As under a runner's service, where DVC takes /bin/sh: Debian's stays as the parent of what it was given to run.
ENVIRONMENT.pop("SHELL", None)
FAST = {
    "train__epochs": 1,
    "train__checkpoint_seconds": 0.2,
    "train__precision": "fp32",
    "evaluate__precision": "fp32",
    "evaluate__max_new_tokens": 8,
}


def working_copy(folder: Path) -> Path:
    """This project as a fresh clone would have it, with what is not committed yet."""
    listed = starter.git(starter.ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in listed:
        source, target = starter.ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    (folder / "dvc.lock").unlink(missing_ok=True)
    starter.git(folder, "init", "-q")
    return folder


def commit(folder: Path, message: str) -> None:
    starter.git(folder, "add", "-A")
    starter.git(folder, "commit", "-qm", message)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def repro(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(folder, "dvc", "repro")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory, tiny_base) -> Path:
    """A committed project with a tiny base model and 160 rows in two partitions; nothing has run."""
    folder = working_copy(tmp_path_factory.mktemp("story") / "project")
    shutil.rmtree(folder / "data/raw")
    starter.write_rows(folder / "data/raw/2026-07.jsonl", starter.rows(100, "2026-07", 0))
    starter.write_rows(folder / "data/raw/2026-08.jsonl", starter.rows(60, "2026-08", 1))
    starter.settings(folder, base={"model": f"path:{tiny_base}", "sha256": None}, **FAST)
    commit(folder, "a small project")
    return folder


@pytest.fixture(scope="module")
def finished(scratch, tmp_path_factory) -> Path:
    """The same project after one undisturbed `dvc repro`."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(scratch, folder)
    done = repro(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Warning" not in done.stdout + done.stderr, "nothing that only a developer of a library understands"
    return folder


@pytest.fixture
def copy_of(tmp_path):
    def copy(folder: Path) -> Path:
        shutil.copytree(folder, tmp_path / "project", symlinks=True)
        return tmp_path / "project"

    return copy


def results(folder: Path) -> dict[str, object]:
    """What a run found, without what a clock decides: hashes of data and weights, answers, verdict."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    hashes = {
        out["path"]: out["md5"]
        for stage in lock.values()
        for out in stage.get("outs", ())
        if not out["path"].startswith(("reports", "data/predictions"))
    }
    answers = {
        side: pl.read_parquet(folder / f"data/predictions/{side}.parquet").select("id", "output").rows()
        for side in ("production", "candidate")
    }
    return {"hashes": hashes, "answers": answers, "verdict": Report.read(folder / "reports/compare.json").verdict}


def test_one_command_takes_messages_to_a_verdict(finished):
    for stage in cli.STAGES:
        assert (finished / f"reports/{stage}.json").is_file(), stage
    done = run(finished, "trunkline", "report")
    assert done.returncode == 0
    assert "candidate" in done.stdout
    assert (finished / "reports/report.html").is_file()
    assert len((finished / "reports/report.md").read_text()) <= 60_000


def test_a_second_run_says_that_nothing_changed(finished):
    done = repro(finished)
    assert done.returncode == 0
    assert "up to date" in done.stdout


def test_the_gate_exits_with_the_verdict(finished, copy_of):
    folder = copy_of(finished)
    verdict = Report.read(folder / "reports/compare.json").verdict
    done = run(folder, "trunkline", "gate")
    assert done.returncode in (3, 4), "an adapter on random weights must never pass"
    assert str(verdict) in done.stdout


def test_a_stale_verdict_is_not_taken(finished, copy_of):
    folder = copy_of(finished)
    content = yaml.safe_load((folder / "params.yaml").read_text())
    content["train"]["learning_rate"] /= 2
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    done = run(folder, "trunkline", "gate")
    assert done.returncode == 4
    assert "train" in done.stdout
    assert "dvc repro" in done.stdout + done.stderr


def test_a_broken_partition_stops_the_run_and_leaves_the_good_state(finished, copy_of):
    folder = copy_of(finished)
    before = (folder / "data/examples.parquet").read_bytes()
    broken = [{**row, "intent": "nonsense"} for row in starter.rows(100, "2026-09", 2)]
    starter.write_rows(folder / "data/raw/2026-09.jsonl", broken)
    done = repro(folder)
    assert done.returncode != 0
    assert "data.limits.rejected: 100 of 260 rows failed a schema rule" in done.stderr
    report = Report.read(folder / "reports/data.json")
    assert report.verdict == "fail"
    assert (folder / "data/examples.parquet").read_bytes() == before
    (folder / "data/raw/2026-09.jsonl").unlink()
    assert repro(folder).returncode == 0
    assert results(folder) == results(finished)


def test_a_run_killed_in_every_stage_ends_as_if_nothing_had_happened(scratch, finished, copy_of):
    folder = copy_of(scratch)
    for stage in cli.STAGES:
        # Each run completes the stage in which the one before was killed.
        while not killed_in(folder, stage):
            forget(folder, stage)
    done = repro(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert results(folder) == results(finished)
    assert not list(folder.rglob("*.partial-*"))


def killed_in(folder: Path, stage: str) -> bool:
    """Kill a run in a stage; False where the stage was over before it could be caught, and the run has ended."""
    running = begin(folder)
    child = wait_for(folder, stage, running)
    time.sleep(1.0 if stage in ("train", "evaluate") else 0.05)
    caught = stopped(child)
    if caught is None:
        assert running.wait() == 0
        return False
    assert dies_with(running, caught), f"{stage} outlived DVC"
    return True


def begin(folder: Path, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        ["dvc", *options, "repro"], cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def forget(folder: Path, stage: str) -> None:
    """Let the next run do a stage again, as if none had come so far."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    for later in [*cli.STAGES][[*cli.STAGES].index(stage) :]:
        lock["stages"].pop(later, None)
        (folder / f".trunkline/{later}.lock").unlink(missing_ok=True)
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    shutil.rmtree(folder / ".dvc/cache/runs", ignore_errors=True)


def stopped(child: int) -> int | None:
    """Stop a process so that it cannot end by itself: a file descriptor of it, or None where it has ended."""
    try:
        process = os.pidfd_open(child)
        signal.pidfd_send_signal(process, signal.SIGSTOP)
        while (state := psutil.Process(child).status()) != psutil.STATUS_STOPPED:
            if state == psutil.STATUS_ZOMBIE:
                return None
            time.sleep(0.001)
        return process
    except (ProcessLookupError, psutil.NoSuchProcess):
        return None


def dies_with(running: subprocess.Popen, stage: int) -> bool:
    """Kill a run; whether its stage, which is stopped, is killed with it.

    It has two minutes, as a killed process first completes the write to disk that it is in.
    """
    try:
        running.kill()
        running.wait()
        if select.select([stage], [], [], 120)[0]:
            return True
        signal.pidfd_send_signal(stage, signal.SIGKILL)
        return False
    finally:
        os.close(stage)


def wait_for(folder: Path, stage: str, running: subprocess.Popen) -> int:
    """The process id of a stage that has begun."""
    lock = folder / f".trunkline/{stage}.lock"
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        ended = running.poll() is not None
        if lock.is_file() and (holder := lock.read_text().strip()):
            return int(holder)
        assert not ended, f"the run ended before {stage} started"
        time.sleep(0.01)
    raise AssertionError(f"{stage} never started")


def test_of_two_runs_at_once_one_does_the_work_and_the_other_says_so(scratch, finished, copy_of):
    folder = copy_of(scratch)
    # After each stage it takes DVC's lock again, and by itself gives up where another's look at the files is slow.
    first = begin(folder, "--wait-for-lock")
    wait_for(folder, "base", first)
    second = repro(folder)
    assert first.wait() == 0
    if second.returncode != 0:
        assert "busy" in second.stderr or "lock" in second.stderr.lower()
    assert results(folder) == results(finished)


def test_a_stage_run_by_hand_refuses_to_run_twice(scratch, copy_of):
    folder = copy_of(scratch)
    (folder / ".trunkline").mkdir()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time; from trunkline.clients import process\n"
            "with process.alone('data'):\n    print('held', flush=True); time.sleep(600)",
        ],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    holder.stdout.readline()
    done = run(folder, "trunkline", "data")
    holder.send_signal(signal.SIGKILL)
    assert done.returncode == 1
    assert "data is already running here" in done.stderr


def test_corrupted_weights_are_detected_and_never_used(finished, copy_of):
    folder = copy_of(finished)
    weights = folder / "models/candidate/adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    done = run(folder, "trunkline", "evaluate")
    assert done.returncode == 1
    assert "adapter_model.safetensors" in done.stderr


def test_the_merged_candidate_can_be_pinned_as_production(finished, copy_of):
    folder = copy_of(finished)
    commit(folder, "first candidate")
    assert run(folder, "trunkline", "pin", "HEAD").returncode == 0
    done = repro(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    bundle = json.loads((folder / "models/production/bundle.json").read_text())
    assert bundle["kind"] == "lora"
    sides = results(folder)["answers"]
    assert sides["production"] == sides["candidate"], "a model compared with itself answers the same"
