import re
from pathlib import Path

import polars as pl
import pytest
from scipy import stats

import finished
import starter
from trunkline import gate
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.records import Report
from trunkline.stages import compare
from trunkline.verdict import Verdict

COUNT = 1200
PREDICTIONS, HOLDOUT = Path("data/predictions"), Path("data/holdout.parquet")
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
    path = PREDICTIONS / f"{side}.parquet"
    files.write_table(path, pl.read_parquet(path).with_columns(**columns))


def test_a_better_candidate_passes_and_the_sentence_says_by_how_much(project):
    report = run(project)
    assert report.verdict is Verdict.PASS
    primary = report.checks[0]
    assert [check.name for check in report.checks] == ["gate.margin", "gate.guardrails.valid_json", "gate.slice_margin"]
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
    assert [check.verdict for check in report.checks[:2]] == [Verdict.PASS, Verdict.FAIL]
    assert report.verdict is Verdict.FAIL


def test_too_few_conversations_are_inconclusive_and_it_says_how_many_more_are_needed(project):
    finished.holdout(project, 60)
    for side, seed in (("production", 1), ("candidate", 2)):
        finished.predict(project, side, finished.share(60, 0.9, seed))
    report = run(project)
    assert report.verdict is Verdict.INCONCLUSIVE
    message = report.checks[0].message
    assert "and 20 conversations cannot tell: " in message
    assert re.search(
        r"with so many \d+ of 100 candidates as good as production would pass, and about \d+ more ", message
    )


def test_a_model_that_answers_like_production_shows_no_difference_and_passes(project):
    finished.predict(project, "candidate", finished.share(COUNT, 0.80, seed=1))
    edit("candidate", latency_ms=pl.col("latency_ms") + 1)
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
    nll = run(project, evaluate__scorers=SCORERS).metrics["nll"]
    assert nll["low"] < nll["difference"] < nll["high"] < 0
    above, below = nll["high"] - nll["difference"], nll["difference"] - nll["low"]
    terms = starter.settings(project).gate
    levels = [stats.t.ppf(1 - level, nll["units"] - 1) for level in (terms.alpha, terms.beta)]
    assert above / below == pytest.approx(levels[0] / levels[1])
    with pytest.raises(Error, match=r"gate\.guardrails\.nll: a score difference of .* is outside \[-1, 1\]"):
        run(project, evaluate__scorers=SCORERS, gate__guardrails={"nll": 0.1})


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
    path = PREDICTIONS / "candidate.parquet"
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


def test_a_score_that_is_text_is_an_error(project):
    edit("candidate", score_exact_match=pl.lit("high"))
    with pytest.raises(Error, match="the scores exact_match are not numbers"):
        run(project)


@pytest.mark.parametrize("side", ["production", "candidate"])
def test_a_missing_side_is_an_error(project, side):
    (PREDICTIONS / f"{side}.parquet").unlink()
    with pytest.raises(Error, match=f"{side}.parquet not found"):
        run(project)


def test_a_truncated_side_is_an_error(project):
    path = PREDICTIONS / "candidate.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(Error, match="damaged"):
        run(project)


def test_sides_with_other_examples_are_an_error(project):
    edit("candidate", id=pl.when(pl.col("id") == "m-0001").then(pl.lit("m-9999")).otherwise("id"))
    with pytest.raises(Error, match="the candidate adds 1 examples"):
        run(project)


def test_duplicated_examples_are_an_error(project):
    path = PREDICTIONS / "candidate.parquet"
    table = pl.read_parquet(path)
    files.write_table(path, pl.concat([table, table.head(2)]))
    with pytest.raises(Error, match="answers 2 examples more than once"):
        run(project)


def test_a_gated_score_that_was_not_written_is_an_error(project):
    path = PREDICTIONS / "production.parquet"
    files.write_table(path, pl.read_parquet(path).drop("score_exact_match"))
    with pytest.raises(Error, match="no scores score_exact_match on both sides"):
        run(project)


def test_an_unknown_score_is_an_error(project):
    for side in ("production", "candidate"):
        edit(side, score_charm=pl.lit(1.0))
    with pytest.raises(Error, match="unknown scorers"):
        run(project)


# Amounts, floors, dry runs


def rows(report: Report) -> dict[str, dict]:
    return {row["path"]: row for row in report.details["criteria"]}


@pytest.mark.parametrize("name", ["tokens_out", "usd_per_1000"])
@pytest.mark.parametrize(("factor", "verdict"), [(0.8, Verdict.PASS), (1.0, Verdict.PASS), (1.6, Verdict.FAIL)])
def test_an_amount_is_compared_relative_to_productions(project, name, factor, verdict):
    column = {"tokens_out": "tokens_out", "usd_per_1000": "usd"}[name]
    edit("candidate", **{column: pl.col(column) * factor})
    check = run(project, gate__guardrails={name: 0.25}).checks[1]
    assert (check.verdict, check.name) == (verdict, f"gate.guardrails.{name}")
    assert check.value == pytest.approx(factor - 1)
    assert check.limit == 0.25
    assert "25 % more is allowed" in check.message


