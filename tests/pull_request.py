"""A pull request to work on: a project under Git and DVC whose stages cost nothing, an origin, a DVC remote.

Everything is beside each other and named relatively, so a copy of the whole folder is another such world.
"""

import contextlib
import io
import json
import os
import shutil
from pathlib import Path

from dvc.repo import Repo

import starter
from trunkline import findings
from trunkline.clients import files
from trunkline.records import Production, Report
from trunkline.verdict import Check, Verdict

BRANCH = "better"
# Each command leaves a line in ../ran, whichever clone it runs in. The reports are copied from found/.
PIPELINE = """
stages:
  data:
    cmd: echo data >> ../ran && cat data/raw/*.jsonl > examples.txt && cp found/data.json found/features.json reports
    deps: [data/raw, found/data.json, found/features.json]
    outs: [examples.txt]
    metrics:
    - reports/data.json:
        cache: false
    - reports/features.json:
        cache: false
  train:
    cmd: echo train >> ../ran && mkdir -p models/candidate reports && cp params.yaml examples.txt models/candidate
      && cp found/base.json found/production.json found/train.json reports
      && mkdir -p reports/train && echo 0.5 > reports/train/loss.tsv && echo 0.1 > reports/train/rate.tsv
    deps: [examples.txt]
    params: [train]
    outs: [models/candidate]
    metrics:
    - reports/base.json:
        cache: false
    - reports/production.json:
        cache: false
    - reports/train.json:
        cache: false
    plots:
    - reports/train:
        cache: false
  compare:
    cmd: echo compare >> ../ran && cp found/evaluate.json found/compare.json reports
    deps: [models/candidate, found/compare.json, found/evaluate.json]
    params: [gate]
    metrics:
    - reports/evaluate.json:
        cache: false
    - reports/compare.json:
        cache: false
"""


def build(world: Path) -> Path:
    """Make the world with a finished and merged run on ``main``, and return the developer's clone."""
    clone = world / "clone"
    (clone / "reports").mkdir(parents=True)
    starter.git(clone, "init", "-q", "-b", "main")
    starter.git(world, "init", "-q", "--bare", "-b", "main", "origin.git")
    starter.git(clone, "remote", "add", "origin", "../origin.git")
    starter.settings(clone)
    (clone / "dvc.yaml").write_text(PIPELINE)
    shutil.copy(starter.ROOT / ".gitattributes", clone)
    (clone / ".gitignore").write_text("/artifact/\n/.trunkline/\n/models/\n")
    for number, month in enumerate(("2026-07", "2026-08")):
        starter.write_rows(clone / f"data/raw/{month}.jsonl", starter.rows(3, month, number))
    for step in findings.REQUIRED:
        found(clone, step, Verdict.PASS)
    pin(clone)
    with standing_in(clone):
        with Repo.init(".") as repo:
            repo.add("data/raw/2026-08.jsonl")
        (clone / ".dvc/config").write_text(
            "[core]\n    remote = storage\n['remote \"storage\"']\n    url = ../../storage\n"
        )
    repro(clone)
    page(clone, Verdict.PASS)
    commit(clone, "a finished run")
    with standing_in(clone), Repo() as repo:
        repo.push(run_cache=True)
    starter.git(clone, "push", "-q", "origin", "main")
    return clone


def copied(world: Path, place: Path) -> Path:
    """The clone in a copy of the world."""
    shutil.copytree(world, place, symlinks=True)
    return place / "clone"


@contextlib.contextmanager
def standing_in(folder: Path):
    """Run the block in that folder, without DVC's words."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.chdir(before)


def repro(folder: Path, **how: object) -> None:
    """`dvc repro`, in this process."""
    with standing_in(folder), Repo() as repo:
        repo.reproduce(**how)


def ran(folder: Path) -> list[str]:
    """The stages whose commands have run in this world, in order."""
    return (folder.parent / "ran").read_text().split()


def found(folder: Path, step: str, verdict: Verdict, message: str = "as measured") -> None:
    """What the pipeline will find in a step."""
    check = Check(name=f"{step}.limit", verdict=verdict, value=None, limit=None, message=message)
    metrics = {"gpu_hours": 0.25} if step == "train" else {}
    files.write_text(folder / f"found/{step}.json", Report.of(step, (check,), metrics, {}).text())


def pin(folder: Path, release: str | None = None, revision: str | None = None) -> None:
    """What `trunkline pin` would write; by default before anything serves."""
    weights = None if revision is None else "0" * 32 + ".dir"
    pinned = Production(release=release, revision=revision, weights=weights, partitions=())
    files.write_text(folder / "data/production.json", pinned.text())


def page(folder: Path, verdict: Verdict) -> None:
    """What `trunkline report` would write."""
    files.write_text(folder / "reports/report.md", f"## support-triage: {verdict}\n\nwhat was found\n")


def commit(folder: Path, message: str) -> str:
    starter.git(folder, "add", "-A")
    starter.git(folder, "commit", "-qm", message)
    return starter.git(folder, "rev-parse", "HEAD")


def propose(folder: Path, branch: str = BRANCH, **changes: object) -> str:
    """Push a branch with other params (`section__key=value`) that have not been run, and return its head."""
    starter.git(folder, "checkout", "-qb", branch)
    starter.settings(folder, **changes)
    head = commit(folder, "try other params")
    starter.git(folder, "push", "-q", "origin", branch)
    return head


def cloned(folder: Path, name: str, revision: str = "main") -> Path:
    """A fresh clone in the same world, as a runner has it: no data, no cache."""
    place = folder.parent / name
    starter.git(folder.parent, "clone", "-q", "origin.git", name)
    starter.git(place, "remote", "set-url", "origin", "../origin.git")
    starter.git(place, "checkout", "-q", revision)
    return place


def outputs(path: Path) -> dict[str, str]:
    """What a step has written to $GITHUB_OUTPUT."""
    rows = path.read_text().splitlines() if path.exists() else []
    return dict(row.split("=", 1) for row in rows)


def event(path: Path, head: str) -> None:
    """Let the job's event be of this head."""
    content = json.loads(path.read_text())
    content["pull_request"]["head"]["sha"] = head
    path.write_text(json.dumps(content))
