from pathlib import Path

import polars as pl
import pytest

import finished
import starter
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.records import Report
from trunkline.stages import compare
from trunkline.verdict import Verdict

COUNT = 1200
SCORERS = ["exact_match", "valid_json", "field_accuracy", "refusal", "nll"]


@pytest.fixture
def project(in_tmp: Path) -> Path:
    (in_tmp / "src").mkdir()
    (in_tmp / "src/project.py").write_text("")
    finished.holdout(in_tmp, COUNT)
    finished.predict(in_tmp, "production", finished.share(COUNT, 0.80, seed=1))
    finished.predict(in_tmp, "candidate", finished.share(COUNT, 0.95, seed=2))
    return in_tmp


def run(folder: Path, **changes: object) -> Report:
    compare.run(starter.settings(folder, **changes))
    return Report.read(compare.REPORT)


def edit(side: str, **columns: pl.Expr) -> None:
    path = compare.PREDICTIONS / f"{side}.parquet"
    files.write_table(path, pl.read_parquet(path).with_columns(**columns))


def test_a_better_candidate_passes_and_the_sentence_says_by_how_much(project):
    report = run(project)
    assert report.verdict is Verdict.PASS
    primary, guardrail = report.checks
    assert (primary.name, guardrail.name) == ("gate.margin", "gate.guardrails.valid_json")
    assert primary.value == pytest.approx(0.15, abs=0.03)
    assert primary.limit == -0.02
    assert "points better than production on exact_match" in primary.message
    assert "a loss of up to 2 points is allowed, so it passes." in primary.message
    assert "of 400 conversations were enough to tell" in primary.message


def test_a_worse_candidate_fails_without_an_error(project):
    finished.predict(project, "candidate", finished.share(COUNT, 0.60, seed=2))
    report = run(project)
    assert report.verdict is Verdict.FAIL
    assert "points worse than production on exact_match" in report.checks[0].message


def test_a_guardrail_alone_can_fail_the_candidate(project):
    edit("candidate", score_valid_json=pl.lit(0.0))
    report = run(project)
    assert [check.verdict for check in report.checks] == [Verdict.PASS, Verdict.FAIL]
    assert report.verdict is Verdict.FAIL


def test_too_few_conversations_are_inconclusive_and_it_says_how_many_more_are_needed(project):
    finished.holdout(project, 60)
    for side, seed in (("production", 1), ("candidate", 2)):
        finished.predict(project, side, finished.share(60, 0.9, seed))
    report = run(project)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "20 conversations cannot tell. About " in report.checks[0].message


def test_a_copy_of_production_shows_no_difference_and_passes(project):
    finished.predict(project, "candidate", finished.share(COUNT, 0.80, seed=1))
    report = run(project)
    assert report.verdict is Verdict.PASS
    assert report.metrics["exact_match"]["difference"] == 0
    assert "scores the same as production" in report.checks[0].message
    assert report.details["changed"] == {"better": 0, "worse": 0, "same": COUNT}


def test_where_lower_is_better_less_is_an_improvement(project):
    edit("production", score_refusal=pl.lit(0.5))
    edit("candidate", score_refusal=pl.lit(0.0))
    report = run(project, gate__guardrails={"refusal": 0.01})
    refusal = report.metrics["refusal"]
    assert refusal["difference"] == -0.5
    assert refusal["low"] <= -0.5 <= refusal["high"] < 0
    assert report.checks[1].value == 0.5
    assert "50.0 points better than production on refusal" in report.checks[1].message


def test_a_score_without_bounds_is_shown_with_its_interval_but_cannot_decide(project):
    nll = run(project).metrics["nll"]
    assert nll["low"] < nll["difference"] < nll["high"] < 0
    with pytest.raises(Error, match=r"gate\.guardrails\.nll: a score difference of .* is outside \[-1, 1\]"):
        run(project, gate__guardrails={"nll": 0.1})