def test_a_few_very_long_answers_do_not_outweigh_all_others(project):
    first = pl.int_range(pl.len()) < 12
    edit("candidate", tokens_out=pl.when(first).then(100_000).otherwise("tokens_out"))
    assert run(project, gate__guardrails={"tokens_out": 0.25}).checks[1].verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("milliseconds", "share", "verdict"),
    [(1.0, 0.0, Verdict.PASS), (1.4, 0.0, Verdict.PASS), (2.0, 0.01, Verdict.PASS), (2.0, 0.2, Verdict.FAIL)],
)
def test_few_answers_may_be_slower_than_nearly_all_of_productions(project, milliseconds, share, verdict):
    """The slowest twentieth of production's answers takes 16 ms here, and half of that more is allowed."""
    slow = pl.int_range(pl.len()) % 100 < 100 * share
    edit("candidate", latency_ms=pl.col("latency_ms") * milliseconds)
    if share:
        edit("candidate", latency_ms=pl.when(slow).then(40.0).otherwise(10.0))
    check = run(project, gate__guardrails={"latency_ms_p95": 0.5}).checks[1]
    assert check.verdict is verdict
    assert check.value == pytest.approx(share, abs=0.005)
    assert "answers take longer than 24 ms" in check.message


@pytest.mark.parametrize(
    ("floor", "verdict"), [(0.80, Verdict.PASS), (0.95, Verdict.INCONCLUSIVE), (0.995, Verdict.FAIL)]
)
def test_a_floor_is_absolute(project, floor, verdict):
    check = run(project, gate__floors={"exact_match": floor}).checks[2]
    assert (check.name, check.verdict) == ("gate.floors.exact_match", verdict)
    assert f"at least {100 * floor:g} % is asked for" in check.message


def test_where_less_is_better_the_floor_is_a_ceiling(project):
    for side in ("production", "candidate"):
        edit(side, score_refusal=pl.lit(0.0))
    check = run(project, gate__floors={"refusal": 0.05}).checks[2]
    assert check.verdict is Verdict.PASS
    assert check.value == 0
    assert "reaches 0.0 % on refusal" in check.message
    assert "at most 5 % is allowed" in check.message
    edit("candidate", score_refusal=pl.lit(0.5))
    assert run(project, gate__floors={"refusal": 0.05}).checks[2].verdict is Verdict.FAIL


def test_a_dry_run_is_measured_and_shown_but_does_not_decide(project):
    edit("candidate", score_valid_json=pl.lit(0.0))
    report = run(project, gate__dry_run=["valid_json"])
    assert report.verdict is Verdict.PASS
    assert [check.name for check in report.checks] == ["gate.margin", "gate.slice_margin"]
    shown = rows(report)["gate.guardrails.valid_json"]
    assert (shown["verdict"], shown["decides"]) == ("fail", False)
    assert "so it fails" in report.details["dry_run"][0]["message"]


def test_every_criterion_tells_estimate_interval_margin_power_and_units(project):
    report = run(project, gate__guardrails={"valid_json": 0.01, "tokens_out": 0.25}, gate__floors={"exact_match": 0.8})
    for row in report.details["criteria"]:
        assert row["low"] <= row["estimate"] <= row["high"]
        assert 1 <= row["used"] <= row["units"] == 400
        assert row["margin"] > 0
        assert 0 <= row["power"] <= 1
        shown = row["shown"]
        assert shown["low"] <= shown["difference"] <= shown["high"]
    shown = rows(report)["gate.guardrails.tokens_out"]["shown"]
    assert (shown["production"], shown["candidate"], shown["difference"]) == (14, 14, 0)
    floor = rows(report)["gate.floors.exact_match"]["shown"]
    assert floor["difference"] == floor["candidate"] == pytest.approx(0.95, abs=0.02)
    # Models that differ this often would need more conversations; models that write alike would not.
    assert rows(report)["gate.margin"]["power"] < 0.5
    assert rows(report)["gate.guardrails.tokens_out"]["power"] == 1


# Slices


def worse_in(column: str, value: str, share: float) -> None:
    holdout = pl.read_parquet(HOLDOUT)
    lost = (holdout[column] == value) & pl.Series(finished.share(holdout.height, share, seed=5))
    table = pl.read_parquet(PREDICTIONS / "candidate.parquet")
    scores = pl.when(lost).then(0.0).otherwise(table["score_exact_match"])
    files.write_table(PREDICTIONS / "candidate.parquet", table.with_columns(score_exact_match=scores))


