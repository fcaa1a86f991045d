from pathlib import Path

from trunkline.clients import files, reports
from trunkline.errors import Error
from trunkline.records import Report
from trunkline.verdict import Check, Verdict

FOUND = Report.of("data", (Check(name="a", verdict=Verdict.PASS, value=None, limit=None, message="m"),), {}, {})


def test_what_is_there_is_read_and_what_is_not_has_its_reason(in_tmp):
    files.write_text(reports.FOLDER / "data.json", FOUND.text())
    files.write_text(reports.FOLDER / "train.json", '{"step": "train", ')
    found = reports.read(("data", "train", "compare"))
    assert found["data"] == FOUND
    assert isinstance(found["train"], Error)
    assert isinstance(found["compare"], Error)
    assert "reports/compare.json not found" in str(found["compare"])


def test_asking_dvc_outside_a_pipeline_answers_with_the_reason(in_tmp):
    assert isinstance(reports.here(("data",), Path("data/production.json")).changed, Error)
