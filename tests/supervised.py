"""A machine that serves: a clone of a repository with three releases, and `trunkline supervise` as a real process.

What it starts is tests/stand_in.py. Run as a script, this is `trunkline supervise` that starts stand-ins.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import requests
import yaml
from dvc.repo import Repo

import finished
import releases
import rollout_logs
import starter
from ports import free_ports
from releases import MODEL
from trunkline import guard, transforms
from trunkline.clients import bundles, daemons, files
from trunkline.clients.dvc import objects
from trunkline.clients.git import branches
from trunkline.clients.weights import identify
from trunkline.records import Base
from trunkline.records.release import Serving
from trunkline.records.traffic import Traffic

Came = TypeVar("Came")
VERSIONS = ("v1.0.0", "v1.1.0", "v1.2.0")
# Trained with a transform that is another now.
OTHER_CODE = "v1.3.0"
TASK = finished.TASK.model_copy(update={"transforms": transforms.identify(("clean_text@1", "mask_pii@1"))})
GUARD = {"injection@1": "flag"}
# An engine without traffic lives so much longer.
GRACE_S = 1.2
STAND_IN = Path(__file__).parent / "stand_in.py"
BASE = {"cmd": "exec trunkline base", "outs": [{"path": "models/base", "md5": ""}]}
LOCK = {"schema": "2.0", "stages": {"base": BASE}}


def build(folder: Path) -> Path:
    """Make origin.git with the releases, a DVC remote beside it, and `machine`, a clone without any data."""
    (work,) = releases.clones(folder)
    with contextlib.chdir(work):
        starter.settings(work)
        Repo.init(".").close()
        starter.inputs(work)
        config = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {folder / 'remote'}\n"
        (work / ".dvc/config").write_text(config)
        base = _base(work / "base")
        LOCK["stages"]["base"]["outs"][0]["md5"] = objects.store(work / "base", objects.place())
        (work / "dvc.lock").write_text(yaml.safe_dump(LOCK))
        starter.git(work, "add", ".dvc/config", "dvc.lock", "params.yaml", "src")
        for version in VERSIONS:
            # The first is from before releases recorded the configuration of their base model.
            release(work, version, base, **({"configuration": {}} if version == VERSIONS[0] else {}))
        old = TASK.model_copy(update={"transforms": ("clean_text@1:000000000000",)})
        release(work, OTHER_CODE, base, task=old)
        starter.git(work, "push", "-q", "--tags", "origin", "HEAD:main")
    starter.git(folder, "clone", "-q", "--branch", "main", "origin.git", "machine")
    return folder


def _base(folder: Path) -> Base:
    folder.mkdir()
    (folder / "config.json").write_text('{"rope_theta": 10000.0}')
    (folder / "model.safetensors").write_text("base weights")
    record = identify("path:somewhere", folder)
    files.write_text(folder / "base.json", record.text())
    return record


def release(work: Path, version: str, base: Base, **changes: object) -> None:
    """Release weights that go on a base model."""
    folder = work / "bundle" / version
    folder.mkdir(parents=True)
    (folder / releases.ADAPTER).write_text(f"weights of {version}")
    (folder / "adapter_config.json").write_text("{}")
    commit = releases.commit(work, version)
    facts = {
        "weights": bundles.hashes(folder),
        "base": {"source": base.source, "sha256": base.sha256},
        "configuration": base.configuration,
        "decoding": {"decoding": "auto", "max_new_tokens": 32},
        "task": TASK,
        "guard": guard.guard_id(GUARD),
        "params": {"serve": {"guard": GUARD}},
        **changes,
    }
    files.write_text(folder / bundles.MANIFEST, releases.manifest(version, commit, **facts).text())
    releases.release(version, commit, **facts, bundle=objects.store(folder, objects.place()))


class Running(NamedTuple):
    """What a supervisor keeps running, by process id."""

    gateway: list[int]
    engines: dict[str, int]


class Supervision:
    """A clone in which supervisors run, and what they keep running there.

    Args:
        folder: the clone.
        program: what is started as `trunkline`.
    """

    def __init__(self, folder: Path, *program: str) -> None:
        self.folder, self.serve = folder, folder / ".trunkline/serve"
        self.supervisors: list[subprocess.Popen] = []
        self._program = program or ("-m", "trunkline")
        self._lines: list[str] = []
        self._begun = 0

    def start(self) -> None:
        """Start a supervisor, the one that counts from now on."""
        self._begun = len(self._lines)
        self.supervisors.append(self.launch())

    def launch(self) -> subprocess.Popen:
        """Start one that need not be the only one; what it says is kept."""
        command, pipe = [sys.executable, *self._program, "supervise"], subprocess.PIPE
        process = subprocess.Popen(command, cwd=self.folder, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=lambda: self._lines.extend(process.stdout), daemon=True).start()
        return process

    @property
    def supervisor(self) -> subprocess.Popen:
        """The one that was started last."""
        return self.supervisors[-1]

    @property
    def runs(self) -> bool:
        """Whether it does."""
        return bool(self.supervisors) and self.supervisor.poll() is None

    @property
    def said_now(self) -> str:
        """What was said since the last supervisor was started."""
        return "".join(self._lines[self._begun :])

    @property
    def traffic(self) -> Traffic | None:
        path = self.serve / "traffic.json"
        return Traffic.read(path) if path.exists() else None

    @property
    def running(self) -> Running:
        words = {tuple(daemon.role.split()): daemon.pid for daemon in daemons.find(self.serve)}
        engines = {words[1]: pid for words, pid in words.items() if words[0] == "engine"}
        return Running([pid for words, pid in words.items() if words[0] == "gateway"], engines)

    def crash(self) -> None:
        """Kill the supervisor, which leaves all else running."""
        self.supervisor.kill()
        self.supervisor.wait()

    def end(self) -> int:
        """End the supervisor as whoever runs it does; its exit code."""
        self.supervisor.terminate()
        return self.supervisor.wait(120)

    def close(self) -> None:
        """End everything, whatever the test left; what was said is shown beside a failure."""
        for process in self.supervisors:
            process.kill()
            process.wait()
        for daemon in daemons.find(self.serve):
            with contextlib.suppress(ProcessLookupError):
                os.kill(daemon.pid, signal.SIGCONT)
            daemon.end(0)
        print("".join(self._lines))
        for path in self.serve.glob("*.log"):
            print(path.name, path.read_text()[-4000:])


class Machine(Supervision):
    """The clone of a built world, and how its branch is decided.

    Args:
        folder: of the world.
        program: what is started as `trunkline`; this file, which starts stand-ins, if none is given.
    """

    def __init__(self, folder: Path, program: str = __file__) -> None:
        super().__init__(folder / "machine", program)
        self.origin, self.remote = folder / "origin.git", folder / "remote"
        self._heard = 0
        port = free_ports()
        self.url = f"http://127.0.0.1:{port}"
        path = self.folder / "params.yaml"
        content = yaml.safe_load(path.read_text())
        content["serve"]["gateway"] |= {"listen": f"127.0.0.1:{port}", "probe_seconds": 1}
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        self.configure(
            "supervise",
            ports={"first": port + 1, "last": port + 9},
            poll_seconds=0.4,
            grace_seconds=GRACE_S,
            restart_seconds={"first": 0.2, "most": 1},
        )

    def configure(self, section: str, **changes: object) -> None:
        path = self.folder / "params.yaml"
        content = yaml.safe_load(path.read_text())
        content[section] |= changes
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    @property
    def said(self) -> str:
        """What supervisors said since all came true last."""
        return "".join(self._lines[self._heard :])

    @property
    def proved(self) -> bool:
        """Whether this supervisor has found all that runs to be ready."""
        said = self.said_now
        gateway, engines = self.running
        return bool(gateway) and all(f"is ready (process {pid})" in said for pid in (*gateway, *engines.values()))

    def settle(self, stable: str, canary: str | None = None, weight: float = 0.5) -> None:
        """Decide this, and wait until it has come true."""
        if not self.runs:
            self.start()
        shutil.rmtree(self.folder / "faults", ignore_errors=True)
        self.decide(stable, rollout=None if canary is None else rollout(stable, canary, weight))
        arms = (stable, canary, 0 if canary is None else weight)
        versions = {version for version in arms[:2] if version}
        until(lambda: self.arms == arms and self.running.engines.keys() == versions and self.proved)
        until(lambda: self.answering == versions)
        self._heard = len(self._lines)

    @property
    def arms(self) -> tuple[str | None, str | None, float]:
        """The versions of stable and canary, and the canary's share."""
        now = self.traffic
        if now is None:
            return None, None, 0
        stable, canary = (arm and arm.release.removeprefix(f"{MODEL}@") for arm in (now.stable, now.canary))
        return stable, canary, now.weight

    def log(self, version: str) -> str:
        """What an engine of this version has said."""
        return (self.serve / f"engine-{version}.log").read_text()

    def ask(self, unit: str, seconds: float = 0) -> requests.Response:
        return requests.post(self.url, json={"unit": unit, "seconds": seconds}, timeout=60)

    def came(self, unit: str) -> tuple[int, str]:
        """What a unit gets: status, and the version that it is from."""
        answer = self.ask(unit)
        return answer.status_code, answer.json()["release"].removeprefix(f"{MODEL}@")

    @property
    def answering(self) -> set[str]:
        """The versions that answer; none where anybody gets no answer.

        Ten units are on both arms at any weight that the tests use.
        """
        try:
            came = [self.came(f"unit-{number}") for number in range(10)]
        except requests.RequestException:
            return set()
        return {version for _, version in came} if all(status == 200 for status, _ in came) else set()

    def answers(self) -> bool:
        """Whether every arm does."""
        return bool(self.answering)

    def decide(self, stable: str, weights: dict[str, str] | None = None, rollout: dict | None = None) -> None:
        """Change env/production as whoever decides does, in one commit."""
        found = json.loads(starter.git(self.origin, "tag", "-l", "--format=%(contents:body)", f"{MODEL}@{stable}"))
        serving = Serving(
            model=MODEL,
            environment="production",
            version=stable,
            commit=found["commit"],
            weights=weights or found["weights"],
            action="promote",
            reason="better",
            by="ann",
            since="2026-11-20T10:00:00+00:00",
            tag=f"{MODEL}#production#{stable}",
        )
        tried = yaml.safe_dump(rollout or OVER, sort_keys=False).encode()
        self.write({f"{MODEL}.yaml": serving.yaml().encode(), f"{MODEL}.rollout.yaml": tried})

    def write(self, changed: dict[str, bytes]) -> None:
        """Change files of env/production in one commit."""
        with contextlib.chdir(self.origin):
            made = branches.commit(branches.local_head("env/production"), changed, "decide")
            starter.git(self.origin, "update-ref", "refs/heads/env/production", made)

    def fault(self, name: str) -> Path:
        path = self.folder / "faults" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return path


