"""`trunkline push`: what it claims is in the remote, and what it hands over."""

from pathlib import Path

import pytest

import pull_request as pr
import starter
from trunkline import params
from trunkline.clients import artifact
from trunkline.errors import Error
from trunkline.operations import push


@pytest.fixture
def clone(merged, tmp_path, monkeypatch) -> Path:
    place = pr.copied(merged.parent, tmp_path / "world")
    monkeypatch.chdir(place)
    return place


def run(folder: Path) -> str:
    return push.run(params.load(folder / "params.yaml"))


def test_a_finished_run_is_proven_and_handed_over_with_its_commit(clone):
    head = starter.git(clone, "rev-parse", "HEAD")
    proven, advice, where = run(clone).splitlines()
    assert proven.startswith("the remote storage holds all 14 objects of dvc.lock")
    assert advice == "make DVC verify what it fetches: dvc remote modify storage verify true"
    assert where == f"artifact/ holds the 11 files of {head[:12]} to adopt"
    named, found = artifact.read(clone / "artifact")
    assert named == head
    assert found["dvc.lock"] == (clone / "dvc.lock").read_bytes()
    written = (path.relative_to(clone) for path in (clone / "reports").rglob("*") if path.is_file())
    assert set(found) == {"dvc.lock", *map(str, written)}


def test_a_run_that_is_not_finished_hands_nothing_over(clone):
    run(clone)
    starter.settings(clone, train__epochs=2)
    pr.commit(clone, "not run")
    with pytest.raises(Error, match=r"2 stages have not run: train: params\.yaml: train changed"):
        run(clone)
    assert not (clone / "artifact").exists(), "nor does what an earlier run has handed over stay"


def test_a_run_of_a_tree_that_was_not_committed_hands_nothing_over(clone):
    (clone / "more.py").write_text("x = 1\n")
    with pytest.raises(Error, match="files besides dvc.lock and reports/ differ"):
        run(clone)


def test_a_remote_that_fails_leaves_no_artifact(clone):
    (clone.parent / "storage/runs").rename(clone.parent / "storage/gone")
    (clone.parent / "storage/runs").write_text("in the way")
    with pytest.raises(Error, match="run cache"):
        run(clone)
    assert not (clone / "artifact").exists()
