"""A whole world for the workflows in act: this project small, a GitHub, a DVC remote, and the real commands.

Every run has a fresh machine with a clone of its own. What a job calls `trunkline` runs the sources that the job has
checked out. Only `gh` is a `recording` command: it would start another workflow.
"""

import datetime
import ipaddress
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

import act
import merged
import starter
from github_double import PULL, REPOSITORY, GitHubDouble
from test_signing import key_pair
from trunkline.clients import files
from trunkline.records import Production

MODEL = "support-triage"
KEPT = (".dvc", ".gitattributes", ".github", ".gitignore", "dvc.yaml", "requirements.lock", "src", "data/eval")
# A closed set of labels, which a model of 120,000 parameters learns in seconds, and limits that fit so few rows.
SETTINGS = {
    "data__slices": [],
    "data__answer": {"format": "label", "fields": ["intent"], "allowed": {"intent": list(starter.INTENTS)}},
    "data__near_duplicate": 0.99,
    "features__holdout": 0.3,
    "train__precision": "fp32",
    "train__last_layers": 99,
    "train__learning_rate": 0.01,
    "train__epochs": 2,
    "evaluate__precision": "fp32",
    "evaluate__scorers": ["exact_match"],
    "gate__guardrails": {},
    "gate__margin": 0.2,
    "gate__slice_margin": 0.6,
    "drill__resamples": 200,
    "drill__losses": [1],
    "release__sign": "key",
    "release__public_key": "release.pub",
}
PROMPT = """{% block system %}One of: {{ intent | join(", ") }}.{% endblock %}
{% block user %}{{ message }}{% endblock %}
"""
# As an editable installation: the command is that of the sources beside it.
TRUNKLINE = """#!/bin/sh
PYTHONPATH="${0%/.venv/bin/trunkline}/src" exec INSTALLED "$@"
"""
# What names a ref that `hold` names waits as long as `hold` is there. Then its refs are noted, a line each.
PRE_RECEIVE = """#!/bin/sh
refs=$(cut -d " " -f 3)
if [ -e hold ] && echo "$refs" | grep -q -f hold; then
    touch held
    while [ -e hold ]; do sleep 0.02; done
fi
printf '%s\\n\\n' "$refs" >> pushes
"""


class Pushed(set):
    """The commits that GitHub knows: those that its repository holds."""

    def __init__(self, origin: Path) -> None:
        self.origin = origin

    def __contains__(self, commit: object) -> bool:
        asked = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
        return subprocess.run(asked, cwd=self.origin, check=False, capture_output=True).returncode == 0


