"""A merged pull request, made up: a commit with dvc.lock and reports on a bare origin, its data in a DVC remote."""

import contextlib
import hashlib
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import polars as pl
import yaml
from dvc.repo import Repo

import finished
import starter
from trunkline import params
from trunkline.clients import files
from trunkline.clients.weights import identify
from trunkline.records import Base, Production, Report, Task
from trunkline.stages import compare, data, features

COUNT = 240
SOURCE = "src/trunkline/scoring.py"


class Places(NamedTuple):
    """Where a project lives: the bare repository, the DVC remote, and the working copy it was made in."""

    origin: Path
    remote: Path
    work: Path


def build(
    folder: Path, base: Path | None = None, adapter: Path | None = None, prompt: str | None = None, **changes: object
) -> Places:
    """Commit, push and `dvc push` one; its weights are words where none are given, its prompt this project's."""
    places = Places(folder / "origin.git", folder / "remote", folder / "work")
    places.remote.mkdir()
    starter.git(folder, "init", "-q", "--bare", str(places.origin))
    work = places.work
    work.mkdir()
    starter.git(work, "init", "-q")
    starter.git(work, "remote", "add", "origin", str(places.origin))
    for name in (".gitignore", "requirements.lock"):
        shutil.copyfile(starter.ROOT / name, work / name)
    starter.inputs(work)
    if prompt is not None:
        files.write_text(work / "data/prompts/triage.jinja", prompt)
    # No partition is new, so that none is compared: every process would load scipy for it.
    known = ("2026-07.jsonl", "2026-08.jsonl")
    pin = Production(release=None, revision=None, weights=None, partitions=known)
    files.write_text(work / "data/production.json", pin.text())
    pipeline(work)
    starter.write_rows(work / "data/raw/2026-07.jsonl", starter.rows(COUNT))
    own = {"evaluate__scorers": ["exact_match", "valid_json", "nll"], "features__holdout": 0.7}
    starter.settings(work, **own | changes)
    models(work, base)
    Repo.init(str(work)).close()
    # What `dvc remote add --default` writes.
    (work / ".dvc/config").write_text(
        f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {places.remote}\n"
    )
    run(work, adapter=adapter)
    commit(work, "first candidate")
    push(work)
    return places


def pipeline(work: Path) -> None:
    """This project's dvc.yaml with one of its own sources only: DVC is slow where it has many to read."""
    content = yaml.safe_load((starter.ROOT / "dvc.yaml").read_text())
    for stage in content["stages"].values():
        stage["deps"] = [dep for dep in stage["deps"] if dep == SOURCE or not dep.startswith("src/trunkline/")]
    (work / "dvc.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (work / SOURCE).parent.mkdir(parents=True)
    (work / SOURCE).write_text("# how answers are scored\n")


def models(work: Path, base: Path | None = None) -> None:
    """Write models/base/ and what the base model is as production; words where no real one is given."""
    folder = work / "models/base"
    if base is not None:
        shutil.copytree(base, folder)
    else:
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text("base weights")
        (folder / "config.json").write_text('{"rope_theta": 10000.0}')
        files.write_text(folder / "base.json", identify("path:somewhere", folder).text())
    finished.bundle(work, "production", **_made_on(folder))


def train(work: Path, weights: str, adapter: Path | None = None) -> None:
    """Write models/candidate/: an adapter's two files, or words in their place."""
    folder = work / "models/candidate"
    folder.mkdir(exist_ok=True)
    contents = {"adapter_model.safetensors": weights.encode(), "adapter_config.json": b"{}"}
    for name, content in contents.items():
        (folder / name).write_bytes(content if adapter is None else (adapter / name).read_bytes())
    hashes = {name: files.sha256(folder / name) for name in contents}
    trained_on = files.sha256(work / "data/train.parquet")
    known = {"weights": hashes, "trained_on": trained_on, "task": Task.read(work / "data/task.json")}
    finished.bundle(work, "candidate", **_made_on(work / "models/base"), **known)


def _made_on(base: Path) -> dict[str, object]:
    record = Base.read(base / "base.json")
    return {"base": record.sha256, "configuration": record.configuration}


def run(work: Path, weights: str = "first candidate", right: float = 0.95, adapter: Path | None = None) -> None:
    """What `dvc repro` leaves: data, models, reports and dvc.lock; the candidate is right in such a share."""
    settings = params.load(work / "params.yaml")
    with contextlib.chdir(work):
        data.run(settings)
        features.run(settings)
    count = pl.read_parquet(work / "data/holdout.parquet").height
    train(work, weights, adapter)
    finished.predict(work, "production", finished.share(count, 0.70, seed=1))
    finished.predict(work, "candidate", finished.share(count, right, seed=2))
    finished.reports(work, ("base", "production", "train", "evaluate"))
    for name in ("reports/train/plots/metrics/loss.tsv", "reports/train/metrics.json"):
        files.write_text(work / name, json.dumps({"step": 1}))
    with contextlib.chdir(work):
        compare.run(settings)
        with Repo() as repo:
            repo.commit(force=True)


def commit(work: Path, message: str) -> str:
    """Commit everything and push it to the origin's main, as a merge does."""
    starter.git(work, "add", "-A")
    starter.git(work, "commit", "-qm", message)
    starter.git(work, "push", "-q", "origin", "HEAD:main")
    return starter.git(work, "rev-parse", "HEAD")


def push(work: Path) -> None:
    """As `dvc push`, without the seconds that its command line takes to start."""
    with contextlib.chdir(work), Repo() as repo:
        repo.push()


def clone(origin: Path, folder: Path, *options: str) -> Path:
    """What a runner checks out: the origin's main, without any data."""
    starter.git(folder.parent, "clone", "-q", "--branch", "main", *options, str(origin), str(folder))
    return folder


def configure(work: Path, **changes: object) -> None:
    """Change params.yaml of a working copy by `section__key=value`, keeping the rest."""
    path = work / "params.yaml"
    content = yaml.safe_load(path.read_text())
    for name, value in changes.items():
        section, key = name.split("__")
        content[section][key] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def add_partition(work: Path, month: str) -> None:
    """Put a month of raw rows under DVC, as a user does with one that is too large for Git."""
    path = work / f"data/raw/{month}.jsonl"
    starter.write_rows(path, starter.rows(30, month, seed=1))
    with contextlib.chdir(work), Repo() as repo:
        repo.add(str(path.relative_to(work)))


def record(work: Path, report: Report) -> None:
    """Write another report as if its stage had, with its hash in dvc.lock."""
    path = work / f"reports/{report.step}.json"
    before = _md5(path)
    size = path.stat().st_size
    files.write_text(path, report.text())
    lock = work / "dvc.lock"
    now = f"{_md5(path)}\n      size: {path.stat().st_size}"
    old = f"{before}\n      size: {size}"
    assert old in lock.read_text()
    lock.write_text(lock.read_text().replace(old, now))


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
