"""What a rollout's shadow decides: by pairs of answers to the same request, and never without them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rollout_logs
from trunkline.clients.predictions import PAIRS
from trunkline.records.rollout import Plan
from trunkline.rollout import Decision, shadow
from trunkline.rollout.shadow import Clock

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
TIMEOUT = 30.0
SHADOW = {"share": 0.5, "minutes": 3.0, "pairs": 40, "margin": 0.1, "at_once": 4}
FINE: dict[str, Any] = {
    "error": None,
    "latency_ms": 100.0,
    "ttft_ms": 20.0,
    "tokens_out": 5,
    "engine_model": "m",
    "format_ok": True,
}
BAD = {
    "error": {**dict.fromkeys(FINE), "error": "timeout"},
    "format_error": {"format_ok": False},
    "blocked": {"error": "guard"},
}


PARAMS = rollout_logs.settings()


def plan_of(**changes: Any) -> Plan:
    return rollout_logs.plan_of(PARAMS, shadow={**SHADOW, **changes})


def pair(number: int, canary: Any = FINE, stable: Any = FINE, unit: str | None = None) -> dict[str, Any]:
    """A mirrored request, one a second; an arm is None where it has no outcome."""
    time = START + timedelta(seconds=number)
    row: dict[str, Any] = {"prediction": f"{number:08}", "unit": unit or f"unit-{number}", "time": time, "agree": True}
    for arm, made in (("canary", canary), ("stable", stable)):
        ended = None if made is None else time + timedelta(milliseconds=100)
        row |= {f"{arm}_{name}": value for name, value in {**FINE, **(made or {}), "ended": ended}.items()}
        if made is None:
            row |= {f"{arm}_{name}": None for name in FINE}
    return row


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(PAIRS))


def decide(rows: list[dict[str, Any]], minutes: float = 10.0, accepted: tuple[str, ...] = (), **plan: Any) -> Decision:
    now = START + timedelta(minutes=minutes)
    return shadow.judge(plan_of(**plan), frame(rows), Clock(START, now, TIMEOUT), accepted).decision


def said(decision: Decision) -> tuple[str, str, bool]:
    return decision.action, decision.because, decision.human


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 10_000), st.sampled_from([(), ("horizon",), ("sample ratio",)]))
def test_without_pairs_nothing_ever_goes_on_by_itself(minutes, accepted):
    decision = decide([], minutes, accepted)
    late = minutes > PARAMS.rollout.horizon_minutes
    assert said(decision) == (("hold", "pairs", True) if late else ("hold", "no request", False))
    assert (decision.verdict, decision.to, decision.units) == ("inconclusive", None, (0, 0))


def test_a_human_may_accept_that_nothing_was_measured():
    decision = decide([], 1, ("pairs",))
    assert said(decision) == ("advance", "no harm", False)
    assert decision.to == plan_of().steps[0].weight


@pytest.mark.parametrize("unmeasured", ["client_left", "shutdown"])
def test_pairs_that_were_cut_off_are_none(unmeasured):
    rows = [pair(number, stable={**FINE, "error": unmeasured}) for number in range(60)]
    rows += [pair(100 + number, canary={**FINE, "error": unmeasured}) for number in range(60)]
    rows += [pair(200 + number, stable=None) for number in range(60)]
    assert said(decide(rows)) == ("hold", "pairs", True)


@pytest.mark.parametrize(("name", "how"), BAD.items())
def test_a_canary_that_fails_where_stable_does_not_is_rolled_back_before_any_time_is_over(name, how):
    rows = [pair(number) for number in range(3)] + [pair(number, {**FINE, **how}) for number in range(3, 28)]
    decision = decide(rows, minutes=0.5)
    assert said(decision) == ("rollback", "worse", False)
    assert decision.verdict == "fail"
    assert name in decision.reason or "error" in decision.reason
    assert {state.signal: (state.canary, state.stable) for state in decision.signals}[name][1] == 0


def test_what_fails_alike_is_no_harm_and_what_the_canary_is_shown_not_to_do_ends_the_shadow_early():
    alike = [pair(number, BAD["format_error"], BAD["format_error"]) for number in range(150)]
    for rows in (alike, [pair(number) for number in range(150)]):
        decision = decide(rows, minutes=2.6)
        assert said(decision) == ("advance", "enough", False)
        assert (decision.to, decision.verdict) == (plan_of().steps[0].weight, "inconclusive")
        assert all(state.bound is not None and state.bound <= state.margin for state in decision.signals)


def test_the_time_over_without_harm_goes_on_where_enough_was_measured():
    rows = [pair(number, BAD["error"] if number == 9 else FINE) for number in range(45)]
    assert said(decide(rows, 2.9, margin=0.02)) == ("hold", "minutes", False)
    assert said(decide(rows, 3.1, margin=0.02)) == ("advance", "no harm", False)
    assert said(decide(rows, 3.1, margin=0.02, pairs=46)) == ("hold", "pairs", True)


def test_a_unit_votes_once():
    rows = [pair(number, BAD["error"], unit="the same") for number in range(200)]
    decision = decide(rows)
    assert said(decision) == ("hold", "pairs", True)
    assert decision.units == (1, 1)


def test_what_was_never_answered_has_failed_and_until_then_it_is_waited_for():
    rows = [pair(number) for number in range(50)] + [pair(number, canary=None) for number in range(50, 90)]
    early = decide(rows, (49.5 + TIMEOUT) / 60)
    assert early.units == (50, 50)
    assert {state.canary for state in early.signals} == {0}
    assert said(decide(rows, (91 + TIMEOUT) / 60)) == ("rollback", "worse", False)


def test_time_that_is_over_waits_for_what_was_asked_within_it():
    rows = [pair(number) for number in range(45)] + [pair(175, canary=None)]
    assert said(decide(rows, 3.1, margin=0.02)) == ("hold", "minutes", False)
    assert said(decide(rows, 3.0 + TIMEOUT / 60, margin=0.02)) == ("advance", "no harm", False)
    after = [pair(number) for number in range(45)] + [pair(184, canary=None)]
    assert said(decide(after, 3.1, margin=0.02)) == ("advance", "no harm", False)


ARMS = st.sampled_from([FINE, *({**FINE, **how} for how in BAD.values())])
STORIES = st.lists(st.tuples(ARMS | st.none(), ARMS, st.integers(0, 30)), min_size=1, max_size=60)


@given(STORIES, st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_rows_does_not_matter_and_what_follows_an_awaited_one_decides_nothing_yet(story, random):
    rows = [pair(number, canary, stable, f"unit-{unit}") for number, (canary, stable, unit) in enumerate(story)]
    mixed = random.sample(rows, len(rows))
    now = (len(rows) + 1) / 60
    assert decide(mixed, now) == decide(rows, now)
    # What was asked longer ago than the timeout is awaited no more.
    young = max(len(rows) + 1 - int(TIMEOUT), 0)
    awaited = next((place for place in range(young, len(rows)) if story[place][0] is None), len(rows))
    before = decide(rows[:awaited], now)
    assert decide(rows, now).signals == before.signals


def test_a_canary_that_is_as_bad_as_the_margin_is_seldom_rolled_back_however_often_one_looks():
    """What the paths ever reach counts, so the last look has all the others in it."""
    rng = np.random.default_rng(5)
    plan = rollout_logs.plan_of(PARAMS, shadow=SHADOW, alpha={"planned": 0.04, "reserve": 0.1, "ratio": 0.01})
    base = frame([pair(number) for number in range(300)])
    clock, rolled = Clock(START, START + timedelta(minutes=5.1), TIMEOUT), 0
    for _ in range(200):
        canary, stable = rng.random(300) < 0.15, rng.random(300) < 0.05
        rows = base.with_columns(canary_format_ok=pl.Series(~canary), stable_format_ok=pl.Series(~stable))
        rolled += shadow.judge(plan, rows, clock).decision.action == "rollback"
    assert rolled <= 0.1 * 200


def test_what_is_shown_besides_decides_nothing():
    rows = [pair(number, {**FINE, "latency_ms": 900.0}) | {"agree": False} for number in range(45)]
    decision = decide(rows, margin=0.02)
    assert said(decision) == ("advance", "no harm", False)
    assert "0% of the answers are the same" in decision.reason
    assert "9 times as long" in decision.reason


def test_how_many_units_it_takes_is_as_the_readme_says():
    plan = {"share": 0.25, "pairs": 100, "margin": 0.05}

    def first(canary: Any, action: str) -> int:
        rows = [pair(number, canary) for number in range(100)]
        return next(count for count in range(1, 101) if decide(rows[:count], 2, **plan).action == action)

    assert first(BAD["error"], "rollback") == 12
    assert first(FINE, "advance") == 70
