"""A stage run on data that are in no commit: the real one, in a folder of its own."""

from pathlib import Path

import pytest

import starter
from trunkline.clients import trial
from trunkline.errors import Error
from trunkline.records import Report
from trunkline.verdict import Verdict


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "tree"
    starter.write_rows(made / "data/raw/2026-07.jsonl", starter.rows(30))
    starter.inputs(made)
    starter.settings(made)
    return made


def test_the_report_is_the_stages_own_and_nothing_outside_is_touched(folder, in_tmp, monkeypatch):
    # Neither may the job's outputs be set nor a file of the folder be taken for a module.
    monkeypatch.setenv("GITHUB_OUTPUT", str(in_tmp / "output"))
    (folder / "polars.py").write_text("raise SystemExit('imported from the data')")
    found = trial.run("data", folder)
    assert (found.step, found.metrics["rows"]) == ("data", 30)
    assert not (in_tmp / "output").exists()
    assert not (in_tmp / "reports").exists()


def test_data_that_are_not_fit_have_a_report_that_says_so(folder):
    starter.write_rows(folder / "data/raw/2026-07.jsonl", [row | {"urgency": "soon"} for row in starter.rows(30)])
    assert trial.run("data", folder).verdict is Verdict.FAIL


def test_a_stage_that_cannot_judge_is_an_error_and_an_older_report_is_not_taken_for_its(folder):
    (folder / "reports").mkdir()
    (folder / "reports/data.json").write_text(Report.of("data", (), {}, {}).text())
    (folder / "data/raw/2026-07.jsonl").write_text("")
    with pytest.raises(
        Error, match="the stage data could not judge the new data: .*2026-07.jsonl has no rows"
    ) as caught:
        trial.run("data", folder)
    assert caught.value.hint == "remove it or fill it"
