"""A scratch repository with two real releases: data in Git and DVC, a candidate in DVC, manifests with true hashes."""

import contextlib
import json
from pathlib import Path

import polars as pl
import yaml
from dvc.repo import Repo

import releases
import starter
from finished import TASK
from trunkline import params
from trunkline.clients import files
from trunkline.records import Bundle
from trunkline.records.release import Content
from trunkline.split import in_holdout

TRAIN, HOLDOUT, CANDIDATE = "data/train.parquet", "data/holdout.parquet", "models/candidate"
IN_GIT, IN_DVC, ADDED = "data/raw/2026-07.jsonl", "data/raw/2026-08.jsonl", "data/raw/2026-09.jsonl"
PIPELINE = f"""
stages:
  train:
    cmd: mkdir -p models && cp -r made/data/. data/ && cp -r made/models/. models/
    deps: [made]
    outs: [{TRAIN}, {HOLDOUT}, {CANDIDATE}]
"""


def build(folder: Path) -> dict[str, str]:
    """Make the repository with releases v1.0.0 (two partitions) and v1.1.0 (three); returns their commits.

    The customers of a partition are ``c-<seed>-<number>``, the seeds 0, 1 and 2; those of 0 were rejected.
    """
    starter.git(folder, "init", "-q")
    starter.git(folder, "config", "user.name", "ann")
    starter.git(folder, "config", "user.email", "ann@example.com")
    with contextlib.chdir(folder), Repo.init(".") as repo:
        starter.settings(folder)
        (folder / "dvc.yaml").write_text(PIPELINE)
        commits = {}
        for version, paths in (("v1.0.0", (IN_GIT, IN_DVC)), ("v1.1.0", (IN_GIT, IN_DVC, ADDED))):
            for seed, path in enumerate(paths):
                starter.write_rows(folder / path, starter.rows(20, Path(path).stem, seed))
            repo.add([path for path in paths if path != IN_GIT])
            train(folder, version, len(paths))
            repo.reproduce()
            starter.git(folder, "add", "-A")
            starter.git(folder, "commit", "-qm", f"train {version}")
            commits[version] = starter.git(folder, "rev-parse", "HEAD")
            release(folder, version, commits[version], paths)
    return commits


def train(folder: Path, weights: str, partitions: int) -> None:
    """What training made, in `made/`, from which the stage copies it."""
    settings = params.load(folder / "params.yaml").features
    customers = [f"c-{seed}-{number // 2}" for seed in range(1, partitions) for number in range(20)]
    frame = pl.DataFrame({"id": [f"m-{number}" for number in range(len(customers))], "customer": customers})
    held = pl.Series([in_holdout(customer, settings.salt, settings.holdout) for customer in customers])
    files.write_table(folder / "made" / TRAIN, frame.filter(~held))
    files.write_table(folder / "made" / HOLDOUT, frame.filter(held))
    candidate = folder / "made" / CANDIDATE
    files.write_text(candidate / releases.ADAPTER, weights)
    bundle = Bundle(
        kind="lora",
        release=None,
        base="b" * 64,
        weights={releases.ADAPTER: files.sha256(candidate / releases.ADAPTER)},
        task=TASK,
        partitions=(),
        trained_on=files.sha256(folder / "made" / TRAIN),
        params={},
    )
    files.write_text(candidate / "bundle.json", bundle.text())


def release(folder: Path, version: str, commit: str, partitions: tuple[str, ...]) -> None:
    """Tag the commit with a manifest of what is in the working tree."""
    md5s = {out["path"]: out["md5"] for out in _lock(folder)}
    md5s |= {path: _pointer(folder / f"{path}.dvc") for path in partitions if path != IN_GIT}
    data = {
        path: Content(md5=md5s.get(path), sha256=files.sha256(folder / path)) for path in (*partitions, TRAIN, HOLDOUT)
    }
    releases.release(
        version,
        commit,
        lock=files.sha256(folder / "dvc.lock"),
        data=data,
        weights={releases.ADAPTER: files.sha256(folder / CANDIDATE / releases.ADAPTER)},
        params=params.load(folder / "params.yaml").model_dump(mode="json", by_alias=True),
    )


def cached(folder: Path, md5: str) -> Path:
    """The object of DVC's cache."""
    return folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def _lock(folder: Path) -> list[dict[str, str]]:
    return yaml.safe_load((folder / "dvc.lock").read_text())["stages"]["train"]["outs"]


def _pointer(path: Path) -> str:
    return yaml.safe_load(path.read_text())["outs"][0]["md5"]


def manifest_of(folder: Path, version: str) -> dict:
    """A release's manifest as its tag carries it."""
    text = starter.git(folder, "tag", "-l", "--format=%(contents:body)", f"{releases.MODEL}@{version}")
    return json.loads(text)
