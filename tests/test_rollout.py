"""A canary's decisions, from its log to the exit code: what is promoted, rolled back, held, and refused."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

import rollout_logs
from trunkline import cli, rollout
from trunkline.errors import Error
from trunkline.records.rollout import Plan
from trunkline.rollout import Analysis, Decision, Rows
from trunkline.rollout.hard_stops import HardStops
from trunkline.rollout.windows import split, windows

PARAMS = str(Path(__file__).parent.parent / "params.yaml")
SETTINGS = rollout_logs.settings()
PLAN = rollout_logs.plan_of(SETTINGS, hard_stops={})
# Promotion takes the score and the rarest latency the longest; these wait for errors and the usual latency only.
METRICS = {
    name: metric | ({"quantiles": (0.75, 0.95)} if name == "latency_ms" else {})
    for name, metric in SETTINGS.rollout.model_dump()["metrics"].items()
}
QUICK = rollout_logs.plan_of(SETTINGS, metrics=METRICS, poll_seconds=60, hard_stops={})
RAMP = {0.05: 20.0, 0.25: 14.0, 0.5: 6.0}
COUNTS = {"method": "counts", "salt": None}


def decided(log: pl.DataFrame, plan: Plan = PLAN) -> list[Decision]:
    return list(rollout.changes(plan, rollout.from_table(log, plan)))


def with_changes(log: pl.DataFrame, **columns: object) -> pl.DataFrame:
    return log.with_columns(**columns)


@pytest.fixture(scope="module")
def healthy() -> pl.DataFrame:
    return rollout_logs.log(RAMP)


@pytest.fixture(scope="module")
def short() -> pl.DataFrame:
    """Six minutes at 5 %: too few for a proof."""
    return rollout_logs.log({0.05: 6.0}, seed=1)


@pytest.mark.parametrize("method", [{}, COUNTS])
def test_a_canary_that_is_as_good_earns_each_step_and_is_promoted(healthy, method):
    decisions = decided(healthy, QUICK.model_copy(update=method))
    assert [d.to for d in decisions if d.action in ("advance", "promote")][-1] == 1.0
    assert {0.25, 0.5} <= {d.to for d in decisions if d.action == "advance"}
    assert decisions[-1].action == "promote"
    assert decisions[-1].verdict == "pass"
    assert not any(d.action == "rollback" for d in decisions)
    for state in decisions[-1].signals:
        assert state.e_no_worse >= decisions[-1].limits["e_no_worse"]
        assert state.bound is not None
        assert state.bound <= state.margin


@pytest.mark.parametrize("method", [{}, COUNTS])
@pytest.mark.parametrize(
    ("worse", "culprit"),
    [
        ({"error": 0.05}, "error"),
        ({"slow": 2.0}, "latency_ms above p"),
        ({"score": 0.15}, "score"),
    ],
)
def test_a_worse_canary_is_rolled_back_naming_what_is_worse(worse, culprit, method):
    final = decided(rollout_logs.log({0.05: 8.0, 0.25: 4.0}, seed=2, **worse), QUICK.model_copy(update=method))[-1]
    assert (final.action, final.to, final.verdict) == ("rollback", 0.0, "fail")
    assert final.culprits[0].startswith(culprit)
    assert culprit in final.reason
    assert not final.human


def test_a_canary_that_always_fails_is_rolled_back_within_one_poll_of_the_evidence():
    half = decided(rollout_logs.log({0.5: 1.0}, seed=3, error=1.0))[-1]
    assert (half.action, half.minutes) == ("rollback", pytest.approx(5 / 60))
    found = [decided(rollout_logs.log({0.05: 1.0}, seed=seed, error=1.0))[-1] for seed in range(9)]
    assert all(final.action == "rollback" for final in found)
    assert np.median([final.signals[0].canary for final in found]) <= 5


def test_a_hard_stop_acts_within_one_poll():
    plan = rollout_logs.plan_of(
        SETTINGS, hard_stops={"error": 3}, alpha={"planned": 1e-9, "reserve": 1e-9, "ratio": 0.01}
    )
    log = rollout_logs.log({0.05: 2.0}, seed=3, error=1.0)
    final = decided(log, plan)[-1]
    failed = log.filter((pl.col("arm") == "canary") & (pl.col("weight") > 0))["time"][2]
    begun = log.filter(pl.col("weight") > 0)["time"][0]
    assert (final.action, final.because, final.culprits, final.to) == ("stop", "hard stop", ("error",), 0.0)
    assert 0 <= 60 * final.minutes - (failed - begun).total_seconds() <= plan.poll_seconds


def test_a_failure_of_both_arms_is_no_hard_stop(short):
    plan = rollout_logs.plan_of(SETTINGS, hard_stops={"error": 5})
    broken = pl.col("time").is_between(pl.lit(short["time"][2400]), pl.lit(short["time"][3000]))
    decisions = decided(with_changes(short, error=pl.col("error") | broken), plan)
    assert "shared failure" in {d.because for d in decisions}
    assert {d.action for d in decisions} == {"hold"}


def test_an_outage_of_both_arms_seldom_stops_the_canary_although_either_may_be_the_first_to_fail_so_often():
    stops = 0
    for seed in range(100):
        rng, broken = np.random.default_rng(seed), HardStops({"error": 10})
        for _ in range(20):
            canary = rng.random(5) < 0.5
            none = np.zeros(5)
            rows = Rows(none, none.astype("u8"), canary, none + 0.5, {"error": none + 1}, none.astype("bool"))
            if broken.add(rows) is not None:
                stops += 1
                break
    assert stops <= 15


def test_a_column_of_its_own_can_be_a_hard_stop(short):
    plan = rollout_logs.plan_of(SETTINGS, hard_stops={"leak": 1})
    leaks = (pl.col("arm") == "canary").cum_sum() == 20
    final = decided(with_changes(short, leak=leaks & (pl.col("arm") == "canary")), plan)[-1]
    assert (final.action, final.culprits) == ("stop", ("leak",))
    assert decided(with_changes(short, leak=pl.lit(False)), plan)[-1].action == "hold"


def test_a_canary_that_is_silent_holds_for_a_human_and_stays_an_alarm(short):
    minute = pl.col("time") - short["time"][0]
    died = short.filter((pl.col("arm") == "stable") | (minute < pl.duration(minutes=5)))
    decisions = decided(died)
    final = decisions[-1]
    assert (final.action, final.because, final.human, final.verdict) == ("hold", "sample ratio", True, "inconclusive")
    held = next(d.minutes for d in decisions if d.because == "sample ratio")
    assert 3 < held < 4  # it died after three minutes of the ramp
    never = decided(short.filter(pl.col("arm") == "stable"))
    assert never[-1].because == "sample ratio"
    assert next(d.minutes for d in never if d.because == "sample ratio") <= 0.5


@pytest.mark.parametrize("changes", [{}, COUNTS], ids=["placebo", "counts"])
def test_where_nothing_is_heard_of_stable_its_canary_is_held_and_not_called_worse(changes):
    alone = (pl.col("weight") == 0) | (pl.col("arm") == "canary")
    for seed in range(4):
        decisions = decided(rollout_logs.log({0.05: 8.0}, seed).filter(alone), PLAN.model_copy(update=changes))
        assert {each.action for each in decisions} == {"hold"}
        assert (decisions[-1].because, decisions[-1].human) == ("sample ratio", True)


def test_a_human_who_accepts_the_shares_lets_the_canary_be_judged_by_them_again():
    lost = (pl.col("weight") == 0) | (pl.col("arm") == "canary") | (pl.int_range(pl.len()) % 4 == 0)
    rows = rollout.from_table(rollout_logs.log({0.25: 8.0}, error=0.2).filter(lost), PLAN)
    before, during = split(rows)
    found = {}
    for accepted in ((), ("sample ratio",)):
        analysis = Analysis(PLAN, before, accepted)
        for window in windows(during, PLAN):
            analysis.look(window)
        found[accepted] = (analysis.finding.action, analysis.finding.because)
    assert found == {(): ("hold", "sample ratio"), ("sample ratio",): ("rollback", "worse")}


@pytest.mark.parametrize("known", [pl.col("arm") == "stable", (pl.col("arm") == "stable") | (pl.col("score") < 0.7)])
def test_scores_that_are_missing_on_one_arm_hold(known):
    """Not even where those that are there are worse."""
    log = rollout_logs.log({0.5: 6.0})
    for method in ("placebo", "counts"):
        plan = PLAN.model_copy(update={"method": method})
        final = decided(with_changes(log, score=pl.when(known).then(pl.col("score"))), plan)[-1]
        assert (final.action, final.because) == ("hold", "sample ratio")


def test_a_request_that_was_never_answered_is_a_failure_of_its_arm():
    log = rollout_logs.log({0.25: 3.0}, seed=4)
    dead = with_changes(log, error=pl.when(pl.col("arm") == "stable").then(pl.col("error")))
    final = decided(dead)[-1]
    assert (final.action, final.culprits[0]) == ("rollback", "error")


def with_late_scores(log: pl.DataFrame) -> pl.DataFrame:
    """The log with each score in a row of its own, two seconds after its request's."""
    scored = log.filter(pl.col("score").is_not_null()).with_columns(
        time=pl.col("time") + pl.duration(seconds=2),
        late=pl.lit(True),
        error=pl.lit(None, dtype=pl.Boolean),
        latency_ms=pl.lit(None, dtype=pl.Float64),
    )
    return pl.concat([log.with_columns(score=pl.lit(None, dtype=pl.Float64), late=pl.lit(False)), scored]).sort("time")