def test_a_scorer_that_is_no_mean_cannot_decide(project):
    for side in ("production", "candidate"):
        edit(side, score_label_f1=pl.lit(1.0))
    with pytest.raises(Error, match="label_f1 is a macro_f1"):
        run(project, gate__primary="label_f1", evaluate__scorers=[*SCORERS, "label_f1"])


def test_the_customer_can_be_the_unit(project):
    report = run(project, compare__unit="customer")
    assert report.details["units"] == COUNT // 6
    assert f"of {COUNT // 6} customers" in report.checks[0].message


def test_slices_show_every_value_of_the_slice_columns_and_closed_answer_fields(project):
    """Language and urgency have only one value here: that is the whole holdout, not a slice."""
    slices = {(row["column"], row["value"]): row for row in run(project).details["slices"]}
    assert set(slices) == {
        *(("channel", value) for value in ("app", "email")),
        *(("answer.intent", value) for value in finished.INTENTS),
    }
    app = slices["channel", "app"]
    assert (app["examples"], app["units"]) == (COUNT // 2, 200)
    assert app["difference"] == pytest.approx(app["candidate"] - app["production"])
    assert app["low"] <= app["difference"] <= app["high"]
    assert sum(slices["answer.intent", value]["examples"] for value in finished.INTENTS) == COUNT


def test_the_same_inputs_give_the_same_bytes(project):
    run(project)
    first = compare.REPORT.read_bytes()
    run(project)
    assert compare.REPORT.read_bytes() == first


def test_the_order_of_the_predictions_does_not_matter(project):
    first = run(project)
    path = compare.PREDICTIONS / "candidate.parquet"
    files.write_table(path, pl.read_parquet(path).reverse())
    assert run(project) == first


def test_a_scorer_that_applies_nowhere_is_not_a_pass(project):
    for side in ("production", "candidate"):
        edit(side, score_valid_json=pl.lit(None, dtype=pl.Float64))
    report = run(project)
    assert report.checks[1].verdict is Verdict.INCONCLUSIVE
    assert report.checks[1].value is None
    assert report.verdict is Verdict.INCONCLUSIVE


def test_answers_scored_on_one_side_only_are_not_a_pass(project):
    first = pl.col("id") == "m-0000"
    edit("candidate", score_exact_match=pl.when(first).then(None).otherwise(1.0))
    report = run(project)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "missing for one of the two models on 1 examples" in report.checks[0].message


def test_nan_is_an_error(project):
    edit("candidate", score_exact_match=pl.lit(float("nan")))
    with pytest.raises(Error, match=r"exact_match .* NaN"):
        run(project)


@pytest.mark.parametrize("side", ["production", "candidate"])
def test_a_missing_side_is_an_error(project, side):
    (compare.PREDICTIONS / f"{side}.parquet").unlink()
    with pytest.raises(Error, match=f"{side}.parquet not found"):
        run(project)


def test_a_truncated_side_is_an_error(project):
    path = compare.PREDICTIONS / "candidate.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(Error, match="damaged"):
        run(project)


def test_sides_with_other_examples_are_an_error(project):
    edit("candidate", id=pl.when(pl.col("id") == "m-0001").then(pl.lit("m-9999")).otherwise("id"))
    with pytest.raises(Error, match="lacks 1 and adds 1 examples"):
        run(project)


def test_duplicated_examples_are_an_error(project):
    path = compare.PREDICTIONS / "candidate.parquet"
    table = pl.read_parquet(path)
    files.write_table(path, pl.concat([table, table.head(2)]))
    with pytest.raises(Error, match="answers 2 examples more than once"):
        run(project)


def test_a_gated_score_that_was_not_written_is_an_error(project):
    path = compare.PREDICTIONS / "production.parquet"
    files.write_table(path, pl.read_parquet(path).drop("score_exact_match"))
    with pytest.raises(Error, match="no scores score_exact_match on both sides"):
        run(project)


def test_an_unknown_score_is_an_error(project):
    for side in ("production", "candidate"):
        edit(side, score_charm=pl.lit(1.0))
    with pytest.raises(Error, match="unknown scorers"):
        run(project)
