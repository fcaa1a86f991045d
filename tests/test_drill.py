"""The gate's drill: it prints what the gate does on this holdout, and a gate that is broken makes it fail."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import finished
import starter
from trunkline import cli, common_rules, comparison, gate
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.operations import drill
from trunkline.operations.drill import resample
from trunkline.params import DrillParams
from trunkline.records import Report
from trunkline.verdict import Verdict

COUNT = 480
RESAMPLES = {"drill__resamples": 400, "gate__margin": 0.03, "gate__guardrails": {"refusal": 0.05}}


@pytest.fixture
def project(in_tmp: Path) -> Path:
    (in_tmp / "src").mkdir()
    (in_tmp / "src/project.py").write_text("")
    answer(in_tmp, COUNT)
    return in_tmp


def answer(folder: Path, count: int, right: float = 0.9) -> None:
    finished.holdout(folder, count)
    for side, seed in (("production", 1), ("candidate", 2)):
        finished.predict(folder, side, finished.share(count, right, seed))
        path = folder / f"data/predictions/{side}.parquet"
        refused = pl.Series("score_refusal", [float(number % 50 == 0) for number in range(count)])
        slower = pl.col("latency_ms") + seed
        files.write_table(path, pl.read_parquet(path).with_columns(refused, slower))


def run(folder: Path, **changes: object) -> tuple[str, Verdict, Report]:
    text, verdict = drill.run(starter.settings(folder, **RESAMPLES, **changes))
    return text, verdict, Report.read(drill.REPORT)


def test_the_gate_keeps_its_levels_and_its_operating_characteristics_are_printed(project):
    text, verdict, report = run(project)
    assert verdict is report.verdict is Verdict.PASS
    shares = report.metrics["exact_match"]
    assert shares["loss_1"]["passed"] <= 0.07
    assert shares["loss_4"] == {
        "passed": 0.0,
        "failed": pytest.approx(1.0, abs=0.02),
        "used": pytest.approx(50, abs=30),
    }
    assert shares["loss_0"]["passed"] > shares["loss_0.5"]["passed"] > shares["loss_1"]["passed"]
    assert 20 < shares["loss_0"]["used"] <= COUNT / 3
    assert "## exact_match, margin 3 points, 160 conversations" in text
    assert "| true loss" in text and "| none (A/A)" in text and "| 1.5 points" in text
    assert drill.SUMMARY.read_text() == text + "\n"


def test_the_rules_that_people_use_stand_beside_it_and_let_the_planted_loss_through(project):
    text, _, report = run(project)
    counts = {(row["rule"], row["loss"]): row for row in report.details["counts"]["exact_match"]}
    assert {rule for rule, _ in counts} == {resample.OURS, *common_rules.RULES}
    assert counts["not significantly worse", 1]["passed"] > 0.2 * 400
    assert counts["candidate >= production", 0]["passed"] < 0.75 * 400
    assert all(f"| {name} passes" in text for name in common_rules.RULES)


@pytest.mark.parametrize("rule", ["not_significantly_worse", "drop_within_the_margin", "peeking"])
def test_a_gate_that_passes_planted_losses_exits_with_3(project, monkeypatch, capsys, rule):
    monkeypatch.setattr(gate, "outcomes", getattr(common_rules, rule))
    starter.settings(project, **RESAMPLES)
    assert cli.main(["drill"]) == 3
    assert "# Drill: fail" in capsys.readouterr().out


def test_a_gate_that_fails_equal_candidates_exits_with_3(project, monkeypatch):
    monkeypatch.setattr(gate, "outcomes", common_rules.significantly_better)
    assert run(project)[1] is Verdict.FAIL


def test_a_gate_that_decides_nothing_is_no_pass(project, monkeypatch):
    def never(values: np.ndarray, rule: gate.Rule) -> gate.Outcomes:
        none = np.zeros(len(values), bool)
        return gate.Outcomes(none, none, np.full(len(values), values.shape[1]))

    monkeypatch.setattr(gate, "outcomes", never)
    assert run(project)[1] is Verdict.INCONCLUSIVE


def test_too_few_conversations_to_tell_exit_with_4(project, capsys):
    answer(project, 24)
    starter.settings(project, **RESAMPLES)
    assert cli.main(["drill"]) == 4
    assert "8 conversations are too few" in capsys.readouterr().out


def test_a_score_too_low_to_lose_the_margin_cannot_be_tried(project):
    answer(project, COUNT, right=0.0)
    _, verdict, report = run(project)
    assert verdict is Verdict.INCONCLUSIVE
    assert "leaves no room to plant a loss" in report.checks[0].message


def test_every_broken_input_is_refused_and_none_is_forgotten(project):
    _, _, report = run(project)
    refused = [check for check in report.checks if check.name == "drill.broken"]
    assert {check.verdict for check in refused} == {Verdict.PASS}
    said = {check.message.split(":")[0]: check.message for check in refused}
    assert set(said) == {
        *("no candidate", "no production", "no answers", "the candidate's answers on both sides"),
        *("different examples", "an example less", "the same example less on both sides", "duplicated examples"),
        *("a metric missing", "a score missing", "a score that is NaN", "an infinite score"),
    }
    assert "one side is a copy of the other" in said["the candidate's answers on both sides"]
    assert said["no candidate"].endswith("refused: predictions/candidate.parquet not found")


def test_a_comparison_that_no_longer_looks_passes_a_broken_input_and_fails_the_drill(project, monkeypatch):
    monkeypatch.setattr(comparison.answered, "_check_first", lambda *_: None)
    _, verdict, report = run(project)
    assert verdict is Verdict.FAIL
    failed = [check.message for check in report.checks if check.verdict is Verdict.FAIL]
    assert failed == ["the same example less on both sides: judged: pass"]


def test_the_customer_can_be_the_unit_and_the_same_seed_gives_the_same_bytes(project):
    text, _, _ = run(project, compare__unit="customer")
    assert f"{COUNT // 6} customers" in text
    first = drill.REPORT.read_bytes()
    run(project, compare__unit="customer")
    assert drill.REPORT.read_bytes() == first
    run(project, compare__unit="customer", drill__seed=1)
    assert drill.REPORT.read_bytes() != first


def test_what_is_only_measured_is_not_tried(project):
    _, _, report = run(project, gate__dry_run=["refusal"])
    assert set(report.metrics) == {"exact_match"}


def test_probes_are_tried_with_a_probe_as_the_unit(project):
    for side in ("production", "candidate"):
        metric = ["small_attacks"] * 90 + ["small_refusals"] * 10
        table = pl.DataFrame({"id": [f"p-{number}" for number in range(100)], "metric": metric, "score": 0.0})
        table = table.with_columns(message=pl.lit("?"), output=pl.lit("!"))
        files.write_table(Path(f"data/predictions/{side}_probes.parquet"), table)
    changes = {"evaluate__probes": ["small.jsonl"], "gate__guardrails": {"small_attacks": 0.1}}
    text, verdict = drill.run(starter.settings(project, **RESAMPLES | changes))
    assert verdict is Verdict.PASS
    assert "## small_attacks, margin 10 points, 90 probes" in text


def test_without_answers_there_is_nothing_to_try(project):
    Path("data/predictions/candidate.parquet").unlink()
    with pytest.raises(Error, match=r"candidate\.parquet not found"):
        run(project)


def test_a_score_that_leaves_0_to_1_cannot_be_tried(project):
    for side in ("production", "candidate"):
        path = Path(f"data/predictions/{side}.parquet")
        files.write_table(path, pl.read_parquet(path).with_columns(score_exact_match=pl.lit(3.0)))
    with pytest.raises(Error, match=r"gate\.margin: a score of 3 is outside 0 to 1"):
        run(project)


@given(
    scores=st.lists(st.floats(0, 1), min_size=2, max_size=30).map(np.array),
    share=st.floats(0, 1),
    changed=st.floats(0, 1),
)
@settings(max_examples=30, deadline=None)
def test_a_resample_loses_what_was_planted_and_nothing_else(scores, share, changed):
    loss = float(share * scores.mean())
    tried = DrillParams(resamples=2000, losses=(1,), changed=changed, seed=3)
    parts = np.concatenate(list(resample.differences(scores, loss, tried, 1)))
    assert parts.shape == (2000, scores.size)
    assert np.abs(parts).max() <= 1
    # A loss that is so rare that none was drawn has no spread of its own.
    error = max(parts.std(), np.sqrt(loss)) / np.sqrt(parts.size)
    assert abs(parts.mean() + loss) <= 6 * error + 1e-9


def test_losses_within_the_margin_alone_are_refused(in_tmp):
    with pytest.raises(Error, match="are all within the margin"):
        starter.settings(in_tmp, drill__losses=[0.25, 0.5])


@given(st.integers(1, 5000), st.data())
def test_the_lower_limit_of_a_share_is_the_exact_one(of, data):
    count = data.draw(st.integers(0, of))
    exact = stats.binomtest(count, of, alternative="greater").proportion_ci(drill._SURE, method="exact").low
    assert drill._at_least(count, of) == pytest.approx(exact, rel=1e-9)
