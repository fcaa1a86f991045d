"""`trunkline adopt`: what it takes from a training job, and what it never does with it."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

import pull_request as pr
import starter
from trunkline import cli, params
from trunkline.clients import artifact, files
from trunkline.clients.git import branches
from trunkline.errors import Error
from trunkline.operations import adopt
from trunkline.verdict import Verdict


@pytest.fixture(scope="module")
def trained(merged, tmp_path_factory) -> Path:
    """The runner's clone of a pull request after its run, with the artifact that `trunkline push` writes."""
    clone = pr.copied(merged.parent, tmp_path_factory.mktemp("trained") / "world")
    head = pr.propose(clone, train__epochs=2)
    pr.repro(clone)
    pr.page(clone, Verdict.PASS)
    with pr.standing_in(clone):
        artifact.write(head)
    starter.git(clone, "checkout", "-q", "--", ".")
    return clone


@pytest.fixture
def base(trained, tmp_path, output, monkeypatch) -> Path:
    """The base branch's clone in the job that may write, beside the unpacked artifact."""
    world = tmp_path / "world"
    clone = pr.copied(trained.parent, world)
    place = pr.cloned(clone, "base")
    shutil.copytree(clone / "artifact", place / "artifact")
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def head(trained) -> str:
    return starter.git(trained, "rev-parse", pr.BRANCH)


def run(base: Path, commit: str, branch: str = pr.BRANCH) -> str:
    return adopt.run(params.load(base / "params.yaml"), Path("artifact"), commit, branch)


def tip(base: Path) -> str:
    return starter.git(base, "ls-remote", "origin", f"refs/heads/{pr.BRANCH}").split()[0]


def rewrite(path: str, content: str) -> None:
    """Change a file of the artifact and its manifest, as who writes one may."""
    files.write_text(Path("artifact") / path, content)
    found = dict(artifact._contents(Path("artifact")))
    manifest = json.loads(Path("artifact/artifact.json").read_text())
    manifest["files"] = {name: artifact._sha256(text) for name, text in found.items()}
    Path("artifact/artifact.json").write_text(json.dumps(manifest))


def test_exactly_the_lock_and_the_reports_are_committed_and_the_tree_stays_as_it_is(base, head, output):
    before = starter.git(base, "rev-parse", "HEAD")
    said = run(base, head)
    made = tip(base)
    assert said == f"{made} on {pr.BRANCH} holds dvc.lock and reports/ of {head[:12]} (1 files)"
    assert pr.outputs(output) == {"outcome": "adopted", "commit": made}
    assert starter.git(base, "diff", "--name-only", head, made) == "dvc.lock"
    assert starter.git(base, "log", "-1", "--format=%P %s", made) == f"{head} Record the run of {head[:12]}"
    assert starter.git(base, "rev-parse", "HEAD") == before
    assert starter.git(base, "status", "--porcelain") == ""


def test_what_is_there_already_is_not_committed_again(base, head, output):
    run(base, head)
    made = tip(base)
    manifest = json.loads(Path("artifact/artifact.json").read_text())
    Path("artifact/artifact.json").write_text(json.dumps(manifest | {"head": made}))
    assert "nothing to commit" in run(base, made)
    assert pr.outputs(output) == {"outcome": "unchanged", "commit": made}
    assert tip(base) == made


def test_a_report_that_the_run_did_not_leave_is_removed(base, head):
    world = base.parent / "clone"
    (world / "reports/old.md").write_text("old")
    moved = pr.commit(world, "with an old report")
    starter.git(world, "push", "-q", "origin", pr.BRANCH)
    manifest = json.loads(Path("artifact/artifact.json").read_text())
    Path("artifact/artifact.json").write_text(json.dumps(manifest | {"head": moved}))
    run(base, moved)
    assert starter.git(base, "diff", "--name-status", moved, tip(base)).split() == [
        "M",
        "dvc.lock",
        "D",
        "reports/old.md",
    ]


def test_a_job_that_died_after_its_push_is_run_again_and_finds_its_commit(base, head, output):
    run(base, head)
    made = tip(base)
    assert run(base, head).startswith(f"{made} already holds")
    assert pr.outputs(output) == {"outcome": "unchanged", "commit": made}


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_branch_that_has_moved_on_is_superseded_and_keeps_its_commit(base, head, output, monkeypatch, when):
    def move() -> None:
        world = base.parent / "clone"
        (world / "more.txt").write_text("more")
        pr.commit(world, "one more")
        starter.git(world, "push", "-q", "origin", pr.BRANCH)

    push = branches.push
    if when == "before":
        move()
    else:
        monkeypatch.setattr(branches, "push", lambda *arguments: (move(), push(*arguments)))
    said = run(base, head)
    assert said == f"superseded: {pr.BRANCH} is no longer at {head[:12]}; the run of its new head decides"
    assert pr.outputs(output) == {"outcome": "superseded", "commit": ""}
    assert starter.git(base.parent / "clone", "rev-parse", pr.BRANCH) == tip(base)