@dataclass
class World:
    """A repository on a GitHub, and who works on it.

    Attributes:
        folder: of everything.
        github: that the jobs speak to.
    """

    folder: Path
    github: GitHubDouble
    runs: int = field(default=0)

    def __post_init__(self) -> None:
        self.origin, self.clone = self.folder / "origin.git", self.folder / "developer"
        self.github.commits = Pushed(self.origin)

    def git(self, *arguments: str) -> str:
        """In the bare repository, as everybody sees it."""
        return starter.git(self.origin, *arguments)

    def shell(self, *command: str, where: Path | None = None) -> subprocess.CompletedProcess[str]:
        """What a developer runs, on a machine that knows where the DVC remote is."""
        home = self.folder / "home"
        for name, text in self._home().items():
            files.write_text(home / name, text)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {
            "PATH": path,
            "HOME": str(home),
            "PYTHONPATH": str(starter.ROOT / "src"),
            "OMP_NUM_THREADS": "1",
            "GIT_AUTHOR_NAME": "ada",
        }
        return subprocess.run(
            command, cwd=where or self.clone, env=environment, capture_output=True, text=True, check=False
        )

    def _home(self) -> dict[str, str]:
        return {".config/dvc/config": f"['remote \"storage\"']\n    url = {self.folder / 'storage'}\n"}

    def propose(self, branch: str, after: str = "main", pin: bool = False, **changes: object) -> str:
        """Push a branch with other params (`section__key=value`), and return its head.

        Args:
            pin: whether it is compared with what serves now.
        """
        self.take(after, branch)
        if pin:
            assert self.shell("trunkline", "pin").returncode == 0
        merged.configure(self.clone, **changes)
        return self.commit(branch)

    def run_by_hand(self, branch: str) -> str:
        """What a developer without a runner does: run the checked-out branch, push data and weights, commit."""
        for command in (("dvc", "repro", "--pull"), ("trunkline", "report"), ("trunkline", "push")):
            done = self.shell(*command)
            assert done.returncode == 0, done.stderr[-3000:]
        return self.commit(branch)

    def take(self, after: str, branch: str) -> None:
        """Check out a new branch, in the developer's clone, after one of the origin's."""
        starter.git(self.clone, "fetch", "--quiet", "--prune", str(self.origin), "+refs/heads/*:refs/remotes/origin/*")
        starter.git(self.clone, "checkout", "--quiet", "--force", "-B", branch, f"origin/{after}")

    def commit(self, branch: str) -> str:
        """Commit everything in the developer's clone, and push it."""
        starter.git(self.clone, "add", "--all")
        starter.git(self.clone, "commit", "--quiet", "--message", branch)
        starter.git(self.clone, "push", "--quiet", str(self.origin), f"HEAD:{branch}")
        return self.head(branch)

    def merge(self, branch: str) -> str:
        """Merge a branch into main, as GitHub's button does, and return the commit."""
        self.take("main", "main")
        starter.git(self.clone, "merge", "--quiet", "--no-ff", "--message", f"Merge {branch}", f"origin/{branch}")
        starter.git(self.clone, "push", "--quiet", str(self.origin), "main")
        return self.head("main")

    def head(self, branch: str) -> str:
        return self.git("rev-parse", f"refs/heads/{branch}")

    def pushes(self) -> list[list[str]]:
        """The refs that each push to the origin named, push by push."""
        return [push.split() for push in (self.origin / "pushes").read_text().split("\n\n") if push]

    @contextmanager
    def holding(self, ref: str) -> Iterator[Path]:
        """Let the origin not answer whoever pushes such a ref; gives the file that is there once somebody does."""
        hold, held = self.origin / "hold", self.origin / "held"
        hold.write_text(ref)
        try:
            yield held
        finally:
            hold.unlink()
            held.unlink(missing_ok=True)

    def tags(self) -> dict[str, str]:
        """The registry's tags with their commits."""
        rows = self.git("for-each-ref", "--format=%(refname:strip=2) %(*objectname)", "refs/tags")
        return dict(row.split() for row in rows.splitlines())

    def serves(self) -> dict[str, Any]:
        """What `env/production` says is to be served."""
        return yaml.safe_load(self.git("show", f"env/production:{MODEL}.yaml"))

    def pull_request(self, branch: str, draft: bool = False, owner: str = REPOSITORY) -> act.Run:
        """Run model-pr for a branch's head; ``owner`` is whose repository the branch is in."""
        head = {"sha": self.head(branch), "ref": branch, "repo": {"full_name": owner}}
        base = {"sha": self.head("main"), "ref": "main", "repo": {"full_name": REPOSITORY}}
        pull = {"number": 42, "draft": draft, "created_at": PULL["created_at"], "head": head, "base": base}
        event = {"action": "synchronize", "number": 42, "pull_request": pull}
        return act.ended(*self.begin("model-pr", "pull_request", self.head(branch), event))

    def release(self, commit: str) -> act.Run:
        """Run release for a commit on main."""
        return act.ended(*self.begin_release(commit))

    def begin_release(self, commit: str) -> tuple[subprocess.Popen, Path]:
        return self.begin("release", "push", commit, {"ref": "refs/heads/main", "after": commit})

    def dispatch(self, workflow: str, **inputs: str) -> act.Run:
        """Run a workflow on main that somebody starts by hand."""
        event = {"ref": "refs/heads/main", "inputs": inputs}
        return act.ended(*self.begin(workflow, "workflow_dispatch", self.head("main"), event))

    def begin(self, workflow: str, name: str, commit: str, event: dict[str, Any]) -> tuple[subprocess.Popen, Path]:
        """Start a workflow on a fresh machine."""
        self.runs += 1
        machine = self.folder / f"runs/{self.runs}"
        clone = machine / "clone"
        machine.mkdir(parents=True)
        starter.git(machine, "clone", "--quiet", "--no-checkout", str(self.origin), str(clone))
        starter.git(clone, "checkout", "--quiet", "-B", "main", commit)
        starter.git(clone, "remote", "set-url", "origin", f"{self.github.url}/{REPOSITORY}.git")
        secrets = {
            "GITHUB_TOKEN": "ghs_write",
            "DVC_CONFIG": self._home()[".config/dvc/config"],
            "SIGNING_KEY": (self.folder / "release.pem").read_text(),
        }
        variables = {"REQUESTS_CA_BUNDLE": str(self.folder / "github.pem"), "OMP_NUM_THREADS": "1"}
        more = ["--github-instance", self.github.url.removeprefix("https://"), "--no-skip-checkout"]
        more += [part for key, value in variables.items() for part in ("--env", f"{key}={value}")]
        job = act.Job(workflow, name, event, secrets, {}, tuple(more), self._home(), self.github.url, REPOSITORY)
        return act.begin(clone, self.origin, machine / "home", job)