def test_scores_that_come_later_are_rows_that_are_no_requests(short):
    late, plain = decided(with_late_scores(short))[-1], decided(short)[-1]
    assert (late.action, late.units) == (plain.action, plain.units)
    assert [(s.canary, s.stable) for s in late.signals] == [(s.canary, s.stable) for s in plain.signals]
    worse = with_late_scores(rollout_logs.log({0.05: 8.0, 0.25: 4.0}, seed=2, score=0.15))
    assert decided(worse)[-1].culprits[0] == "score"


def test_late_rows_do_not_end_a_run_of_failures():
    plan = rollout_logs.plan_of(
        SETTINGS, hard_stops={"error": 10}, alpha={"planned": 1e-9, "reserve": 1e-9, "ratio": 0.01}
    )
    log = with_late_scores(rollout_logs.log({0.5: 1.0}, seed=3, error=0.0, rate=120))
    failing = (pl.col("arm") == "canary") & (pl.col("weight") > 0) & ~pl.col("late")
    final = decided(with_changes(log, error=failing | pl.col("error")), plan)[-1]
    assert (final.action, final.because) == ("stop", "hard stop")


def test_an_answer_to_the_step_before_may_come_after_one_of_the_next(short):
    log = rollout_logs.log({0.05: 2.0, 0.25: 2.0}, seed=1)
    first = int((log["weight"] == 0.05).sum() + (log["weight"] == 0).sum())
    straggler = log[first - 1 : first].with_columns(time=log["time"][first + 5])
    mixed = pl.concat([log[: first - 1], log[first : first + 6], straggler, log[first + 6 :]])
    assert decided(mixed)[-1].units == decided(log)[-1].units


