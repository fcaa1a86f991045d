"""A/B tests: a fixed split, effects in intervals that hold at every look, a conclusion, and never a promotion."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import rollout_logs
from rollouts import CANARY, World
from trunkline import cli, rollout, sequential
from trunkline.errors import Error
from trunkline.operations.rollout import telling
from trunkline.records.rollout import Plan
from trunkline.rollout import Analysis
from trunkline.rollout.decision import Decision, Effect
from trunkline.rollout.windows import split as parted
from trunkline.rollout.windows import windows
from trunkline.sequential import DIFFERENCE_CLAIMS, Bets, Tally

SETTINGS = rollout_logs.settings()
PLAN = rollout_logs.plan_of(SETTINGS, horizon_minutes=20, poll_seconds=60).tested_at(0.5)
LOOKS, LEVEL = 15, 0.05


def decided(plan: Plan = PLAN, minutes: float = 25.0, **canary: float) -> list[Decision]:
    log = rollout_logs.log({plan.steps[0].weight: minutes}, **canary)
    return list(rollout.changes(plan, rollout.from_table(log, plan)))


def effects(decision: Decision) -> dict[str, Effect]:
    return {state.signal: state.effect for state in decision.signals}


def proven(misses: int, runs: int) -> bool:
    """Whether so few runs miss that the chance to miss is at most LEVEL, with 99 % confidence."""
    return bool(stats.beta.ppf(0.99, misses + 1, runs - misses) <= LEVEL)


@pytest.mark.parametrize(("split", "stable", "canary"), [(0.5, 0.1, 0.1), (0.2, 0.05, 0.15), (0.5, 0.4, 0.2)])
def test_looked_at_after_every_window_the_interval_covers_the_true_ratio_in_95_of_100_runs(split, stable, canary):
    # An interval may use its level up, so it takes many runs to prove that it does not use up more.
    rng, runs, misses, narrow = np.random.default_rng(0), 1500, 0, 0
    for _ in range(runs):
        tally, missed = Tally(), False
        for _ in range(LOOKS):
            on_canary = rng.random(100) < split
            happened = rng.random(100) < np.where(on_canary, canary, stable)
            tally.add(np.full(int(happened.sum()), split), on_canary[happened])
            found = sequential.ratio_interval(tally, LEVEL)
            missed |= not found.low <= canary / stable <= found.high
        misses += missed
        narrow += found.high < 5 * found.low
    assert proven(misses, runs), f"{misses} of {runs} runs missed"
    assert narrow > runs / 2, "an interval that says nothing covers too"


@pytest.mark.parametrize(("split", "more"), [(0.5, 0.0), (0.2, -0.15)])
def test_looked_at_after_every_window_the_interval_covers_the_true_difference_in_95_of_100_runs(split, more):
    rng, runs, misses, width = np.random.default_rng(1), 300, 0, []
    for _ in range(runs):
        bets, missed = Bets(DIFFERENCE_CLAIMS), False
        for _ in range(LOOKS):
            on_canary = rng.random(80) < split
            # Right or wrong, the score that varies most.
            scores = (rng.random(80) < np.where(on_canary, 0.6 + more, 0.6)).astype(float)
            bets.add(scores, np.full(80, split), on_canary)
            found = sequential.difference_interval(bets, LEVEL)
            missed |= not found.low <= more <= found.high
        misses += missed
        width.append(found.high - found.low)
    assert proven(misses, runs), f"{misses} of {runs} runs missed"
    assert np.median(width) < 0.4, "an interval that says nothing covers too"


@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from([0.05, 0.3, 0.5, 0.9]))
def test_the_arms_exchanged_the_ratio_is_turned_over(canary, stable, split):
    here, there = Tally(), Tally()
    here.votes[split], there.votes[1 - split] = (canary, stable), (stable, canary)
    found, turned = sequential.ratio_interval(here, LEVEL), sequential.ratio_interval(there, LEVEL)
    assert found.low <= found.high
    assert found.low == pytest.approx(1 / turned.high if turned.high < math.inf else 0.0, rel=1e-6)
    if found.estimate is not None:
        assert found.low <= found.estimate <= found.high


def test_nothing_seen_rules_nothing_out():
    assert sequential.ratio_interval(Tally(), LEVEL) == (None, 0.0, math.inf)
    assert sequential.difference_interval(Bets(DIFFERENCE_CLAIMS), LEVEL) == (None, -1.0, 1.0)


def test_arms_that_are_alike_are_held_at_the_horizon_with_a_conclusion_and_never_promoted():
    decisions = decided()
    assert list(dict.fromkeys((each.action, each.because) for each in decisions)) == [
        ("hold", "minutes"),
        ("hold", "horizon"),
    ]
    final = decisions[-1]
    assert final.human
    assert final.verdict == "inconclusive"
    assert final.weight == 0.5
    assert "the A/B test has lasted 20 minutes: no difference shown: error" in final.reason
    for name, effect in effects(final).items():
        alike = 0.0 if name == "score" else 1.0
        assert effect.low < alike < effect.high
        assert effect.shows == "no difference shown"


def test_a_better_canary_is_shown_to_be_better_and_still_waits_for_a_human():
    final = decided(score=-0.1, slow=0.5)[-1]
    assert (final.action, final.because, final.human) == ("hold", "horizon", True)
    found = effects(final)
    assert found["score"].shows == "better"
    assert 0 < found["score"].low < found["score"].estimate
    assert found["latency_ms above p75"].shows == "better"
    assert found["latency_ms above p75"].high < 1
    assert "; no difference shown: error" in final.reason


def ever_differs(log: pl.DataFrame) -> bool:
    """Whether any interval left out, at any look, that the arms are alike."""
    before, during = parted(rollout.from_table(log, PLAN))
    analysis = Analysis(PLAN, before)
    for window in windows(during, PLAN):
        analysis.look(window)
        if any(effect.shows != "no difference shown" for effect in effects(analysis.decision).values()):
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("users", [0, 300])
def test_all_intervals_hold_at_once_at_every_look_in_95_of_100_tests_of_equal_releases(users):
    runs = 150
    misses = sum(ever_differs(rollout_logs.log({0.5: 20.0}, seed, users=users, rate=100)) for seed in range(runs))
    print(f"{misses} of {runs} runs missed")
    assert proven(misses, runs), f"{misses} of {runs} runs missed"


def test_each_look_tells_the_effects_so_far():
    first = decided(minutes=3.0)[0]
    assert first.because == "minutes"
    assert "the A/B test lasts 20 minutes: no difference shown: error" in first.reason


@pytest.mark.parametrize(
    ("worse", "action"), [({"error": 0.05}, "rollback"), ({"score": 0.15}, "rollback"), ({"error": 1.0}, "stop")]
)
def test_a_worse_canary_does_not_serve_its_half_until_the_horizon(worse, action):
    quiet = {"planned": 1e-9, "reserve": 1e-9, "ratio": 0.01}
    plan = PLAN if action == "rollback" else Plan.model_validate(PLAN.model_dump() | {"alpha": quiet})
    final = decided(plan, **worse)[-1]
    assert (final.action, final.to) == (action, 0.0)
    assert final.minutes < 20


def test_it_is_decided_the_same_when_the_plan_comes_from_its_file(tmp_path, capsys):
    rollout_logs.log({0.5: 25.0}).write_parquet(tmp_path / "log.parquet")
    (tmp_path / "plan.yaml").write_text(PLAN.yaml())
    arguments = ["rollout", "replay", str(tmp_path / "log.parquet"), "--plan", str(tmp_path / "plan.yaml")]
    assert cli.main(arguments) == 4
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert Decision.model_validate(last) == decided()[-1]


def replay(folder: Path, log: pl.DataFrame, split: str) -> int:
    """Replay a log with the plan of a ramp."""
    log.write_parquet(folder / "log.parquet")
    ramp = rollout_logs.plan_of(SETTINGS, horizon_minutes=20, poll_seconds=60)
    (folder / "ramp.yaml").write_text(ramp.yaml())
    plan = ["--plan", str(folder / "ramp.yaml")]
    return cli.main(["rollout", "replay", str(folder / "log.parquet"), *plan, "--split", split])


def test_a_log_with_one_share_is_judged_as_an_ab_test_whatever_the_plan_is(tmp_path, capsys):
    assert replay(tmp_path, rollout_logs.log({0.5: 25.0}, score=-0.1), "0.5") == 4
    last = Decision.model_validate_json(capsys.readouterr().out.splitlines()[-1])
    assert last == decided(score=-0.1)[-1]
    assert (last.because, effects(last)["score"].shows) == ("horizon", "better")


def test_a_log_with_other_shares_is_no_such_test(tmp_path, capsys):
    assert replay(tmp_path, rollout_logs.log({0.25: 1.0}), "0.5") == 1
    err = capsys.readouterr().err
    assert "the log's canary had 0.25 of the units, not the split 0.5" in err
    assert "give --split 0.25" in err
    assert replay(tmp_path, rollout_logs.log({0.05: 1.0, 0.25: 1.0}), "0.25") == 1
    err = capsys.readouterr().err
    assert "had 0.05, 0.25 of the units, not the split 0.25" in err
    assert "a ramp is no A/B test" in err
    assert replay(tmp_path, rollout_logs.log({0.5: 1.0}), "1.5") == 1
    assert "1.5 of the units is no split" in capsys.readouterr().err


@pytest.mark.parametrize("split", [0.0, 1.0, -0.5, math.nan])
def test_what_is_no_split_is_refused(split):
    with pytest.raises(Error, match="is no split"):
        SETTINGS.rollout.tested_at(split)


def test_a_ramp_is_no_ab_test_and_an_older_plan_is_none():
    ramp = SETTINGS.rollout.model_dump()
    with pytest.raises(ValueError, match="an A/B test has one step, got 3"):
        Plan.model_validate(ramp | {"ab": True})
    older = yaml.safe_load(SETTINGS.rollout.yaml())
    del older["ab"]
    assert Plan.model_validate(older) == SETTINGS.rollout
    assert Plan.model_validate(PLAN.model_dump()) == PLAN


@pytest.fixture
def world(nameless, monkeypatch):
    return World(nameless, monkeypatch, horizon_minutes=3)


def test_started_with_a_split_it_keeps_it_and_a_human_promotes_by_the_conclusion(world):
    started = world.start(2.0, "--split", "0.4")
    assert (started.weight, started.plan.ab) == (0.4, True)
    assert [step.weight for step in started.plan.steps] == [0.4]
    acted = world.play(210, score=-0.15)
    held = world.rollout
    assert [(look.rollout.action, look.rollout.weight) for look in acted] == [("hold", 0.4)]
    assert (held.state, held.because) == ("held", "horizon")
    assert "better: score +0.1" in held.reason
    shown = telling.status(world.settings, "production", world.now.timestamp())
    assert "canary against stable [interval]" in shown
    assert "waits for a human: the A/B test has lasted 3 minutes: better: score" in shown
    report = Path("reports/rollout.md").read_text()
    assert "| score | +0.1" in report
    assert "| better |" in report
    assert "With 95 % confidence all intervals hold" in report
    assert cli.main(["rollout", "promote", "--reason", "it answers better", "--by", "alice"]) == 0
    assert world.serves()["version"] == CANARY


def test_a_ramp_takes_no_split_but_at_its_start(world, capsys):
    assert cli.main(["rollout", "hold", "--reason", "x", "--split", "0.5"]) == 1
    assert "rollout hold takes no --split" in capsys.readouterr().err
    assert cli.main(["rollout", "start", CANARY, "--split", "2"]) == 1
    assert "2 of the units is no split" in capsys.readouterr().err
