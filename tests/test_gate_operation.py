"""`trunkline gate` on real reports in a real DVC pipeline."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pull_request as pr
import starter
from trunkline import cli, findings
from trunkline.clients import files
from trunkline.operations import gate
from trunkline.records import Report
from trunkline.verdict import Check, Verdict

PIPELINE = """
stages:
  compare:
    cmd: echo ran
    deps: [input.txt]
    metrics:
"""
for _step in findings.REQUIRED:
    PIPELINE += f"    - reports/{_step}.json:\n        cache: false\n"


def write(step: str, verdict: Verdict) -> None:
    check = Check(name=f"{step}.limit", verdict=verdict, value=None, limit=None, message="as measured")
    files.write_text(Path(f"reports/{step}.json"), Report.of(step, (check,), {}, {}).text())


def dvc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, check=True)


@pytest.fixture
def pipeline(in_tmp: Path) -> Path:
    starter.settings(in_tmp)
    for step in findings.REQUIRED:
        write(step, Verdict.PASS)
    (in_tmp / "input.txt").write_text("data")
    (in_tmp / "dvc.yaml").write_text(PIPELINE)
    dvc("init", "--no-scm", "-q")
    dvc("commit", "--force", "-q")
    return in_tmp


def run(folder: Path) -> tuple[str, Verdict]:
    return gate.run(starter.settings(folder))


def test_everything_passed_and_up_to_date_exits_with_0(pipeline, capsys):
    text, verdict = run(pipeline)
    assert (text, verdict) == ("support-triage: pass (every check of 7 reports passed)", Verdict.PASS)
    assert cli.main(["gate"]) == 0
    assert capsys.readouterr().out.strip() == text


def test_a_failed_check_exits_with_3_and_is_the_first_line(pipeline, capsys):
    write("data", Verdict.INCONCLUSIVE)
    write("compare", Verdict.FAIL)
    dvc("commit", "--force", "-q")
    assert cli.main(["gate"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["fail", "compare", "compare.limit:", "as", "measured"]
    assert lines[-1] == "support-triage: fail (1 failed, 1 for a human to decide)"


def test_a_missing_report_exits_with_4(pipeline):
    Path("reports/train.json").unlink()
    assert cli.main(["gate"]) == 4


def test_a_changed_input_makes_the_reports_stale(pipeline):
    (pipeline / "input.txt").write_text("other data")
    text, verdict = run(pipeline)
    assert verdict is Verdict.INCONCLUSIVE
    assert "compare changed): run `dvc repro`" in text


def test_a_report_edited_by_hand_is_stale(pipeline):
    write("compare", Verdict.FAIL)
    dvc("commit", "--force", "-q")
    write("compare", Verdict.PASS)
    assert run(pipeline)[1] is Verdict.INCONCLUSIVE


def test_a_report_that_no_stage_writes_is_no_pass_though_dvc_has_nothing_to_run(pipeline):
    path = pipeline / "dvc.yaml"
    path.write_text(path.read_text().replace("    - reports/train.json:\n        cache: false\n", ""))
    dvc("commit", "--force", "-q")
    text, verdict = run(pipeline)
    assert verdict is Verdict.INCONCLUSIVE
    assert "train       no stage of dvc.yaml writes reports/train.json" in text


def test_without_a_pipeline_nothing_passes(pipeline):
    (pipeline / "dvc.yaml").unlink()
    text, verdict = run(pipeline)
    assert verdict is Verdict.INCONCLUSIVE
    assert "dvc.yaml not found" in text


def test_a_commit_is_judged_by_what_it_holds_and_not_by_the_working_tree(merged, tmp_path, monkeypatch, capsys):
    clone = pr.copied(merged.parent, tmp_path / "world")
    commit = starter.git(clone, "rev-parse", "HEAD")
    base = pr.cloned(clone, "base")
    monkeypatch.chdir(base)
    (base / "reports/compare.json").unlink()
    assert cli.main(["gate", "--commit", commit]) == 0
    assert "every check of 7 reports passed" in capsys.readouterr().out
    (clone / "data/raw/2026-07.jsonl").write_text("other data\n")
    changed = pr.commit(clone, "other data")
    starter.git(clone, "push", "-q", "origin", "main")
    assert cli.main(["gate", "--commit", changed]) == 4
    assert "data, train, compare changed" in capsys.readouterr().out


@pytest.mark.parametrize("lost", ["compare", "every stage", "dvc.yaml"])
def test_a_commit_whose_pipeline_lost_a_stage_is_inconclusive(merged, tmp_path, monkeypatch, capsys, lost):
    """What is not in dvc.yaml is never stale."""
    clone = pr.copied(merged.parent, tmp_path / "world")
    monkeypatch.chdir(clone)
    path = clone / "dvc.yaml"
    if lost == "compare":
        path.write_text(pr.PIPELINE[: pr.PIPELINE.index("  compare:")])
    elif lost == "every stage":
        path.write_text("stages: {}\n")
    else:
        path.unlink()
    commit = pr.commit(clone, "a stage less")
    assert cli.main(["gate", "--commit", commit]) == 4
    said = capsys.readouterr().out
    assert "compare     no stage of dvc.yaml writes reports/compare.json" in said
    assert ("base        no stage" in said) is (lost != "compare")


@pytest.fixture
def world(merged, tmp_path, monkeypatch) -> Path:
    """A developer's clone of a finished run on main; the job that judges has its own, and the test runs there."""
    clone = pr.copied(merged.parent, tmp_path / "world")
    monkeypatch.chdir(pr.cloned(clone, "base"))
    return clone


