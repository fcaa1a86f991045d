"""Gateways whose clocks differ write one log: what a rollout decides by it stays valid, and nothing is lost."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rollout_logs
import rollouts
from test_rollout_shadow import START, TIMEOUT, frame, pair, plan_of
from trunkline import assignment
from trunkline.operations.rollout.looking import Controller
from trunkline.rollout import Following, changes, from_table, shadow

STEPS = [{"weight": weight, "minutes": 10} for weight in (0.05, 0.25, 0.5)]
ERROR = {"error": {"kind": "failure", "tolerated": 1.0, "margins": [3.0, 2.0, 2.0]}}
PLAN = rollout_logs.plan_of(
    rollout_logs.settings(), metrics=ERROR, steps=STEPS, poll_seconds=15, placebos=99, hard_stops={"error": 10}
)
LOG = rollout_logs.log({0.05: 1, 0.25: 1, 0.5: 1}, before=0, rate=300).with_columns(
    pl.col("time").dt.replace_time_zone("UTC"), late=pl.lit(False)
)
SECOND = LOG["unit"].str.strip_prefix("unit-").cast(pl.Int64).to_numpy() % 2 == 1
END = LOG["time"][-1].timestamp() + 3600


def stamped(by_second: float, jump: float, at: float) -> pl.DataFrame:
    """The log where the second gateway's clock is ahead by so many seconds, and by so many more after ``at``."""
    seconds = (LOG["time"] - LOG["time"][0]).dt.total_microseconds().to_numpy() / 1e6
    ahead = np.where(SECOND, by_second + np.where(seconds > at, jump, 0.0), 0.0)
    time = pl.col("time") + pl.duration(microseconds=pl.Series((1e6 * ahead).astype(np.int64)))
    return LOG.with_columns(came="time", time=time).sort("time", maintain_order=True)


skews = st.floats(-400, 400)


@settings(max_examples=8, deadline=None)
@given(skews, skews, st.floats(0, 180), st.lists(st.floats(0, 3600), max_size=3).map(sorted))
def test_whatever_the_clocks_say_every_request_is_judged_and_however_often_one_looks(skew, jump, at, looks):
    log = stamped(skew, jump, at)
    following: Following | None = None
    for moment in [LOG["time"][0].timestamp() + look for look in looks] + [END]:
        now = datetime.fromtimestamp(moment, UTC)
        here = log.filter((pl.col("came") <= now) & (pl.col("time") <= now)).drop("came")
        if following is None or not following.begun or not following.fits(here):
            following = Following(PLAN, LOG.clear())
        decision = following.look(here, moment)
    assert decision == Following(PLAN, LOG.clear()).look(log.drop("came"), END)
    straight = Following(PLAN, LOG.clear()).look(LOG, END)
    assert decision.units == straight.units
    assert [signal.e_worse for signal in decision.signals] == pytest.approx([s.e_worse for s in straight.signals])
    assert [s.e_no_worse for s in decision.signals] == pytest.approx([s.e_no_worse for s in straight.signals])


def incident(seed: int) -> str:
    """What becomes of an identical canary when both arms fail after a step, and a gateway's clock is behind."""
    rng, salt = np.random.default_rng(seed), f"the salt of {seed}"
    seconds = np.sort(1800 * rng.random(6000))
    weight = np.array([0.05, 0.25, 0.5])[(seconds // 600).astype(int)]
    unit = np.array([f"{seed}-{number}" for number in range(seconds.size)])
    canary = assignment.canaries(assignment.seeds_of([salt]), assignment.digests_of(unit), weight)[0]
    failed = rng.random(seconds.size) < np.where((seconds > 600) & (seconds < 900), 0.2, 0.01)
    behind = np.where(rng.random(seconds.size) < 0.5, 300.0, 0.0)
    columns = {"unit": unit, "arm": np.where(canary, "canary", "stable"), "weight": weight, "error": failed}
    log = pl.DataFrame({"time": seconds - behind, **columns}).sort("time")
    plan = rollout_logs.plan_of(
        rollout_logs.settings(),
        **{"salt": salt, "method": "counts", "poll_seconds": 60, "horizon_minutes": 35},
        **{"metrics": ERROR, "steps": STEPS, "hard_stops": {}},
    )
    return list(changes(plan, from_table(log, plan)))[-1].action


def test_counts_of_two_shares_in_one_window_are_no_evidence_against_the_canary():
    """At 5 % more than 3 of 10 are rolled back with a chance of about 1 in 1000; pooled, nearly all of them were."""
    assert [incident(seed) for seed in range(10)].count("rollback") <= 3


class Ahead(rollouts.World):
    """Its gateway's clock is five minutes ahead of the controller's."""

    def write(self, records):
        later = [record.model_copy(update={"time": record.time + timedelta(minutes=5)}) for record in records]
        super().write(later if self.started else records)


def test_a_canary_that_fails_at_a_gateway_whose_clock_is_ahead_is_stopped_at_once(nameless, monkeypatch):
    world = Ahead(nameless, monkeypatch, hard_stops={"error": 20})
    world.start(0.2)
    controller = Controller(world.settings, "production")
    world.traffic(10)
    decision = controller.look(world.now.timestamp()).seen.decision
    assert (decision.action, decision.because) == ("hold", "no request")
    assert "requests ended up to 3" in decision.reason
    assert "a gateway's clock is ahead" in decision.reason
    world.traffic(20, error=1.0)
    assert controller.look(world.now.timestamp()).rollout.action == "stop"


def test_a_request_of_1970_does_not_end_a_shadow():
    early = pair(0) | {"time": datetime(1970, 1, 1, tzinfo=UTC)}
    now = START + timedelta(minutes=1)
    seen = shadow.judge(plan_of(), frame([early, pair(1)]), shadow.Clock(START, now, TIMEOUT))
    assert (seen.decision.because, seen.decision.minutes) == ("minutes", 1.0)