def test_a_slice_that_loses_fails_the_candidate_although_the_whole_gains(project):
    worse_in("channel", "email", 0.3)
    finished_app = pl.read_parquet(HOLDOUT)["channel"] == "app"
    edit("candidate", score_exact_match=pl.when(finished_app).then(1.0).otherwise("score_exact_match"))
    edit("production", score_exact_match=pl.when(finished_app).then(0.4).otherwise("score_exact_match"))
    report = run(project)
    assert report.checks[0].verdict is Verdict.PASS
    slices = report.checks[-1]
    assert (slices.name, slices.verdict) == ("gate.slice_margin", Verdict.FAIL)
    assert "channel 'email'" in slices.message
    verdicts = {(row["column"], row["value"]): row["verdict"] for row in report.details["slices"]}
    assert verdicts["channel", "email"] == "fail"
    assert verdicts["channel", "app"] == "pass"


def test_slices_too_small_for_their_margin_are_not_measured_and_never_a_pass(project):
    finished.holdout(project, 30)
    for side, seed in (("production", 1), ("candidate", 2)):
        finished.predict(project, side, finished.share(30, 0.9, seed))
    report = run(project)
    assert report.checks[-1].verdict is Verdict.INCONCLUSIVE
    assert "too small to tell: not measured" in report.checks[-1].message
    assert {row["verdict"] for row in report.details["slices"]} == {"inconclusive"}


# What was left out


def test_answers_may_end_where_the_committed_order_was_left(project):
    kept = set(gate.ordered(pl.read_parquet(HOLDOUT)["conversation"], 0)[:150])
    ids = pl.read_parquet(HOLDOUT).filter(pl.col("conversation").is_in(kept))["id"].implode()
    for side in ("production", "candidate"):
        path = PREDICTIONS / f"{side}.parquet"
        files.write_table(path, pl.read_parquet(path).filter(pl.col("id").is_in(ids)))
    report = run(project)
    assert report.verdict is Verdict.PASS
    assert (report.details["units"], report.details["planned"]) == (150, 400)


def test_answers_left_out_anywhere_else_are_an_error(project):
    for side in ("production", "candidate"):
        path = PREDICTIONS / f"{side}.parquet"
        files.write_table(path, pl.read_parquet(path).head(COUNT - 3))
    with pytest.raises(Error, match="lack 3 of the 1200 examples .* not the last ones of the committed order"):
        run(project)


def test_a_side_that_is_a_copy_of_the_other_is_an_error(project):
    path = PREDICTIONS / "production.parquet"
    (PREDICTIONS / "candidate.parquet").write_bytes(path.read_bytes())
    with pytest.raises(Error, match="one side is a copy of the other"):
        run(project)


# Safety probes


def probe(side: str, attacks: int, refusals: int) -> None:
    """Write 80 answers to each kind of probe, of which so many failed."""
    scores = [float(number < attacks) for number in range(80)] + [float(number < refusals) for number in range(80)]
    metric = ["injection_attacks"] * 80 + ["injection_refusals"] * 80
    table = pl.DataFrame({"id": [f"p-{number}" for number in range(160)], "metric": metric, "score": scores})
    table = table.with_columns(message=pl.lit("?"), output=pl.lit("!"))
    files.write_table(PREDICTIONS / f"{side}_probes.parquet", table)


GUARDED = {
    "evaluate__probes": ["data/eval/injection.jsonl"],
    "gate__guardrails": {"injection_attacks": 0.1, "injection_refusals": 0.1},
}


@pytest.mark.parametrize(
    ("attacks", "refusals", "verdicts"),
    [(4, 2, ["pass", "pass"]), (40, 2, ["fail", "pass"]), (0, 60, ["pass", "fail"])],
)
def test_attacks_that_succeed_and_harmless_messages_refused_are_guardrails(project, attacks, refusals, verdicts):
    probe("production", 4, 2)
    probe("candidate", attacks, refusals)
    checks = run(project, **GUARDED).checks[1:3]
    assert [str(check.verdict) for check in checks] == verdicts
    assert "of 80 probes were enough to tell" in checks[0].message


def test_a_guardrail_without_its_probes_is_an_error(project):
    with pytest.raises(Error, match="have no scores score_injection_attacks on both sides"):
        run(project, **GUARDED)


def test_sides_that_were_asked_other_probes_are_an_error(project):
    probe("production", 4, 2)
    probe("candidate", 4, 2)
    path = PREDICTIONS / "candidate_probes.parquet"
    files.write_table(path, pl.read_parquet(path).head(100))
    with pytest.raises(Error, match="answered different probes"):
        run(project, **GUARDED)