def pushed(clone: Path, message: str) -> str:
    commit = pr.commit(clone, message)
    starter.git(clone, "push", "-q", "origin", f"HEAD:refs/heads/{pr.BRANCH}")
    return commit


def test_a_commit_compared_with_what_serves_no_more_is_inconclusive(world, capsys):
    main = starter.git(world, "rev-parse", "HEAD")
    for name in ("support-triage@v0.1.0", "support-triage#production#1"):
        starter.git(world, "tag", "-am", "support-triage v0.1.0", name)
    starter.git(world, "push", "-q", "--tags")
    assert cli.main(["gate", "--commit", main]) == 4
    said = "compared with the untuned base model, but v0.1.0 serves in production: run `trunkline pin`"
    assert f"production  {said}" in capsys.readouterr().out
    pr.pin(world, "v0.1.0", main)
    assert cli.main(["gate", "--commit", pushed(world, "pin")]) == 0


def test_a_commit_without_a_pin_is_inconclusive(world, capsys):
    (world / "data/production.json").unlink()
    assert cli.main(["gate", "--commit", pushed(world, "no pin")]) == 4
    assert "production  data/production.json not found: `trunkline pin` writes it" in capsys.readouterr().out


def undecided(clone: Path) -> str:
    """Let main hold an inconclusive verdict that a human let through."""
    pr.found(clone, "compare", Verdict.INCONCLUSIVE)
    pr.repro(clone, pull=True)
    commit = pr.commit(clone, "an inconclusive candidate")
    starter.git(clone, "push", "-q", "origin", "HEAD:main")
    return commit


def test_a_branch_that_changes_nothing_that_is_judged_does_not_get_its_bases_verdict(world, capsys):
    main = undecided(world)
    (world / "notes.md").write_text("what we have learned")
    commit = pushed(world, "notes")
    assert cli.main(["gate", "--commit", commit]) == 4
    capsys.readouterr()
    assert cli.main(["gate", "--commit", commit, "--base", main]) == 0
    assert capsys.readouterr().out == "support-triage: pass (nothing that is judged has changed)\n"


def test_what_main_has_run_since_is_no_change_of_the_branch(world):
    (world / "notes.md").write_text("what we have learned")
    commit = pushed(world, "notes")
    starter.git(world, "checkout", "-q", "HEAD^")
    assert cli.main(["gate", "--commit", commit, "--base", undecided(world)]) == 0


def edit_params(clone: Path) -> None:
    starter.settings(clone, gate__margin=0.5)


def edit_report(clone: Path) -> None:
    pr.found(clone, "compare", Verdict.PASS)
    shutil.copy(clone / "found/compare.json", clone / "reports/compare.json")


def lose_a_stage(clone: Path) -> None:
    (clone / "dvc.yaml").write_text(pr.PIPELINE[: pr.PIPELINE.index("  compare:")])


def depend_on_less(clone: Path) -> None:
    """Then DVC has nothing to run, however the gate is changed."""
    (clone / "dvc.yaml").write_text(pr.PIPELINE.replace("    params: [gate]\n", ""))
    edit_params(clone)


def run_again(clone: Path) -> None:
    starter.settings(clone, train__epochs=9)
    pr.repro(clone, pull=True)


@pytest.mark.parametrize("change", [edit_params, edit_report, lose_a_stage, depend_on_less, run_again])
def test_whoever_changes_what_is_judged_is_judged(world, change):
    main = undecided(world)
    change(world)
    assert cli.main(["gate", "--commit", pushed(world, "a change"), "--base", main]) == 4


def test_a_return_to_an_earlier_run_is_judged(world):
    """The branch has left main after that run, so what it holds is its own."""
    first = starter.git(world, "rev-parse", "HEAD")
    main = undecided(world)
    starter.git(world, "checkout", "-q", first, "--", ".")
    pr.found(world, "data", Verdict.FAIL)
    pr.repro(world, pull=True)
    again = pushed(world, "as it was, and worse")
    assert cli.main(["gate", "--commit", again, "--base", main]) == 3


def test_a_branch_that_shares_nothing_with_its_base_is_judged(world):
    main = undecided(world)
    starter.git(world, "checkout", "-q", "--orphan", "alone")
    assert cli.main(["gate", "--commit", pushed(world, "alone"), "--base", main]) == 4


def test_no_report_can_give_a_command_to_github_actions(pipeline):
    check = Check(name="x", verdict=Verdict.FAIL, value=None, limit=None, message="as\n::add-mask::measured")
    files.write_text(Path("reports/compare.json"), Report.of("compare", (check,), {}, {}).text())
    assert not any(line.startswith("::") for line in run(pipeline)[0].splitlines())
