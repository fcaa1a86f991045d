"""The workflows in act, on this machine and without network: a scratch repository, its bare origin, stub actions.

`ScratchRepository` takes the workflows as they are, and what `make .venv/installed` would install is a folder of
commands that the test gives: `recording` ones here, the real ones in act_world.py. GitHub's address leads to the bare
origin.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil

import starter

ROOT = Path(__file__).parent.parent
REPOSITORY = "acme/support-triage"
GITHUB = "https://github.com"
LABELS = ("ubuntu-24.04", "self-hosted", "gpu-pr", "serving")
WATCHED = ("GITHUB_TOKEN", "GH_TOKEN", "HF_TOKEN", "DVC_CONFIG", "PGPASSWORD")  # what only some steps may have
SECRETS = {name: f"secret-{name.lower()}" for name in WATCHED if name != "GH_TOKEN"}
_PINNED = re.compile(r"uses: ([\w-]+/([\w-]+))@([0-9a-f]{40})")
# Records each call, and does what the test has ordered: exit code, outputs, files.
_FAKE = """
import json, os, subprocess, sys
name = os.path.basename(sys.argv[0])
call = " ".join([name, *sys.argv[1:]])
git = lambda *words: subprocess.run(["git", *words], capture_output=True, text=True).stdout.strip()
row = {
    "job": os.environ["GITHUB_JOB"],
    "call": call,
    "arguments": sys.argv[1:],
    "head": git("rev-parse", "HEAD"),
    "may_push": not git("remote", "get-url", "--push", "origin").endswith("no-credentials"),
    "secrets": [name for name in WATCHED if os.environ.get(name)],
}
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(row) + "\\n")
orders = json.load(open(os.environ["ORDERS"]))
order = next((orders[start] for start in orders if call.startswith(start)), {})
for path, text in order.get("files", {}).items():
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").write(text)
with open(os.environ["GITHUB_OUTPUT"], "a") as file:
    file.writelines(f"{key}={value}\\n" for key, value in order.get("outputs", {}).items())
