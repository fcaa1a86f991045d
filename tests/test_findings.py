import pytest

from trunkline import cli, findings
from trunkline.errors import Error
from trunkline.findings import Standing
from trunkline.records import Report
from trunkline.verdict import Check, Verdict

CURRENT = Standing([])
PASSED = Check(name="a.limit", verdict=Verdict.PASS, value=0.0, limit=1.0, message="fine")


def report(step: str, *verdicts: Verdict) -> Report:
    checks = tuple(
        PASSED.model_copy(update={"verdict": verdict, "message": f"{verdict} it is"}) for verdict in verdicts
    )
    return Report.of(step, checks, {}, {})


def complete(**changed: Report | Error) -> dict[str, Report | Error]:
    return {step: report(step, Verdict.PASS) for step in findings.REQUIRED} | changed


def test_every_stage_of_the_pipeline_is_required():
    assert tuple(cli.STAGES) == findings.REQUIRED


def test_all_reports_passing_and_up_to_date_is_a_pass_without_findings():
    found = findings.collect(complete(), CURRENT)
    assert found == []
    assert findings.verdict_of(found) is Verdict.PASS


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.INCONCLUSIVE])
@pytest.mark.parametrize("step", findings.REQUIRED)
def test_one_bad_check_anywhere_decides(step, verdict):
    found = findings.collect(complete(**{step: report(step, Verdict.PASS, verdict)}), CURRENT)
    assert found == [findings.Finding(verdict, step, f"a.limit: {verdict} it is")]
    assert findings.verdict_of(found) is verdict


@pytest.mark.parametrize("step", findings.REQUIRED)
def test_a_missing_report_is_inconclusive_with_its_reason(step):
    missing = Error(f"reports/{step}.json not found", "run `dvc repro`")
    for reports in (complete(**{step: missing}), {key: value for key, value in complete().items() if key != step}):
        found = findings.collect(reports, CURRENT)
        assert findings.verdict_of(found) is Verdict.INCONCLUSIVE
        assert step in found[0].text


def test_no_reports_at_all_are_not_a_pass():
    assert findings.verdict_of(findings.collect({}, CURRENT)) is Verdict.INCONCLUSIVE


def test_a_report_that_checked_nothing_is_inconclusive():
    found = findings.collect(complete(train=report("train")), CURRENT)
    assert [(finding.verdict, finding.text) for finding in found] == [(Verdict.INCONCLUSIVE, "it checked nothing")]


def test_a_verdict_edited_by_hand_is_not_believed():
    failed = report("compare", Verdict.FAIL)
    found = findings.collect(complete(compare=failed.model_copy(update={"verdict": Verdict.PASS})), CURRENT)
    assert findings.verdict_of(found) is Verdict.FAIL
    worse = report("compare", Verdict.PASS).model_copy(update={"verdict": Verdict.FAIL})
    assert findings.verdict_of(findings.collect(complete(compare=worse), CURRENT)) is Verdict.FAIL


def test_stale_reports_are_inconclusive_and_name_what_changed():
    found = findings.collect(complete(), Standing(["train", "evaluate"]))
    assert findings.verdict_of(found) is Verdict.INCONCLUSIVE
    assert "train, evaluate changed" in found[0].text


def test_not_knowing_whether_they_are_stale_is_inconclusive():
    assert (
        findings.verdict_of(findings.collect(complete(), Standing(Error("dvc is locked", "wait"))))
        is Verdict.INCONCLUSIVE
    )


@pytest.mark.parametrize("step", findings.REQUIRED)
def test_a_report_that_no_stage_writes_is_inconclusive_whatever_it_says(step):
    (found,) = findings.collect(complete(), Standing([], unwritten=[step]))
    assert (found.verdict, found.step) == (Verdict.INCONCLUSIVE, step)
    assert f"no stage of dvc.yaml writes reports/{step}.json" in found.text


def test_the_worst_comes_first():
    reports = complete(data=report("data", Verdict.INCONCLUSIVE), compare=report("compare", Verdict.FAIL))
    assert [finding.step for finding in findings.collect(reports, CURRENT)] == ["compare", "data"]


def test_the_sentence_says_the_verdict_and_what_it_counts():
    assert findings.sentence([]) == "pass (every check of 7 reports passed)"
    fail, ask = findings.Finding(Verdict.FAIL, "data", "x"), findings.Finding(Verdict.INCONCLUSIVE, "data", "x")
    assert findings.sentence([fail, ask, ask]) == "fail (1 failed, 2 for a human to decide)"
    assert findings.sentence([ask]) == "inconclusive (0 failed, 1 for a human to decide)"
