"""`trunkline gate` on real reports in a real DVC pipeline."""

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


def test_no_report_can_give_a_command_to_github_actions(pipeline):
    check = Check(name="x", verdict=Verdict.FAIL, value=None, limit=None, message="as\n::add-mask::measured")
    files.write_text(Path("reports/compare.json"), Report.of("compare", (check,), {}, {}).text())
    assert not any(line.startswith("::") for line in run(pipeline)[0].splitlines())