def test_a_branch_that_is_gone_is_superseded(base, head):
    starter.git(base, "push", "-q", "origin", f":refs/heads/{pr.BRANCH}")
    assert run(base, head) == f"superseded: origin has no branch {pr.BRANCH}: it is gone, or was not pushed yet"


def test_by_default_it_is_the_commit_and_branch_checked_out_here(base, head, capsys):
    starter.git(base, "checkout", "-q", pr.BRANCH)
    assert cli.main(["adopt", "artifact"]) == 0
    assert tip(base) in capsys.readouterr().out
    starter.git(base, "checkout", "-q", "--detach")
    assert cli.main(["adopt", "artifact"]) == 1
    assert "give the pull request's branch with --branch" in capsys.readouterr().err


def test_an_artifact_of_another_commit_is_refused(base, head):
    other = starter.git(base, "rev-parse", "HEAD")
    with pytest.raises(Error, match=f"the artifact is of commit {head[:12]}, not of {other[:12]}"):
        run(base, other, "main")


@pytest.mark.parametrize("commit", ["HEAD", "main", "abc", "--all", "A" * 40])
def test_what_is_no_full_commit_is_refused(base, commit):
    with pytest.raises(Error, match="no commit of 40 hex digits"):
        run(base, commit)


def test_a_lock_that_would_let_stages_run_again_is_refused_so_that_no_run_follows_its_own_commit(base, head):
    rewrite("dvc.lock", starter.git(base, "show", "main:dvc.lock") + "\n# of another run\n")
    with pytest.raises(Error, match=r"train would have to run again: params\.yaml: train changed"):
        run(base, head)
    assert tip(base) == head


def test_a_forged_report_does_not_fit_the_lock(base, head):
    text = Path("artifact/reports/compare.json").read_text()
    rewrite("reports/compare.json", text.replace("as measured", "as wished"))
    with pytest.raises(Error, match=r"compare would have to run again: reports/compare\.json is not what was recorded"):
        run(base, head)
    assert tip(base) == head


def test_a_run_of_a_branch_whose_pipeline_lost_a_stage_is_refused(base, head):
    """After it nothing would have to run, and nobody could tell of what compare.json is."""
    world = base.parent / "clone"
    (world / "dvc.yaml").write_text(pr.PIPELINE[: pr.PIPELINE.index("  compare:")])
    moved = pr.commit(world, "without compare")
    starter.git(world, "push", "-q", "origin", pr.BRANCH)
    recorded = yaml.safe_load(Path("artifact/dvc.lock").read_text())
    del recorded["stages"]["compare"]
    rewrite("dvc.lock", yaml.safe_dump(recorded, sort_keys=False))
    manifest = json.loads(Path("artifact/artifact.json").read_text())
    Path("artifact/artifact.json").write_text(json.dumps(manifest | {"head": moved}))
    with pytest.raises(Error, match=r"no stage of dvc\.yaml writes reports/"):
        run(base, moved)
    assert tip(base) == moved


FORGED = {
    "stranger": ("dvc.lock", "schema: '2.0'\nstages:\n  evil: {cmd: x}\n", "stages that dvc.yaml does not have"),
    "conflict": ("dvc.lock", "<<<<<<< HEAD\n", "conflict markers"),
    "no report": ("reports/compare.json", '{"verdict": "pass"}', "is no report: step: Field required"),
    "other step": ("reports/extra.json", None, "the report of another step"),
    "no JSON": ("reports/train/metrics.json", "pass", "is not JSON"),
    "deep JSON": ("reports/train/metrics.json", "[" * 100_000, "is not JSON"),
}


@pytest.mark.parametrize(("path", "text", "message"), FORGED.values(), ids=FORGED)
def test_what_is_not_what_it_should_be_is_refused(base, head, path, text, message):
    rewrite(path, text or Path("artifact/reports/compare.json").read_text())
    with pytest.raises(Error, match=message):
        run(base, head)
    assert tip(base) == head


def test_a_branch_that_may_not_be_pushed_to_is_an_error(base, head):
    hook = base.parent / "origin.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho protected branch >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Error, match="cannot push to origin"):
        run(base, head)
    assert tip(base) == head