sys.exit(order.get("exit", 0))
"""


class Call(NamedTuple):
    """What a job ran: the arguments, the commit checked out then, and what it could have done.

    Attributes:
        may_push: whether the checkout has kept credentials that Git would push with.
        secrets: names of the secrets in its environment.
    """

    job: str
    call: str
    arguments: list[str]
    head: str
    may_push: bool
    secrets: list[str]


@dataclass
class Run:
    """What a workflow did.

    Attributes:
        code: act's exit code, 1 when a job failed.
        jobs: how each job that ran ended.
        log: everything that act printed.
    """

    code: int
    calls: list[Call]
    jobs: dict[str, str]
    log: str

    def lines(self) -> list[str]:
        return [f"{call.job}: {call.call}" for call in self.calls]


def recording(folder: Path, *names: str) -> Path:
    """Make commands of these names that record how they were called."""
    folder.mkdir(parents=True)
    for name in names:
        path = folder / name
        path.write_text(f"#!{sys.executable} -IS\nWATCHED = {WATCHED}\n{_FAKE}")
        path.chmod(0o755)
    return folder


@dataclass
class ScratchRepository:
    """A clone with this project's workflows, and the bare origin that it and the jobs push to.

    Args:
        folder: an empty one for everything.
        commands: what `make .venv/installed` puts into .venv/bin.
    """

    folder: Path
    commands: Path
    heads: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=lambda: {"SERVING": "true"})

    def __post_init__(self) -> None:
        self.clone, self.origin = self.folder / "clone", self.folder / "origin.git"
        shutil.copytree(ROOT / ".github", self.clone / ".github")
        for name in (".ci", ".dvc"):
            (self.clone / name).mkdir()
        (self.clone / ".dvc/config").touch()
        (self.clone / ".ci/run").write_text("#!/usr/bin/env bash\nci-run\n")
        (self.clone / ".ci/run").chmod(0o755)
        install = f"mkdir -p .venv/bin && ln -s {self.commands}/* .venv/bin/ && touch .venv/installed"
        (self.clone / "Makefile").write_text(f".venv/installed:\n\t@{install}\n")
        starter.git(self.folder, "init", "--quiet", "--bare", str(self.origin))
        starter.git(self.origin, "config", "uploadpack.allowAnySHA1InWant", "true")
        starter.git(self.clone, "init", "--quiet")
        starter.git(self.clone, "remote", "add", "origin", f"{GITHUB}/{REPOSITORY}.git")
        for branch in ("main", "topic"):
            (self.clone / "branch.txt").write_text(branch)
            starter.git(self.clone, "checkout", "--quiet", "-b", branch)
            starter.git(self.clone, "add", "--all")
            starter.git(self.clone, "commit", "--quiet", "--message", branch)
            starter.git(self.clone, "push", "--quiet", str(self.origin), branch)
            self.heads[branch] = starter.git(self.clone, "rev-parse", "HEAD")

    def pull_request(self, branch: str = "topic", fork: bool = False, draft: bool = False) -> dict[str, Any]:
        """The event of a pull request from ``branch`` into main."""
        owner = "somebody/fork" if fork else REPOSITORY
        head = {"sha": self.heads["topic"], "ref": branch, "repo": {"full_name": owner}}
        base = {"sha": self.heads["main"], "ref": "main", "repo": {"full_name": REPOSITORY}}
        pull = {"number": 42, "draft": draft, "created_at": "2026-11-01T08:00:00Z", "head": head, "base": base}
        return {"action": "synchronize", "number": 42, "pull_request": pull}

    def push(self) -> dict[str, Any]:
        """The event of a merge into main."""
        return {"ref": "refs/heads/main", "before": "0" * 40, "after": self.heads["main"]}

    def run(self, workflow: str, name: str, event: dict[str, Any], orders: dict[str, Any] | None = None) -> Run:
        """Let act run one workflow for an event.

        Args:
            orders: by how a call begins: the ``exit`` code, ``outputs`` and ``files`` of a `recording` command.
        """
        starter.git(self.clone, "checkout", "--quiet", "topic" if name == "pull_request" else "main")
        variables = [part for key, value in self.variables.items() for part in ("--var", f"{key}={value}")]
        job = Job(workflow, name, event, SECRETS, orders or {}, tuple(variables))
        return ended(*begin(self.clone, self.origin, self.folder / "home", job))


@dataclass(frozen=True)
class Job:
    """What act is to run: a workflow, for which event, with which secrets.

    Attributes:
        orders: see `ScratchRepository.run`.
        more: further arguments of act.
        files: further files of the machine's home folder, by path.
        server: GitHub's address.
        repository: owner and name there.
    """

    workflow: str
    name: str
    event: dict[str, Any]
    secrets: dict[str, str]
    orders: dict[str, Any] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    server: str = GITHUB
    repository: str = REPOSITORY


def begin(clone: Path, origin: Path, home: Path, job: Job) -> tuple[subprocess.Popen, Path]:
    """Start act in a clone, on a machine as if fresh; everything that is left of the run is in ``home``."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    repository = {"full_name": job.repository, "default_branch": "main"}
    files = {
        "event.json": json.dumps(job.event | {"repository": repository}),
        "orders.json": json.dumps(job.orders),
        ".gitconfig": f'[url "{origin.as_uri()}"]\n\tinsteadOf = {job.server}/{job.repository}\n',
    }
    for name, text in (files | job.files).items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    with (home / "log").open("w") as log:
        running = subprocess.Popen(
            [*_command(job, home), *_mapped(clone), *job.more],
            cwd=clone,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return running, home


def ended(running: subprocess.Popen, home: Path) -> Run:
    """Wait until act has ended, and read what it did."""
    try:
        code = running.wait(timeout=1500)
    except subprocess.TimeoutExpired:
        kill(running)
        raise
    path, log = home / "calls.jsonl", (home / "log").read_text(errors="replace")
    calls = [Call(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
    ends = re.findall(r"^\[[^/\]]+/([\w-]+)\s*\].*Job (succeeded|failed)", log, re.MULTILINE)
    return Run(code, calls, dict(ends), log)


def kill(running: subprocess.Popen) -> None:
    """What a machine that is lost does to act and to all that it has started."""
    everything = psutil.Process(running.pid).children(recursive=True)
    running.kill()
    for process in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    running.wait()
    psutil.wait_procs(everything)


def _command(job: Job, home: Path) -> list[str]:
    variables = {"CALLS": "calls.jsonl", "ORDERS": "orders.json", "ARTIFACTS": "artifacts"}
    act = Path(sys.executable).with_name("act")
    return [
        *(str(act), job.name, "--eventpath", str(home / "event.json")),
        *("--workflows", f".github/workflows/{job.workflow}.yml"),
        *(part for label in LABELS for part in ("--platform", f"{label}=-self-hosted")),
        *(
            "--actor",
            "ada",
            "--artifact-server-addr",
            "127.0.0.1",
            "--cache-server-addr",
            "127.0.0.1",
            "--no-cache-server",
        ),
        *(part for name, file in variables.items() for part in ("--env", f"{name}={home / file}")),
        *(part for name, value in job.secrets.items() for part in ("--secret", f"{name}={value}")),
    ]


def _mapped(clone: Path) -> list[str]:
    """Every pinned action as the stub of its name; act would fetch another from the network and fail."""
    texts = (path.read_text() for path in (clone / ".github").rglob("*.yml"))
    pinned = sorted({found for text in texts for found in _PINNED.findall(text)})
    return [
        part
        for action, name, commit in pinned
        for part in ("--local-repository", f"{action}@{commit}={ROOT / 'tests/actions' / name}")
    ]