def silent(log: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """The log without these seconds of the ramp."""
    begun = log.filter(pl.col("weight") > 0)["time"][0]
    passed = (pl.col("time") - begun).dt.total_seconds()
    return log.filter((passed < start) | (passed >= end))


@pytest.mark.parametrize(
    "missing",
    [
        lambda log: silent(log, 60, 300),
        lambda log: silent(log, 60, 100_000),
        lambda log: log.filter((pl.col("weight") == 0) | (pl.int_range(pl.len()) % 200 == 0)),
        lambda log: with_changes(log, score=pl.lit(None), latency_ms=pl.lit(None, dtype=pl.Float64)),
    ],
    ids=["outage of both arms", "gap to the end", "windows without requests", "nothing measured but errors"],
)
def test_missing_data_neither_roll_back_nor_promote(short, missing):
    decisions = decided(missing(short))
    assert {d.action for d in decisions} == {"hold"}
    assert not any(d.because == "sample ratio" for d in decisions)
    assert decisions[-1].verdict == "inconclusive"


def test_the_clock_stands_still_while_nothing_arrives(short):
    assert decided(short)[-1].minutes == pytest.approx(6, abs=0.1)
    assert decided(silent(short, 60, 300))[-1].minutes == pytest.approx(6 - 4 + PLAN.silence_seconds / 60, abs=0.1)


def test_no_proof_by_the_horizon_asks_a_human_and_never_promotes(healthy):
    plan = QUICK.model_copy(update={"horizon_minutes": 5.0})
    decisions = decided(healthy, plan)
    assert (decisions[-1].action, decisions[-1].because, decisions[-1].human) == ("hold", "horizon", True)
    assert all(d.action == "hold" for d in decisions)
    assert "so far" in decisions[0].reason


def test_after_the_horizon_the_reserve_still_rolls_back():
    plan = QUICK.model_copy(update={"horizon_minutes": 0.5})
    final = decided(rollout_logs.log({0.5: 6.0}, seed=5, error=0.05), plan)[-1]
    assert (final.action, final.culprits[0]) == ("rollback", "error")
    assert final.minutes >= 1


def test_users_who_come_back_are_judged_by_placebos():
    log = rollout_logs.log({0.25: 4.0}, seed=6, users=300)
    assert decided(log)[-1].action == "hold"
    assert decided(rollout_logs.log({0.25: 4.0}, seed=6, users=300, error=0.2))[-1].action == "rollback"


def crowded(failing: float) -> pl.DataFrame:
    """Scores that crowd at 1 but for a tenth that are 0; all are a little lower on the canary, so many of its are 0."""
    log = rollout_logs.log({0.25: 8.0}, seed=12)
    rng = np.random.default_rng(12)
    canary = (log["arm"] == "canary").to_numpy()
    score = 1 - 0.02 * rng.exponential(size=log.height) - 0.02 * canary
    score = np.where(rng.random(log.height) < np.where(canary, failing, 0.1), 0.0, np.clip(score, 0, 1))
    return log.with_columns(score=pl.when(pl.col("score").is_not_null()).then(pl.Series(score)))


def test_a_small_loss_of_all_scores_shows_in_their_order():
    """The mean alone, with a tenth of zeros, would take thousands."""
    final = decided(crowded(failing=0.1), QUICK)[-1]
    assert (final.action, final.culprits) == ("rollback", ("score",))


def test_a_canary_with_the_better_mean_is_not_rolled_back_by_the_order_of_its_scores():
    assert all(d.action != "rollback" for d in decided(crowded(failing=0.0), QUICK))


def test_a_controller_that_starts_again_decides_the_same(healthy):
    rows = rollout.from_table(healthy, QUICK)
    whole = list(rollout.changes(QUICK, rows))
    before, during = split(rows)
    some = [w for w in windows(during, QUICK) if w.clock <= 25 * 60]
    again = Analysis(QUICK, before)
    for window in some:
        again.look(window)
    said = [d for d in whole if d.minutes <= 25][-1]
    assert (again.decision.action, again.decision.to, again.decision.because) == (said.action, said.to, said.because)
    assert not again.over


def test_a_rollback_in_the_log_ends_it(short):
    later = short.with_columns(time=pl.col("time") + pl.duration(minutes=10), weight=pl.lit(0.0), arm=pl.lit("stable"))
    assert decided(pl.concat([short, later]))[-1] == decided(short)[-1]
    another = short.filter(pl.col("weight") > 0).with_columns(time=pl.col("time") + pl.duration(minutes=30))
    assert decided(pl.concat([short, later, another]))[-1] == decided(short)[-1]


def test_an_answer_to_a_request_of_before_the_rollout_does_not_end_it(short):
    first = int((short["weight"] == 0).sum())
    straggler = short[first - 1 : first].with_columns(time=short["time"][first + 5])
    mixed = pl.concat([short[: first - 1], short[first : first + 6], straggler, short[first + 6 :]])
    assert decided(mixed)[-1].units[0] == decided(short)[-1].units[0]


def test_quantiles_come_from_the_beginning_where_there_is_nothing_before():
    log = rollout_logs.log({0.25: 4.0}, before=0, seed=7)
    states = {state.signal: state for state in decided(log)[-1].signals}
    assert states["latency_ms above p75"].stable > 100
    late = {s.signal: s for s in decided(rollout_logs.log({0.25: 1.0}, before=0, seed=7))[-1].signals}
    assert late["latency_ms above p99"].stable == 0  # six hundred requests are too few for a p99


@pytest.mark.parametrize(
    "log",
    [lambda log: log.clear(), lambda log: log.filter(pl.col("weight") == 0)],
    ids=["empty", "production alone"],
)
def test_no_request_is_inconclusive(short, log):
    (only,) = decided(log(short))
    assert (only.action, only.because, only.verdict) == ("hold", "no request", "inconclusive")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda log: log.drop("error", "unit"), "lacks the columns ['unit', 'error']"),
        (lambda log: with_changes(log, time=pl.col("time").cast(pl.String)), "time is String"),
        (lambda log: with_changes(log, weight=pl.col("weight").cast(pl.String)), "weight is String"),
        (lambda log: with_changes(log, unit=pl.int_range(pl.len())), "unit is Int64, not text"),
        (lambda log: with_changes(log, error=pl.col("error").cast(pl.Int8)), "error is Int8, not boolean"),
        (lambda log: with_changes(log, arm=pl.lit("blue")), "arm is neither canary nor stable in 4800 rows"),
        (lambda log: with_changes(log, weight=pl.col("weight") + 1), "weight is no share from 0 to 1"),
        (lambda log: with_changes(log, weight=pl.lit(float("nan"))), "weight is not finite"),
        (lambda log: with_changes(log, time=pl.lit(None, dtype=pl.Datetime)), "time is missing"),
        (lambda log: with_changes(log, time=pl.col("time") + pl.duration(days=3_000_000)), "time is in no year from 1"),
        (lambda log: with_changes(log, time=pl.lit(1e20)), "time is in no year from 1 to 9999"),
        (lambda log: with_changes(log, latency_ms=pl.lit(float("nan"))), "latency_ms is not finite"),
        (lambda log: with_changes(log, latency_ms=pl.concat_list("latency_ms")), "latency_ms is List(Float64)"),
        (lambda log: with_changes(log, latency_ms=-pl.col("latency_ms")), "latency_ms is negative"),
        (lambda log: with_changes(log, score=pl.col("score") + 1), "score is outside 0 to 1"),
        (lambda log: with_changes(log, late=pl.lit("no")), "late is String, not boolean"),
        (lambda log: with_changes(log, late=pl.lit(None, dtype=pl.Boolean)), "late is missing"),
        (lambda log: log.reverse(), "time is earlier than the row before"),
        (
            lambda log: with_changes(log, weight=pl.when(pl.int_range(pl.len()) < 3000).then(0.5).otherwise(0.1)),
            "goes down",
        ),
        (lambda log: with_changes(log, arm=pl.lit("stable")), "are not on the arm that the plan's salt gives"),
        (lambda log: with_changes(log, unit=pl.col("unit") + "x"), "are not on the arm that the plan's salt gives"),
    ],
)
def test_a_log_that_cannot_be_trusted_is_refused_by_name(short, change, said):
    with pytest.raises(Error) as caught:
        decided(change(short))
    assert said in caught.value.problem
    assert caught.value.hint