@contextmanager
def standing(folder: Path) -> Iterator[World]:
    """A world whose GitHub answers."""
    with GitHubDouble(folder / "github.pem") as github:
        yield World(folder, github)


@contextmanager
def another(world: World, folder: Path) -> Iterator[World]:
    """A copy of a world as it is now, in an empty folder, which goes its own way."""
    shutil.copytree(world.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("runs"), dirs_exist_ok=True)
    with standing(folder) as made:
        starter.git(made.clone, "remote", "set-url", "origin", str(made.origin))
        yield made


def build(folder: Path, base: Path, installed: Path) -> None:
    """Make a world with a small project on main that has never run.

    Args:
        base: the model to fine-tune.
        installed: a folder for what `make .venv/installed` installs.
    """
    (folder / "storage").mkdir(parents=True)
    certificate(folder / "github.pem")
    key_pair(folder, "release")
    commands(installed)
    clone, origin = folder / "developer", folder / "origin.git"
    starter.git(folder, "init", "--quiet", "--bare", str(origin))
    starter.git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    (origin / "hooks/pre-receive").write_text(PRE_RECEIVE)
    (origin / "hooks/pre-receive").chmod(0o755)
    clone.mkdir()
    starter.git(clone, "init", "--quiet")
    starter.git(clone, "remote", "add", "origin", str(origin))
    project(clone, base)
    shutil.copyfile(folder / "release.pub", clone / "release.pub")
    install = f"mkdir -p .venv/bin && ln -s {installed}/* .venv/bin/ && touch .venv/installed"
    (clone / "Makefile").write_text(f".venv/installed:\n\t@{install}\n")
    starter.git(clone, "add", "--all")
    starter.git(clone, "commit", "--quiet", "--message", "a small project")
    starter.git(clone, "push", "--quiet", "origin", "main")


def project(clone: Path, base: Path) -> None:
    """This project's code and pipeline, with other data and another model."""
    listed = starter.git(starter.ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "--", *KEPT)
    for name in listed.splitlines():
        if (starter.ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(starter.ROOT / name, clone / name)
    storage = "[core]\n    remote = storage\n    analytics = false\n['remote \"storage\"']\n    verify = true\n"
    (clone / ".dvc/config").write_text(storage)
    files.write_text(clone / "data/prompts/triage.jinja", PROMPT)
    pin = Production(release=None, revision=None, weights=None, partitions=())
    files.write_text(clone / "data/production.json", pin.text())
    for seed, month in enumerate(("2026-07", "2026-08")):
        starter.write_rows(clone / f"data/raw/{month}.jsonl", starter.rows(90, month, seed))
    starter.settings(clone, base={"model": f"path:{base}", "sha256": None}, **SETTINGS)


def commands(folder: Path) -> None:
    """What `make .venv/installed` installs."""
    act.recording(folder, "gh")
    real = Path(sys.executable).parent
    (folder / "dvc").symlink_to(real / "dvc")
    (folder / "trunkline").write_text(TRUNKLINE.replace("INSTALLED", str(real / "trunkline")))
    (folder / "trunkline").chmod(0o755)


def certificate(path: Path) -> None:
    """Write a key and its own certificate for this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
