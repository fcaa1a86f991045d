"""A release earns its traffic on one machine: real engines, gateway, supervisor and rollout, and clients all along."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests
import yaml

import finished
import gateways
import merged
import starter
import test_model
from supervised import free_ports, until
from trunkline import cli
from trunkline.clients import daemons
from trunkline.clients.daemons import Daemon
from trunkline.records.traffic import Traffic
from trunkline.verdict import Verdict

pytestmark = pytest.mark.slow

MODEL = "support-triage"
# Both engines share two cores with the tests: what is slower than most of production's answers may be so more often.
PLAN = {
    "method": "counts",
    "placebos": 99,
    "steps": [{"weight": 0.3, "minutes": 0.05}, {"weight": 0.5, "minutes": 0.05}],
    "horizon_minutes": 30,
    "poll_seconds": 2,
    "metrics": {"latency_ms": {"kind": "amount", "quantiles": [0.75], "tolerated": 2.5, "margins": [3.8, 3.8]}},
    "hard_stops": {"error": 10},
}


class Story:
    """A repository with three releases, a machine that serves it, and a desk at which rollouts are decided."""

    def __init__(self, folder: Path, base: Path) -> None:
        port = free_ports()
        self.url = f"http://127.0.0.1:{port}"
        changes = {
            "evaluate__precision": "fp32",
            "serve__gateway__listen": f"127.0.0.1:{port}",
            "serve__gateway__probe_seconds": 2.0,
            "serve__log__database": f"sqlite:///{folder / 'log.sqlite'}",
            "supervise__ports": {"first": port + 1, "last": port + 9},
            "supervise__poll_seconds": 1.0,
            "supervise__grace_seconds": 4.0,
            **{f"rollout__{name}": value for name, value in PLAN.items()},
        }
        adapters = [test_model.lora(folder / f"adapter-{number}", base) for number in range(3)]
        self.places = merged.build(folder, base, adapters[0], **changes)
        self.machine = merged.clone(self.places.origin, folder / "machine")
        self.desk = merged.clone(self.places.origin, folder / "desk")
        self.trunkline("release")
        for number in (1, 2):
            merged.run(self.places.work, f"candidate {number}", adapter=adapters[number])
            merged.commit(self.places.work, f"candidate {number}")
            merged.push(self.places.work)
            starter.git(self.desk, "pull", "-q", "origin", "main")
            self.trunkline("release")
        self.trunkline("promote", "v0.1.0", "--to", "production")
        self.serve = self.machine / ".trunkline/serve"
        self.log = (folder / "said").open("w")
        self.supervisor: subprocess.Popen | None = None

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command at the desk."""
        command, pipe = [sys.executable, "-m", "trunkline", *arguments], subprocess.PIPE
        environment = {**os.environ, "GITHUB_ACTOR": "ada"}
        return subprocess.Popen(command, cwd=self.desk, stdout=pipe, stderr=pipe, text=True, env=environment)

    def trunkline(self, *arguments: str) -> str:
        """Run a command at the desk."""
        said, more = self.begin(*arguments).communicate(timeout=300)
        print(said, more)
        return said

    def start(self) -> None:
        command = [sys.executable, "-m", "trunkline", "supervise"]
        self.supervisor = subprocess.Popen(command, cwd=self.machine, stdout=self.log, stderr=self.log)

    @property
    def arms(self) -> list[str]:
        path = self.serve / "traffic.json"
        if not path.exists():
            return []
        now = Traffic.read(path)
        return [arm.release.removeprefix(f"{MODEL}@") for arm in (now.stable, now.canary) if arm]

    @property
    def engines(self) -> dict[str, Daemon]:
        found = [daemon for daemon in daemons.find(self.serve) if daemon.role.startswith("engine")]
        return {daemon.role.split()[1]: daemon for daemon in found}

    def answers(self) -> bool:
        try:
            return ask(self.url, "first")[0] == 200
        except requests.ConnectionError:
            return False


