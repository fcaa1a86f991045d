"""`trunkline plan` in a clone without data."""

from pathlib import Path

import pytest
from dvc.exceptions import DvcException

import pull_request as pr
import starter
from trunkline import cli, params
from trunkline.errors import Error
from trunkline.operations import plan


@pytest.fixture
def clone(merged, tmp_path, output, monkeypatch) -> Path:
    place = pr.cloned(pr.copied(merged.parent, tmp_path / "world"), "hosted")
    monkeypatch.chdir(place)
    return place


def run(folder: Path) -> str:
    return plan.run(params.load(folder / "params.yaml"))


def test_after_a_finished_run_there_is_nothing_to_run(clone, output):
    assert run(clone) == "nothing has changed: there is nothing to run"
    assert pr.outputs(output) == {"changed": "false"}


def test_other_params_name_the_stages_and_what_training_may_cost(clone, output, capsys):
    starter.settings(clone, train__epochs=2, train__max_gpu_hours=0.5)
    assert cli.main(["plan"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "train       params.yaml: train changed",
        "compare     models/candidate is made again by train",
        "train       may take 0.5 GPU hours (train.max_gpu_hours); the last run took 0.25",
        "2 stages have to run: dvc repro --pull",
    ]
    assert pr.outputs(output) == {"changed": "true"}


def test_a_budget_below_what_the_last_run_took_is_told(clone):
    starter.settings(clone, train__max_gpu_hours=0.1)
    assert "the last run took 0.25, so it may not end" in run(clone)


def test_without_a_report_of_training_only_the_budget_is_told(clone):
    (clone / "reports/train.json").unlink()
    assert "may take 4 GPU hours (train.max_gpu_hours)\n" in run(clone)


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> better\n", "stages: [", "[]"])
def test_a_lock_that_cannot_be_read_is_an_error_with_the_command_as_no_run_could_read_it_either(clone, output, text):
    (clone / "dvc.lock").write_text(text)
    with pytest.raises(Error, match=r"dvc\.lock") as caught:
        run(clone)
    assert "git checkout origin/main -- dvc.lock reports" in caught.value.hint
    assert pr.outputs(output) == {}
    with pr.standing_in(clone), pytest.raises(DvcException):
        pr.repro(clone, pull=True)
    starter.git(clone, "checkout", "-q", "origin/main", "--", "dvc.lock", "reports")
    assert run(clone) == "nothing has changed: there is nothing to run"


def test_without_a_lock_everything_has_to_run(clone, output):
    (clone / "dvc.lock").unlink()
    assert run(clone).endswith("3 stages have to run: dvc repro --pull")
    assert pr.outputs(output) == {"changed": "true"}


def promoted(clone: Path) -> str:
    """Let a commit of the clone serve in production, and return it."""
    commit = starter.git(clone, "rev-parse", "HEAD")
    for name in ("support-triage@v0.1.0", "support-triage#production#1"):
        starter.git(clone, "tag", "-am", "support-triage v0.1.0", name)
    starter.git(clone, "push", "-q", "--tags")
    return commit


def test_a_comparison_with_what_serves_no_more_is_not_run(clone, output):
    commit = promoted(clone)
    assert run(clone) == "nothing has changed: there is nothing to run", "and a branch that changes nothing may merge"
    starter.settings(clone, train__epochs=2)
    said = "compared with the untuned base model, but v0.1.0 serves in production: run `trunkline pin`"
    assert run(clone).splitlines() == [
        "train       params.yaml: train changed",
        "compare     models/candidate is made again by train",
        f"production  {said}",
        "inconclusive: nothing is run before that is mended",
    ]
    assert pr.outputs(output) == {"changed": "false"}
    pr.pin(clone, "v0.1.0", commit)
    assert run(clone).endswith("2 stages have to run: dvc repro --pull")
    assert pr.outputs(output) == {"changed": "true"}


def test_a_pipeline_that_lost_a_stage_is_not_run(clone, output):
    path = clone / "dvc.yaml"
    path.write_text(
        path.read_text().replace("    - reports/evaluate.json:\n        cache: false\n", "").replace("gate", "data")
    )
    said = run(clone)
    assert "evaluate    no stage of dvc.yaml writes reports/evaluate.json" in said
    assert said.endswith("inconclusive: nothing is run before that is mended")
    assert pr.outputs(output) == {"changed": "false"}


def test_a_pipeline_that_cannot_be_read_is_an_error_and_no_verdict(clone, output):
    (clone / "dvc.yaml").write_text("stages: [")
    with pytest.raises(Error, match=r"dvc\.yaml"):
        run(clone)
    assert pr.outputs(output) == {}
