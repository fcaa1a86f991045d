"""Whether new rows are fit and worth a pull request, what it costs, and when a human must look."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_alert import signal
from trunkline import retraining
from trunkline.records import Report
from trunkline.records.monitoring import Monitoring
from trunkline.retraining import Cost
from trunkline.verdict import Check, Limit, Verdict

NEW = "2026-11.jsonl"
LIMIT = Limit.model_validate({"pass": 0.05, "fail": 0.20})
LIMITS = {"rejected": LIMIT, "duplicates": LIMIT, "conflicts": LIMIT, "shift": LIMIT}
CHEAP = Cost(last=0.5, ratio=1.2, hours=0.6, usd=0.6)


def report(**counts: int) -> Report:
    """Of the data stage, whose new partition has these counts."""
    rows = {"read": 100, "rejected": 0, "duplicates": 0, "conflicts": 0, "kept": 100} | counts
    old = {"partition": "2026-10.jsonl", "read": 9900, "rejected": 0, "duplicates": 0, "conflicts": 0, "kept": 9900}
    details = {"partitions": [old, {"partition": NEW, **rows}]}
    return Report.of("data", (), {"examples": 9900 + rows["kept"]}, details)


def check(verdict: Verdict, value: float | None = 0.1) -> Check:
    return Check(name="data.limits.shift", verdict=verdict, value=value, limit=0.05, message="intent shifted")


def monitoring(*signals: object) -> Monitoring:
    return Monitoring(
        model="m",
        environment="production",
        release="m@v1.0.0",
        since="2026-11-01",
        until="2026-11-02",
        predictions=10,
        labels=1,
        verdict=Verdict.FAIL,
        signals=signals,
    )


@given(st.sets(st.sampled_from(["2026-11", *(f"2026-11_{number}" for number in range(2, 8))])))
def test_a_partition_takes_no_name_that_is_taken_and_is_read_after_those_of_its_month(taken):
    found = retraining.name("2026-11", sorted(taken))
    assert found not in taken
    before = [name for name in taken if name == "2026-11" or int(name[8:]) < int(found[8:] or 1)]
    assert all(f"{name}.jsonl" < f"{found}.jsonl" for name in before)


@pytest.mark.parametrize(
    ("counts", "unreadable", "verdicts"),
    [
        ({}, 0, "pass pass pass"),
        ({"rejected": 21}, 0, "fail pass pass"),
        ({"rejected": 10}, 0, "inconclusive pass pass"),
        ({}, 30, "fail pass pass"),
        ({"duplicates": 30}, 0, "pass fail pass"),
        ({"conflicts": 30}, 0, "pass pass fail"),
        ({"read": 0, "kept": 0}, 0, "inconclusive inconclusive inconclusive"),
        ({"rejected": 100, "kept": 0}, 0, "fail inconclusive inconclusive"),
    ],
)
def test_a_bad_partition_is_found_however_many_good_rows_there_are_besides(counts, unreadable, verdicts):
    found = retraining.checks(report(**counts), NEW, unreadable, LIMITS)
    assert [one.verdict for one in found] == verdicts.split()


def test_a_partition_that_the_report_does_not_name_is_not_measured():
    assert {one.verdict for one in retraining.checks(report(), "other.jsonl", 0, LIMITS)} == {Verdict.INCONCLUSIVE}


def test_what_is_not_fit_is_told_with_its_numbers():
    found = [check(Verdict.FAIL), check(Verdict.PASS), check(Verdict.INCONCLUSIVE, None)]
    assert retraining.failures(found) == ["data.limits.shift: intent shifted (0.1, limit 0.05)"]


def test_the_cost_grows_with_the_examples():
    trained = Report.of("train", (), {"gpu_hours": 2.0}, {})
    found = retraining.cost(trained, report(kept=1100), NEW, 3.0)
    assert found is not None
    assert found.ratio == pytest.approx(11000 / 9900)
    assert found.hours == pytest.approx(2.0 * 11000 / 9900)
    assert found.usd == pytest.approx(3.0 * found.hours)


@pytest.mark.parametrize("trained", [None, Report.of("train", (), {}, {})])
def test_without_a_run_before_the_cost_is_not_known(trained):
    assert retraining.cost(trained, report(), NEW, 3.0) is None


def test_nothing_is_unusual_where_all_passes_and_the_budget_holds():
    assert retraining.unusual([check(Verdict.PASS)], monitoring(signal(), signal("quality/a")), CHEAP, 4.0) == []


@pytest.mark.parametrize(
    ("found", "monitored", "cost", "said"),
    [
        ([check(Verdict.INCONCLUSIVE)], monitoring(), CHEAP, "intent shifted"),
        ([], None, CHEAP, "the monitor has left no report"),
        ([], monitoring(signal("serving/errors")), CHEAP, "do not mend the alarms serving/errors"),
        ([], monitoring(signal("provider/answers")), CHEAP, "provider/answers"),
        ([], monitoring(), None, "not known"),
        ([], monitoring(), CHEAP._replace(hours=4.1), "4.1 GPU hours, and train.max_gpu_hours is 4"),
        ([], monitoring(), CHEAP._replace(hours=float("nan")), "nan GPU hours"),
    ],
)
def test_a_human_looks_at_what_is_unusual(found, monitored, cost, said):
    (reason,) = retraining.unusual(found, monitored, cost, 4.0)
    assert said in reason


@pytest.mark.parametrize(
    ("before", "now", "worth"),
    [
        ("a\nb\n", "a\nb\n", False),
        ("a\nb\n", "a\nb\nc\n", False),
        ("a\nb\n", "a\nb\nc\nd\n", True),
        ("a\nb\n", "a\n", True),
        ("", "a\nb\n", True),
    ],
)
def test_an_open_partition_is_written_anew_for_enough_new_rows_or_one_that_must_go(before, now, worth):
    assert retraining.worth(before, now, least=2) is worth
