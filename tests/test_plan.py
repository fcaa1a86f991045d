"""`trunkline plan` in a clone without data."""

from pathlib import Path

import pytest

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
def test_a_lock_that_cannot_be_read_has_to_be_made_again_and_says_how(clone, output, text):
    (clone / "dvc.lock").write_text(text)
    said = run(clone)
    assert "git checkout --ours dvc.lock reports" in said
    assert said.endswith("the pipeline has to run: dvc repro --pull")
    assert pr.outputs(output) == {"changed": "true"}


def test_a_pipeline_that_cannot_be_read_is_an_error_and_no_verdict(clone, output):
    (clone / "dvc.yaml").write_text("stages: [")
    with pytest.raises(Error, match=r"dvc\.yaml"):
        run(clone)
    assert pr.outputs(output) == {}