def rollout(stable: str, canary: str, weight: float, state: str = "running") -> dict[str, Any]:
    """What `<model>.rollout.yaml` holds."""
    return rollout_logs.rollout(MODEL, stable, canary, weight, state).model_dump(mode="json")


OVER = rollout("v0.1.0", "v0.2.0", 0, "rolled_back")


@contextlib.contextmanager
def machine(built: Path, folder: Path) -> Iterator[Machine]:
    """A copy of the world for one test."""
    shutil.copytree(built, folder, dirs_exist_ok=True)
    made = Machine(folder)
    starter.git(made.folder, "remote", "set-url", "origin", str(made.origin))
    (made.folder / ".dvc/config.local").write_text(f"['remote \"storage\"']\n    url = {made.remote}\n")
    try:
        yield made
    finally:
        made.close()


class Answered(list[Came]):
    """What came to some that ask, and the seconds that each of them waits between two questions."""

    pause: float


@contextlib.contextmanager
def clients(ask: Callable[[str], Came], count: int = 2, pause: float = 0.02) -> Iterator[Answered[Came]]:
    """Some that ask one thing after another, each time as another unit; yields what came."""
    found: Answered[Came] = Answered()
    found.pause = pause
    stop = threading.Event()

    def go_on(name: int) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            found.append(ask(f"{name}-{time.time_ns()}-{number}"))
            time.sleep(found.pause)

    threads = [threading.Thread(target=go_on, args=(name,)) for name in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def until(what: Callable[[], object], seconds: float = 120) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


if __name__ == "__main__":
    from trunkline import cli
    from trunkline.operations.supervise import commands

    commands.PROGRAM = (sys.executable, str(STAND_IN))
    sys.exit(cli.main(sys.argv[1:]))
