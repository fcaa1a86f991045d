"""What a column of a plan is of a logged prediction, and how a log that grows is followed."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import logged
import rollout_logs
from trunkline import assignment, rollout
from trunkline.clients.predictions import Database
from trunkline.errors import Error
from trunkline.records.prediction import Selection
from trunkline.records.rollout import Alpha
from trunkline.rollout import Following, requests, unhashed
from trunkline.rollout.log import part
from trunkline.rollout.windows import BEGINNING, windows

NAMES = ("error", "blocked", "format_error", "empty", "pii_leak@1")
METRICS = {
    **{name: {"kind": "event", "tolerated": 1.0, "margins": [2.0]} for name in NAMES[1:]},
    "error": {"kind": "failure", "tolerated": 1.0, "margins": [2.0]},
    **{
        name: {"kind": "amount", "quantiles": [0.5], "tolerated": 1.0, "margins": [2.0]}
        for name in ("latency_ms", "ttft_ms", "tokens_out", "usd")
    },
    "score": {"kind": "score", "tolerated": 0.0, "margins": [0.1]},
}
PLAN = rollout_logs.plan_of(
    rollout_logs.settings(), metrics=METRICS, steps=[{"weight": 0.5, "minutes": 1}], hard_stops={}
)
WEIGHT = 0.5
SECOND = timedelta(seconds=1)
UNASKED = {"engine_model": None, "tokens_out": None, "ttft_ms": None, "tokens_in": None, "usd": None}


@pytest.fixture
def database(tmp_path):
    return Database(f"sqlite:///{tmp_path}/log.sqlite")


def unit_on(arm: str) -> str:
    return next(f"u-{k}" for k in range(99) if assignment.arm_of(PLAN.salt, f"u-{k}", WEIGHT) == arm)


def asked(arm: str = "canary", **changes):
    return logged.assigned(**({"unit": unit_on(arm), "arm": arm, "weight": WEIGHT} | changes))


def table(database, later: float = 3600.0, timeout: float = 120.0) -> pl.DataFrame:
    window, feedback = database.window(Selection()), database.feedback(Selection())
    return requests.table(window, feedback, PLAN, timeout, logged.NOW.timestamp() + later)


def only(database, **changes) -> dict:
    one = asked()
    database.add([one, logged.ended(one, **({"time": logged.NOW + SECOND, "findings": ()} | changes))])
    (row,) = table(database).iter_rows(named=True)
    assert rollout.from_table(table(database), PLAN).time.size == 1
    return row


def test_an_answer_is_no_event_and_has_its_amounts(database):
    row = only(database, format_ok=True)
    assert (row["time"], row["arm"], row["weight"], row["late"]) == (logged.NOW + SECOND, "canary", WEIGHT, False)
    assert {name: row[name] for name in NAMES} == dict.fromkeys(NAMES, False)
    assert (row["latency_ms"], row["ttft_ms"], row["tokens_out"], row["usd"]) == (120.5, 40.0, 24, 0.00001)
    assert row["score"] is None


@pytest.mark.parametrize("kind", ["engine", "timeout", "whatever a gateway may call it"])
def test_a_failure_is_an_error_whose_amounts_say_nothing(database, kind):
    row = only(database, error=kind, status=503, **UNASKED)
    assert row["error"] is True
    assert {row[name] for name in ("latency_ms", "ttft_ms", "tokens_out", "usd", "format_error", "empty")} == {None}


def test_a_client_that_left_is_no_error_but_has_waited_so_long(database):
    row = only(database, error="client_left", status=499, latency_ms=9000.0, ttft_ms=None)
    assert (row["error"], row["latency_ms"], row["tokens_out"]) == (False, 9000.0, None)


def test_a_guard_that_blocks_the_input_is_not_the_arms_fault_and_one_that_blocks_the_output_is(database):
    row = only(database, error="guard", status=400, **UNASKED)
    assert (row["error"], row["blocked"], row["latency_ms"]) == (False, False, None)


def test_a_blocked_output_is_an_error_and_counted_by_itself(database):
    row = only(database, error="guard", status=400, findings=("pii_leak@1:0123456789ab",))
    assert (row["error"], row["blocked"], row["pii_leak@1"]) == (True, True, True)


def test_a_finding_of_a_guard_is_an_event_by_the_guards_name(database):
    assert only(database, findings=("pii_leak@1:0123456789ab", "pii@1:0"))["pii_leak@1"] is True


def test_a_wrong_format_and_an_empty_answer_are_events(database):
    row = only(database, format_ok=False, output=" \n")
    assert (row["format_error"], row["empty"], row["error"]) == (True, True, False)


def test_what_is_still_being_answered_is_left_out_until_no_answer_can_come(database):
    database.add([asked()])
    assert table(database, later=119.9).is_empty()
    (row,) = table(database, later=120.0).iter_rows(named=True)
    assert (row["error"], row["time"]) == (None, logged.NOW + timedelta(seconds=120))
    rows = rollout.from_table(table(database), PLAN)
    assert rows.outcomes["error"].tolist() == [1.0]


def test_an_outcome_is_left_out_until_it_is_known(database):
    one = asked()
    database.add([one, logged.ended(one, time=logged.NOW + 60 * SECOND)])
    assert table(database, later=59.9).is_empty()
    assert table(database, later=60.0).height == 1


def test_a_score_is_a_row_of_its_own_at_its_time_the_first_of_others_than_production_and_its_judge(database):
    one = asked()
    said = ((4, "judge:01", 1.0), (5, "production", 1.0), (6, "judge", 7.0), (7, "judge", 0.25), (8, "agent", 0.75))
    scores = [logged.said(one, time=logged.NOW + n * SECOND, source=source, score=score) for n, source, score in said]
    database.add([one, logged.ended(one, time=logged.NOW + SECOND), *scores])
    first, second = table(database).iter_rows(named=True)
    assert (first["late"], first["score"]) == (False, None)
    assert (second["late"], second["score"], second["time"]) == (True, 0.25, logged.NOW + 7 * SECOND)
    assert (second["unit"], second["arm"], second["weight"]) == (first["unit"], "canary", WEIGHT)
    rows = rollout.from_table(table(database), PLAN)
    assert rows.outcomes["error"].tolist()[0] == 0.0
    assert np.isnan(rows.outcomes["error"][1]), "a late row is no request without an answer"
    assert table(database, later=6.5).height == 1


def test_an_erased_unit_has_a_stand_in_on_its_arm(database):
    both = [asked("canary", customer="c-1"), asked("stable", customer="c-1")]
    database.add([*both, *map(logged.ended, both)])
    database.erase("c-1", 2**62)
    erased = table(database)
    assert set(erased["unit"]) & {unit_on("canary"), unit_on("stable")} == set()
    assert sorted(erased["arm"]) == ["canary", "stable"]
    part(erased, PLAN)
    with pytest.raises(Error, match="not on the arm"):
        part(erased.with_columns(arm=pl.lit("stable")), PLAN)


def test_what_each_arm_has_been_through(database):
    canary, stable = [asked(customer="c-1") for _ in range(3)], [asked("stable") for _ in range(2)]
    database.add([*canary, *stable, logged.ended(canary[0]), logged.ended(canary[1], error="engine")])
    database.add([logged.ended(stable[0], output=""), logged.said(canary[0], time=logged.NOW + SECOND)])
    found = requests.arms(table(database), PLAN)
    assert found == {"canary": requests.Arm(3, 1, 2), "stable": requests.Arm(2, 1, 2)}
    assert requests.arms(table(database).clear(), PLAN)["canary"] == requests.Arm(0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hard_stops": {"typo": 1}}, "rollout names typo"),
        ({"hard_stops": {"pii@9": 1}}, "rollout names pii@9"),
        ({"metrics": METRICS | {"error": METRICS["latency_ms"]}}, "rollout names error"),
        ({"metrics": METRICS | {"latency_ms": METRICS["score"]}}, "rollout names latency_ms"),
    ],
)
def test_a_plan_may_only_name_what_is_logged(changes, said):
    requests.check(PLAN, ["pii_leak@1"], "text")
    with pytest.raises(Error, match=said):
        requests.check(
            rollout_logs.plan_of(rollout_logs.settings(), **(PLAN.model_dump() | changes)), ["pii_leak@1"], "text"
        )


def test_empty_answers_need_answers_that_are_kept():
    with pytest.raises(Error, match="serve.log.output keeps no text"):
        requests.check(PLAN, ["pii_leak@1"], "hash")


# Following a log that grows

QUICK = rollout_logs.plan_of(rollout_logs.settings(), placebos=99, hard_stops={"error": 4})
LOG = rollout_logs.log({0.25: 2.0}, before=0.5, rate=200, seed=8).with_columns(late=pl.lit(False))
LOG = LOG.with_columns(pl.col("time").dt.replace_time_zone("UTC"))
BEFORE, DURING = LOG.filter(pl.col("weight") == 0), LOG.filter(pl.col("weight") > 0)
BEGUN = DURING["time"][0].timestamp()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 200), min_size=1, max_size=8).map(sorted))
def test_however_often_one_looks_the_decision_is_that_of_one_look(moments):
    following = Following(QUICK, BEFORE)
    for moment in moments:
        known = DURING.filter(pl.col("time") <= datetime.fromtimestamp(BEGUN + moment, UTC))
        assert following.fits(known)
        decision = following.look(known, BEGUN + moment)
    assert decision == Following(QUICK, BEFORE).look(known, BEGUN + moments[-1])


def test_a_row_that_comes_too_late_no_longer_fits():
    following = Following(QUICK, BEFORE)
    without = DURING[:50].vstack(DURING[51:])
    following.look(without, BEGUN + 60)
    assert following.fits(without)
    assert not following.fits(DURING)
    early = Following(QUICK, BEFORE)
    early.look(DURING[:10], BEGUN + 60)
    assert not early.fits(DURING), "the next row belongs to a window that was looked at already"


def test_a_hard_stop_does_not_wait_for_the_end_of_its_window():
    plan = QUICK.model_copy(update={"alpha": Alpha(planned=1e-9, reserve=1e-9, ratio=1e-9)})
    failing = DURING.with_columns(error=pl.col("arm") == "canary")
    following = Following(plan, BEFORE)
    for number, time in enumerate(failing.filter(pl.col("arm") == "canary")["time"].to_list()[:4], start=1):
        known = failing.filter(pl.col("time") <= time)
        decision = following.look(known, time.timestamp())
        assert (decision.action == "stop") is (number == 4)
    assert (decision.because, decision.culprits, decision.to) == ("hard stop", ("error",), 0.0)
    assert 60 * decision.minutes < time.timestamp() - BEGUN, "the last window that has ended was before"
    ended = BEGUN + 60 * decision.minutes + plan.poll_seconds
    whole = Following(plan, BEFORE).look(failing.filter(pl.col("time") <= datetime.fromtimestamp(ended, UTC)), ended)
    assert (whole.action, whole.culprits) == (decision.action, decision.culprits)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=6).map(lambda cuts: sorted(set(cuts))))
def test_windows_and_clock_are_the_same_to_the_last_bit_wherever_one_goes_on(cuts):
    rows = part(DURING, QUICK)
    whole = list(windows(rows, QUICK))
    place, found, taken = BEGINNING, [], 0
    for cut in [*cuts, rows.time.size]:
        if cut > taken:
            now = float(rows.time[cut - 1])
            for window in windows(rows.taken(slice(taken, cut)), QUICK, place, now):
                found.append(window)
                place, taken = window.place, taken + window.rows.time.size
    assert [(w.start, w.clock, w.place) for w in found] == [(w.start, w.clock, w.place) for w in whole[: len(found)]]
    assert len(whole) - len(found) <= 1


# Without salt and weight, as on Kubernetes

COUNTS = rollout_logs.plan_of(
    rollout_logs.settings(),
    method="counts",
    salt=None,
    poll_seconds=60,
    hard_stops={},
    metrics={"error": {"kind": "failure", "tolerated": 1.0, "margins": [3.0, 2.0, 2.0]}},
)


def split_at_random(weight: float, error: float, seed: int, minutes: float = 20, rate: int = 300) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = int(minutes * rate)
    canary = rng.random(n) < weight
    failed = rng.random(n) < np.where(canary, error, 0.05)
    times = rollout_logs.START + (np.sort(60e6 * minutes * rng.random(n))).astype("timedelta64[us]")
    frame = pl.DataFrame(
        {
            "time": pl.Series(times).dt.replace_time_zone("UTC"),
            "unit": [f"r-{k}" for k in range(n)],
            "arm": np.where(canary, "canary", "stable"),
            "late": False,
            "error": failed,
        }
    )
    return unhashed.weighted(frame, 60)


def judged(log: pl.DataFrame, weight: float | None = 0.25):
    return unhashed.judge(COUNTS, log.clear(), log, weight, log["time"][-1].timestamp())


def test_without_a_weight_a_hard_stop_waits_for_no_window_either():
    plan = COUNTS.model_copy(update={"hard_stops": {"error": 5}})
    log = split_at_random(0.25, 0.05, 2, minutes=1.2)
    broken = log.with_columns(error=pl.col("error") | ((pl.col("arm") == "canary") & (pl.int_range(pl.len()) > 330)))
    now = log["time"][-1].timestamp()
    assert unhashed.judge(plan, log.clear(), log, 0.25, now).verdict == "inconclusive"
    decision = unhashed.judge(plan, log.clear(), broken, 0.25, now)
    assert (decision.action, decision.verdict, decision.weight) == ("stop", "fail", 0.25)


def test_without_a_weight_in_the_log_a_canary_is_judged_by_its_share():
    assert judged(split_at_random(0.25, 0.25, 1)).verdict == "fail"
    good = judged(split_at_random(0.25, 0.05, 2))
    assert (good.verdict, good.because, good.weight) == ("pass", "enough", 0.25)
    assert judged(split_at_random(0.25, 0.05, 2), weight=None).verdict == "inconclusive"
    assert judged(split_at_random(0.25, 0.25, 1), weight=None).verdict == "fail"
    assert judged(split_at_random(0.25, 0.05, 3, minutes=3, rate=60)).because == "evidence"


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_without_requests_on_both_arms_nothing_passes(weight):
    only = judged(split_at_random(weight, 0.05, 4))
    assert (only.verdict, only.because) == ("inconclusive", "no request")


def test_a_canary_as_bad_as_the_margin_passes_no_more_often_than_beta(monkeypatch):
    """Of 150 such canaries more than 14 pass with a chance below 1 in 100; nothing is rolled back meanwhile."""
    alpha = COUNTS.alpha.model_copy(update={"planned": 1e-9, "reserve": 1e-9})
    monkeypatch.setitem(globals(), "COUNTS", COUNTS.model_copy(update={"alpha": alpha}))
    as_bad = [judged(split_at_random(0.25, 0.10, seed, minutes=5)).verdict for seed in range(150)]
    as_good = [judged(split_at_random(0.25, 0.05, seed, minutes=10)).verdict for seed in range(30)]
    assert as_bad.count("pass") <= 14
    assert "fail" not in as_good
    assert as_good.count("pass") >= 15, "most that are as good pass"