def ask(url: str, unit: str) -> tuple[int, str]:
    """Status, and the release that answered or failed to."""
    body = {"messages": [{"role": "user", "content": "I lost my card"}], "max_tokens": 4, "user": unit}
    answer = requests.post(f"{url}/v1/chat/completions", json=body, timeout=60)
    return answer.status_code, answer.headers.get("x-trunkline-release", "").removeprefix(f"{MODEL}@")


@contextlib.contextmanager
def clients(url: str) -> Iterator[list[tuple[int, str]]]:
    """Two that ask one thing after another, each in a conversation of its own."""
    found: list[tuple[int, str]] = []
    stop = threading.Event()

    def go_on(name: int) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            found.append(ask(url, f"{name}-{time.time_ns()}-{number}"))
            time.sleep(0.05)

    threads = [threading.Thread(target=go_on, args=(name,)) for name in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def story(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    # The gateway applies the transforms that a release names, so these must be those of the code.
    for name in ("bundle", "holdout"):
        monkeypatch.setattr(finished, name, partial(getattr(finished, name), task=gateways.TASK))
    made = Story(tmp_path, tiny_base)
    try:
        yield made
    finally:
        if made.supervisor is not None:
            made.supervisor.kill()
        for daemon in daemons.find(made.serve):
            daemon.end(0)
        made.log.close()
        for path in [tmp_path / "said", *made.serve.glob("*.log")]:
            print(path.name, path.read_text()[-4000:])


def test_a_good_release_is_promoted_and_one_whose_engine_dies_is_rolled_back(story):
    story.start()
    until(story.answers, 300)
    with clients(story.url) as found:
        until(lambda: len(found) > 150, 300)
        story.trunkline("rollout", "start", "v0.2.0", "--reason", "trained on more")
        said = story.trunkline("rollout", "watch")
        assert "promote" in said
        until(lambda: story.arms == ["v0.2.0"], 60)
        until(lambda: story.engines.keys() == {"v0.2.0"}, 60)
        time.sleep(2)
    print(Counter(found))
    assert {status for status, _ in found} == {200}
    assert {version for _, version in found} == {"v0.1.0", "v0.2.0"}
    serving, reap = daemons.find(story.serve), [sys.executable, "-m", "trunkline", "reap"]
    subprocess.run(reap, cwd=story.machine, check=True, timeout=60)
    assert [daemon.pid for daemon in daemons.find(story.serve)] == [daemon.pid for daemon in serving]
    assert story.supervisor.poll() is None
    with clients(story.url) as found:
        until(lambda: len(found) > 20, 120)
        story.trunkline("rollout", "start", "v0.3.0", "--reason", "trained on even more")
        until(lambda: story.arms == ["v0.2.0", "v0.3.0"], 300)
        until(lambda: (200, "v0.3.0") in found, 60)
        watch = story.begin("rollout", "watch")
        until(lambda: "v0.3.0" in watch.stderr.readline(), 60)
        story.places.remote.rename(story.places.remote.with_name("away"))
        (story.serve / "v0.3.0/adapter_model.safetensors").write_text("damaged")
        os.kill(story.engines["v0.3.0"].pid, signal.SIGKILL)
        said, _ = watch.communicate(timeout=120)
        assert watch.returncode == cli.EXIT_CODES[Verdict.FAIL]
        assert "(hard stop): 10 in a row on the canary: error" in said
        until(lambda: story.arms == ["v0.2.0"], 60)
        time.sleep(3)  # the gateway looks once a second
        rolled_back = len(found)
        until(lambda: len(found) > rolled_back + 40, 60)
    bad = [version for status, version in found if status != 200]
    print(Counter(found))
    assert set(bad) == {"v0.3.0"}
    assert 10 <= len(bad) <= 200
    assert {status for status, _ in found[rolled_back + 2 :]} == {200}
    serving = yaml.safe_load(starter.git(story.places.origin, "show", f"env/production:{MODEL}.yaml"))
    assert serving["version"] == "v0.2.0"
    story.supervisor.terminate()
    assert story.supervisor.wait(60) == 0
    assert daemons.find(story.serve) == []
