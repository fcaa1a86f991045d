"""A pull request from its branch to its merge, with real Git and DVC: who runs what, and who writes what."""

import shutil
import subprocess
from pathlib import Path

import pytest

import github_double
import pull_request as pr
import starter
from trunkline import cli
from trunkline.verdict import Verdict

pytestmark = pytest.mark.slow


@pytest.fixture
def world(merged, tmp_path) -> Path:
    return pr.copied(merged.parent, tmp_path / "world")


def step(folder: Path, monkeypatch, *command: str) -> int:
    monkeypatch.chdir(folder)
    return cli.main(list(command))


def test_a_pull_request_trains_once_and_its_merge_trains_nothing(world, double, tmp_path, output, monkeypatch, capsys):
    github_double.job(double, tmp_path, monkeypatch)
    head = pr.propose(world, train__learning_rate=0.002)
    pr.event(tmp_path / "event.json", head)

    # plan: a hosted runner without data.
    hosted = pr.cloned(world, "hosted", head)
    assert step(hosted, monkeypatch, "plan") == 0
    assert pr.outputs(output) == {"changed": "true"}
    assert "params.yaml: train changed" in capsys.readouterr().out

    # train: the runner with a GPU fetches what it needs and runs what changed.
    runner = pr.cloned(world, "runner", head)
    before = pr.ran(world)
    pr.repro(runner, pull=True)
    assert pr.ran(world)[len(before) :] == ["train", "compare"]
    pr.page(runner, Verdict.PASS)
    assert step(runner, monkeypatch, "push") == 0
    assert "holds all 12 objects" in capsys.readouterr().out

    # report: a hosted runner with the base branch's code and the right to write.
    base = pr.cloned(world, "base")
    shutil.copytree(runner / "artifact", base / "artifact")
    assert step(base, monkeypatch, "adopt", "artifact", "--commit", head, "--branch", pr.BRANCH) == 0
    made = pr.outputs(output)["commit"]
    double.commits.add(made)
    assert starter.git(world, "ls-remote", "origin", f"refs/heads/{pr.BRANCH}").startswith(made)
    changed = starter.git(base, "diff", "--name-only", head, made).split()
    assert "dvc.lock" in changed
    assert all(name == "dvc.lock" or name.startswith("reports/") for name in changed)
    assert starter.git(base, "rev-parse", f"{made}^") == head
    assert step(base, monkeypatch, "comment", "--commit", made) == 0
    assert [(row["sha"], row["state"]) for row in double.statuses] == [(made, "success")]
    assert "what was found" in double.threads[42][0]["body"]
    assert step(base, monkeypatch, "gate", "--commit", made) == 0
    assert starter.git(base, "status", "--porcelain") == ""

    # The commit of the job starts nothing.
    starter.git(hosted, "fetch", "-q", "origin")
    starter.git(hosted, "checkout", "-q", made)
    assert step(hosted, monkeypatch, "plan") == 0
    assert pr.outputs(output)["changed"] == "false"

    # merge.
    starter.git(world, "checkout", "-q", "main")
    starter.git(world, "fetch", "-q", "origin")
    starter.git(world, "merge", "-q", "--no-ff", "-m", "merge", made)
    starter.git(world, "push", "-q", "origin", "main")
    fresh = pr.cloned(world, "fresh")
    assert step(fresh, monkeypatch, "plan") == 0
    assert pr.outputs(output)["changed"] == "false"
    assert pr.ran(world)[len(before) :] == ["train", "compare"]


def test_a_conflict_in_the_lock_is_told_and_settled_without_training_again(world, output, monkeypatch, capsys):
    main = starter.git(world, "rev-parse", "HEAD")

    # Two pull requests from the same main: one trains anew, the other judges by another limit. Both are run.
    for branch, changes in (("trains", {"train__epochs": 2}), ("judges", {"gate__margin": 0.05})):
        starter.git(world, "checkout", "-q", main)
        pr.propose(world, branch, **changes)
        pr.repro(world)
        pr.page(world, Verdict.PASS)
        assert step(world, monkeypatch, "push") == 0
        pr.commit(world, "its run")
    before = pr.ran(world)
    assert before.count("train") == 2

    # The first is merged. Other lines of dvc.lock changed in the second, and still they conflict: line by line
    # they would record a comparison of the one's model by the other's limit, which has never been made.
    starter.git(world, "checkout", "-q", "judges")
    with pytest.raises(subprocess.CalledProcessError):
        starter.git(world, "merge", "-q", "trains")
    assert starter.git(world, "diff", "--name-only", "--diff-filter=U") == "dvc.lock"
    assert "<<<<" not in (world / "dvc.lock").read_text()

    # Either side will do, and the pipeline runs again, on another machine.
    starter.git(world, "checkout", "--ours", "dvc.lock", "reports")
    merged = pr.commit(world, "merge main")
    capsys.readouterr()
    starter.git(world, "push", "-q", "origin", "judges")
    runner = pr.cloned(world, "runner", merged)
    assert step(runner, monkeypatch, "plan") == 0
    assert "params.yaml: train changed" in capsys.readouterr().out
    pr.repro(runner, pull=True)
    assert pr.ran(world)[len(before) :] == ["compare"], "the weights come from the run cache"
    assert step(runner, monkeypatch, "push") == 0
    assert step(runner, monkeypatch, "plan") == 0
    assert pr.outputs(output)["changed"] == "false"