def test_without_a_salt_there_are_no_placebos_but_counts(short):
    with pytest.raises(Error, match="no salt"):
        decided(short, PLAN.model_copy(update={"salt": None}))
    assert decided(short, PLAN.model_copy(update=COUNTS))[-1].action == "hold"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": [{"weight": 0.5, "minutes": 1}, {"weight": 0.1, "minutes": 1}]}, "must go up"),
        ({"steps": [{"weight": 0.5, "minutes": 1}]}, "3 margins for 1 steps"),
        ({"metrics": {"error": {"kind": "failure", "tolerated": 2.5, "margins": [3, 2, 2]}}}, "must be above"),
        ({"metrics": {"time": {"kind": "event", "tolerated": 1, "margins": [3, 2, 2]}}}, "may not name"),
        ({"hard_stops": {"latency_ms": 3}}, "no boolean columns"),
        ({"placebos": 10}, "placebos"),
        ({"alpha": {"planned": 0.05, "reserve": 0.0, "ratio": 0.01}}, "alpha.reserve"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(in_tmp, short, capsys, changes, said):
    short.write_parquet("log.parquet")
    Path("plan.yaml").write_text(yaml.safe_dump(PLAN.model_dump(mode="json") | changes))
    assert cli.main(["--params", PARAMS, "rollout", "replay", "log.parquet", "--plan", "plan.yaml"]) == 1
    assert said in capsys.readouterr().err


def replay(log: pl.DataFrame, plan: Plan) -> int:
    log.write_parquet("log.parquet")
    Path("plan.yaml").write_text(yaml.safe_dump(plan.model_dump(mode="json")))
    return cli.main(["--params", PARAMS, "rollout", "replay", "log.parquet", "--plan", "plan.yaml"])


def test_replay_prints_a_line_of_json_a_decision_and_exits_with_the_verdict(in_tmp, healthy, short, capsys, caplog):
    assert replay(healthy, QUICK) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["action"] == "promote"
    assert lines[-1]["limits"] == {"e_worse_mean": 100.0, "e_no_worse": 20.0}
    assert all(before["time"] <= after["time"] for before, after in pairwise(lines))
    assert replay(short, PLAN) == 4
    assert "copies of others" not in caplog.text
    assert replay(pl.concat([short, short[-9:]]).sort("time"), PLAN) == 4
    assert f"9 of {short.height + 9} rows are copies of others" in caplog.text
    assert replay(rollout_logs.log({0.5: 1.0}, error=0.5), PLAN) == 3


def test_replay_says_what_it_cannot_read(in_tmp, capsys):
    arguments = ["--params", PARAMS, "rollout", "replay", "log.parquet"]
    assert cli.main(arguments) == 1
    assert "log.parquet not found" in capsys.readouterr().err
    Path("log.parquet").write_bytes(b"PAR1 and no more")
    assert cli.main(arguments) == 1
    assert "log.parquet is damaged" in capsys.readouterr().err
    rollout_logs.log({0.05: 0.1}).write_parquet("log.parquet")
    assert cli.main([*arguments, "--plan", "plan.yaml"]) == 1
    assert "plan.yaml not found" in capsys.readouterr().err
    assert cli.main(arguments) == 1
    assert "the plan has no salt" in capsys.readouterr().err
