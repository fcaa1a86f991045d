"""A rollout with a shadow from start to end: real clones of a real remote, a real prediction log, simulated pairs."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import logged
import rollouts
import starter
from rollouts import CANARY, MODEL, STABLE
from trunkline import cli
from trunkline.operations.rollout import telling
from trunkline.operations.rollout.looking import Controller, Look
from trunkline.operations.serve import mirroring
from trunkline.records.rollout import Rollout
from trunkline.rollout import shadow

SHADOW = {"share": 0.5, "minutes": 1.0, "pairs": 60, "margin": 0.25, "at_once": 4}


class World(rollouts.World):
    """Whose gateway mirrors what stable is asked, while the branch says that there is a shadow."""

    def _request(self, time: datetime, rollout: Rollout | None, canary: dict[str, Any]) -> list[Any]:
        if rollout is None or not shadow.runs(rollout):
            return super()._request(time, rollout, canary)
        asked, outcome, *said = super()._request(time, rollout, {})
        assert (asked.arm, asked.weight) == ("stable", 0.0)
        plan = rollout.plan.shadow
        assert plan is not None
        if canary.get("unseen") or not mirroring.chosen(rollout.plan.salt or "", asked.prediction, plan.share):
            return [asked, outcome, *said]
        mirrored = logged.assigned(
            time=outcome.time,
            unit=asked.unit,
            rollout=rollout.name,
            weight=0.0,
            release=f"{MODEL}@{rollout.canary}",
            shadow_of=asked.prediction,
        )
        error = "engine" if self.rng.random() < canary.get("error", rollouts.FAILS) else None
        ended = outcome.time + timedelta(milliseconds=200)
        end = logged.ended(mirrored, time=ended, latency_ms=200, error=error, status=503 if error else 200)
        return [asked, outcome, mirrored, end, *said]


@pytest.fixture
def world(nameless, monkeypatch):
    return World(nameless, monkeypatch, shadow=SHADOW)


def first(world: World, seconds: float, **canary: Any) -> Look:
    """The first look that acts."""
    for _ in range(int(seconds / 10)):
        if looks := world.play(10, **canary):
            return looks[0]
    raise AssertionError("nothing was decided")


def message(world: World) -> str:
    return starter.git(world.origin, "log", "-1", "--format=%B", "env/production")


def test_a_good_canary_passes_its_shadow_and_its_ramp_counts_nothing_of_it(world, capsys):
    started = world.start()
    assert (started.state, started.weight, started.plan.shadow.share) == ("running", 0.0, 0.5)
    assert "in production: start as a shadow" in capsys.readouterr().out
    look = first(world, 80)
    assert (look.rollout.action, look.rollout.weight, look.rollout.state) == ("advance", 0.25, "running")
    assert look.rollout.because in ("enough", "no harm")
    assert world.subjects[:2] == [
        f"{MODEL} {CANARY} in production: advance at 0.25",
        f"{MODEL} {CANARY} in production: start as a shadow",
    ]
    assert "verdict: inconclusive" in message(world)
    assert '"signal":"format_error"' in message(world).replace(" ", "")
    world.traffic(20)
    seen = Controller(world.settings, "production").look(world.now.timestamp(), act=False).seen
    assert seen is not None
    assert set(seen.log["weight"]) == {0.25}, "neither the shadow's rows nor those beside it"
    assert 20 < seen.arms["canary"].requests < 100
    telling.status(world.settings, "production", world.now.timestamp())
    report = Path("reports/rollout.md").read_text()
    assert "pairs of" in report
    assert "50 % of requests are mirrored" in Path("reports/rollout.svg").read_text()


def test_a_broken_canary_is_rolled_back_before_anybody_saw_an_answer_of_it(world):
    world.start()
    (look,) = world.play(60, error=0.9)
    assert (look.rollout.action, look.rollout.weight, look.rollout.state) == ("rollback", 0.0, "rolled_back")
    assert (look.verdict, world.rollout.by, world.rollout.because) == ("fail", "trunkline", "worse")
    assert "in the shadow the canary is worse: error" in world.rollout.reason
    assert "verdict: fail" in message(world)
    assert world.serves()["version"] == STABLE
    assert {change.split(": ")[1] for change in world.subjects[:2]} == {"start as a shadow", "rollback"}
    code = cli.main(["rollout", "start", CANARY])
    assert code == 1, "it is pinned away, as after any rollback"


def test_what_was_not_measured_is_held_for_a_human_who_may_let_it_go_on(world, capsys):
    world.start()
    world.traffic(60, unseen=True)
    assert world.play(10, unseen=True) == []
    assert cli.main(["rollout", "status"]) == 0
    out = capsys.readouterr().out
    assert f"{MODEL} {CANARY} in production as a shadow, against {STABLE}: running" in out
    assert "the canary is asked 50.0 % of stable's requests too, and nobody gets its answers" in out
    assert "waits: no request was mirrored yet" in out
    assert "It is in its shadow" in Path("reports/rollout.md").read_text()
    assert cli.main(["status"]) == 0
    assert f"{CANARY} is being tried as a shadow in production" in capsys.readouterr().out
    # A few are mirrored, and then the time is over.
    world.traffic(2)
    world.traffic(58, unseen=True)
    (look,) = world.play(10, unseen=True)
    assert (look.rollout.state, look.rollout.because, look.rollout.weight) == ("held", "pairs", 0.0)
    assert look.verdict == "inconclusive"
    assert world.play(10, unseen=True) == []
    assert cli.main(["rollout", "resume", "--reason", "the night is quiet", "--by", "ann"]) == 0
    (look,) = world.play(10, unseen=True)
    assert (look.rollout.action, look.rollout.weight, look.rollout.because) == ("advance", 0.25, "no harm")
    assert "a human accepts" in look.rollout.reason


def test_a_second_controller_that_began_late_finds_it_done(world):
    world.start()
    world.traffic(60)
    first, second = (Controller(world.settings, "production") for _ in range(2))
    now = (world.now + timedelta(seconds=30)).timestamp()
    assert second.look(now, act=False).seen is not None
    assert first.look(now).acted
    assert not second.look(now).acted
