"""Rollouts from start to end: real clones of a real remote, a real prediction log, simulated traffic."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

import releases
import rollouts
import starter
from rollouts import CANARY, MODEL, STABLE, World
from trunkline import cli, rollout
from trunkline.clients.git import tags
from trunkline.errors import Error
from trunkline.operations.rollout import replaying
from trunkline.operations.rollout.looking import Controller
from trunkline.records.release import Decision


@pytest.fixture
def world(nameless, monkeypatch):
    return World(nameless, monkeypatch)


def actions(looks) -> list[tuple[str, float]]:
    return [(look.rollout.action, look.rollout.weight) for look in looks]


def test_a_good_canary_earns_its_traffic_step_by_step_and_is_promoted(world):
    started = world.start()
    assert (started.state, started.stable, started.canary, started.weight) == ("running", STABLE, CANARY, 0.25)
    assert started.name == f"{MODEL}#production#{CANARY}#1"
    looks = world.play(900)
    assert actions(looks) == [("advance", 0.5), ("promote", 1.0)]
    assert looks[-1].verdict == "pass"
    assert world.rollout.state == "promoted"
    assert world.serves()["version"] == CANARY
    decision = Decision.of(next(tag for tag in tags.published("origin") if tag.name == f"{MODEL}#production#2"))
    assert (decision.version, decision.previous, decision.by) == (CANARY, STABLE, "trunkline")
    assert started.name in decision.reason
    assert world.subjects[:3] == [
        f"{MODEL} {CANARY} in production: promote",
        f"{MODEL} {CANARY} in production: advance at 0.5",
        f"{MODEL} {CANARY} in production: start at 0.25",
    ]
    message = starter.git(world.origin, "log", "-1", "--format=%B", "env/production")
    assert "verdict: pass" in message
    assert '"e_no_worse"' in message


@pytest.mark.parametrize(
    ("worse", "culprit"),
    [({"error": 0.4}, "error"), ({"slow": 3.0}, "latency_ms above p75"), ({"score": 0.2}, "score")],
    ids=["it errors", "it is slow in the tail", "it answers worse"],
)
def test_a_worse_canary_is_rolled_back_and_stable_serves_on(world, worse, culprit):
    world.start()
    looks = world.play(900, **worse)
    assert actions(looks)[-1] == ("rollback", 0.0)
    assert looks[-1].verdict == "fail"
    assert culprit in world.rollout.reason
    assert (world.rollout.state, world.rollout.by) == ("rolled_back", "trunkline")
    assert world.serves()["version"] == STABLE


def test_a_canary_that_fails_always_is_stopped_within_a_poll_of_its_tenth_failure(nameless, monkeypatch):
    world = World(nameless, monkeypatch, alpha={"planned": 1e-9, "reserve": 1e-9, "ratio": 0.01})
    world.start()
    looks = world.play(60, error=1.0)
    assert actions(looks) == [("stop", 0.0)]
    assert 10 <= looks[-1].seen.arms["canary"].bad <= 10 + 2 * 10 * 10 * 0.25, "ten, and twice what comes in a poll"


def test_a_canary_that_says_nothing_is_held_for_a_human_once(world):
    world.start()
    looks = world.play(120, silent=True)
    assert actions(looks) == [("hold", 0.25)]
    assert (world.rollout.state, world.rollout.because) == ("held", "sample ratio")
    assert looks[-1].verdict == "inconclusive"


def test_what_is_held_still_ends_when_it_is_shown_to_be_worse_and_never_advances(world):
    world.start()
    world.play(20)
    assert cli.main(["rollout", "hold", "--reason", "the summer sale begins", "--by", "ann"]) == 0
    assert world.play(200) == []
    assert (world.rollout.state, world.rollout.weight, world.rollout.by) == ("held", 0.25, "ann")
    assert actions(world.play(200, error=0.6)) == [("rollback", 0.0)]


def test_what_a_human_answered_is_not_asked_again(nameless, monkeypatch):
    world = World(nameless, monkeypatch, horizon_minutes=0.5)
    world.start()
    assert actions(world.play(120, rate=1.0)) == [("hold", 0.25)]
    assert world.rollout.because == "horizon"
    assert cli.main(["rollout", "resume", "--reason", "it is a quiet day", "--by", "ann"]) == 0
    assert world.rollout.accepted == ("horizon",)
    assert actions(world.play(900)) == [("advance", 0.5), ("promote", 1.0)]
    assert world.rollout.accepted == ("horizon",)


def test_a_human_promotes_what_is_held_with_name_and_reason(world, capsys):
    world.start()
    assert cli.main(["rollout", "promote", "--reason", "hurry"]) == 1
    assert "it still runs: first `trunkline rollout hold" in capsys.readouterr().err
    cli.main(["rollout", "hold", "--reason", "let me look"])
    assert cli.main(["rollout", "promote", "--reason", "checked by hand", "--by", "ann"]) == 0
    assert (world.rollout.state, world.rollout.because, world.rollout.by) == ("promoted", "human", "ann")
    assert world.serves()["version"] == CANARY
    assert (world.serves()["by"], world.serves()["action"]) == ("ann", "promote")


def test_a_human_rolls_back_and_the_version_is_not_tried_again_by_itself(world, capsys):
    world.start()
    assert cli.main(["rollout", "rollback", "--reason", "refunds go wrong", "--by", "bob"]) == 0
    assert (world.rollout.state, world.rollout.weight, world.rollout.by) == ("rolled_back", 0.0, "bob")
    capsys.readouterr()
    assert cli.main(["rollout", "start", CANARY]) == 1
    assert f"{CANARY} is not tried in production: {CANARY} was rolled back there" in capsys.readouterr().err
    assert cli.main(["rollout", "start", CANARY, "--reason", "the disk was full, not the model"]) == 0
    assert world.rollout.name == f"{MODEL}#production#{CANARY}#2"
    cli.main(["rollout", "rollback", "--reason", "still"])
    releases.releases(world.clones[0], "v1.2.0")
    assert cli.main(["rollout", "start", "v1.2.0"]) == 0


@pytest.mark.parametrize("action", ["promote", "hold", "resume", "rollback"])
def test_a_decision_needs_a_reason_and_something_that_runs(world, action, capsys):
    assert cli.main(["rollout", action]) == 1
    assert f"rollout {action} needs --reason" in capsys.readouterr().err
    assert cli.main(["rollout", action, "--reason", "x"]) == 1
    assert "nothing was ever tried in production" in capsys.readouterr().err
    world.start()
    cli.main(["rollout", "rollback", "--reason", "first"])
    capsys.readouterr()
    assert cli.main(["rollout", action, "--reason", "x"]) == 1
    assert f"nothing runs: {CANARY} was rolled back at" in capsys.readouterr().err


def refused(world, capsys, version: str = CANARY) -> str:
    before = starter.git(world.clones[0], "ls-remote", "origin")
    capsys.readouterr()
    assert cli.main(["rollout", "start", version]) == 1
    assert starter.git(world.clones[0], "ls-remote", "origin") == before
    return capsys.readouterr().err


def test_what_may_not_be_tried_is_refused_and_nothing_is_written(world, capsys):
    assert "there is no release v9.0.0" in refused(world, capsys, "v9.0.0")
    assert f"production serves {STABLE} already" in refused(world, capsys, STABLE)
    world.start()
    assert f"production is trying {CANARY} already" in refused(world, capsys)
    cli.main(["promote", CANARY, "--to", "production"])
    cli.main(["rollback", "--to", STABLE, "--reason", "bad"])
    assert "only a newer release may be promoted" in refused(world, capsys)


def test_without_a_release_that_serves_there_is_nothing_to_compare_with(world, capsys):
    assert cli.main(["rollout", "start", CANARY, "--environment", "staging"]) == 1
    assert "staging serves no release yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"salt": "0123456789abcdef"}, "rollout.salt is set"),
        ({"hard_stops": {"typo": 1}}, "rollout names typo"),
        (
            {"metrics": {"blocked": {"kind": "amount", "quantiles": [0.5], "tolerated": 1, "margins": [2, 2]}}},
            "blocked",
        ),
    ],
)
def test_a_plan_that_the_log_cannot_answer_is_refused(nameless, monkeypatch, capsys, plan, said):
    assert said in refused(World(nameless, monkeypatch, **plan), capsys)


def test_of_two_controllers_one_acts_and_the_other_sees_it(world, monkeypatch):
    world.start()
    both = [Controller(world.settings, "production") for _ in range(2)]
    for _ in range(90):
        world.traffic(10)
        # Both have read the branch before either writes.
        for controller, clone in zip(both, world.clones, strict=True):
            os.chdir(clone)
            branch = controller._branch
            first = iter([type(branch).head(branch)])
            monkeypatch.setattr(branch, "head", lambda first=first, b=branch: next(first, None) or type(b).head(b))
        looks = []
        for controller, clone in zip(both, world.clones, strict=True):
            os.chdir(clone)
            looks.append(controller.look(world.now.timestamp()))
        assert sum(look.acted for look in looks) <= 1
        assert looks[1].rollout.state == world.rollout.state
        if world.rollout.over:
            break
    assert world.rollout.state == "promoted"
    assert len(world.subjects) == 4, "no step was written twice"
    assert len([tag for tag in tags.published("origin") if "#production#" in tag.name]) == 2


STEP = """
import os, sys
from pathlib import Path
from trunkline import params
from trunkline.operations.rollout.looking import Controller
Path(sys.argv[1]).write_text(str(os.getpid()))
Controller(params.load(Path("params.yaml")), "production").look(float(sys.argv[2]))
"""


@pytest.mark.parametrize("hook", ["clone-0/.git/hooks/pre-push", "origin.git/hooks/post-receive"])
def test_a_controller_killed_before_or_after_its_push_is_run_again_and_nothing_is_done_twice(world, nameless, hook):
    world.start()
    for _ in range(100):
        world.traffic(10)
        if Controller(world.settings, "production").look(world.now.timestamp(), act=False).seen.decision.to == 0.5:
            break
    path, pid = nameless / hook, nameless / "pid"
    path.write_text(f"#!/bin/sh\n[ -e {pid} ] || exit 0\nkill -9 $(cat {pid})\nrm {pid}\nexit 1\n")
    path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", STEP, str(pid), str(world.now.timestamp())], check=False)
    assert done.returncode == -signal.SIGKILL
    Controller(world.settings, "production").look(world.now.timestamp())
    assert world.rollout.weight == 0.5
    assert len(world.subjects) == 3


def test_a_controller_that_starts_again_decides_as_one_that_ran_on_and_as_replay_does(world, tmp_path):
    world.start()
    kept, looks = Controller(world.settings, "production"), []
    for _ in range(30):
        world.traffic(10)
        fresh = Controller(world.settings, "production").look(world.now.timestamp(), act=False)
        looks.append(kept.look(world.now.timestamp()))
        assert fresh.seen.decision == looks[-1].seen.decision
        if looks[-1].rollout.over:
            break
    assert any(look.acted for look in looks)
    replaying.export(world.settings, "production", tmp_path / "log.parquet", world.now.timestamp())
    log = pl.read_parquet(tmp_path / "log.parquet")
    final = list(rollout.changes(world.rollout.plan, rollout.from_table(log, world.rollout.plan)))
    acted = [(look.seen.decision.action, look.seen.decision.to) for look in looks if look.acted]
    assert [(d.action, d.to) for d in final if d.action in ("advance", "promote", "rollback")][: len(acted)] == acted


def test_records_that_come_late_are_judged_where_they_belong(world):
    world.start()
    controller = Controller(world.settings, "production")
    kept, write = [], world.write
    world.write = kept.extend
    world.traffic(30)
    write(kept[: len(kept) // 2])
    controller.look(world.now.timestamp())
    write(kept[len(kept) // 2 :])
    world.write = write
    world.traffic(10)
    late = controller.look(world.now.timestamp(), act=False)
    assert late.seen.decision == Controller(world.settings, "production").look(world.now.timestamp()).seen.decision


def test_a_request_without_an_answer_is_a_failure_once_no_answer_can_come(world):
    world.start()
    unit = next(f"lost-{k}" for k in range(99) if rollout_arm(world, f"lost-{k}") == "canary")
    world.traffic(10)
    lost = rollouts.logged.assigned(
        time=world.now, unit=unit, arm="canary", weight=0.25, rollout=world.rollout.name, release=f"{MODEL}@{CANARY}"
    )
    world.write([lost])
    controller = Controller(world.settings, "production")
    world.traffic(10)
    before = controller.look(world.now.timestamp()).seen
    assert unit not in before.log["unit"]
    world.now += timedelta(seconds=world.settings.serve.timeouts.total)
    after = controller.look(world.now.timestamp()).seen
    row = after.log.filter(pl.col("unit") == unit)
    assert row["error"].to_list() == [None]
    assert after.arms["canary"].bad == before.arms["canary"].bad + 1


def rollout_arm(world, unit: str) -> str:
    return rollouts.assignment.arm_of(world.rollout.plan.salt, unit, 0.25)


def test_erasing_a_customer_leaves_the_rollout_to_be_judged(world):
    world.start()
    world.traffic(60)
    database = rollouts.Database(f"sqlite:///{world.database}")
    before = Controller(world.settings, "production").look(world.now.timestamp(), act=False)
    assert database.erase("c-1", 2**62) > 0
    after = Controller(world.settings, "production").look(world.now.timestamp(), act=False)
    assert after.seen.arms["canary"].requests == before.seen.arms["canary"].requests
    assert after.seen.decision.units == pytest.approx(before.seen.decision.units, abs=1)


def test_production_that_was_given_something_else_ends_the_rollout(world):
    releases.releases(world.clones[0], "v1.2.0")
    world.start()
    cli.main(["promote", "v1.2.0", "--to", "production"])
    look = Controller(world.settings, "production").look(world.now.timestamp())
    assert (look.acted, look.rollout.state, look.rollout.because) == (True, "rolled_back", "overtaken")
    assert world.serves()["version"] == "v1.2.0"


def test_a_canary_that_somebody_promoted_is_promoted(world):
    world.start()
    cli.main(["promote", CANARY, "--to", "production"])
    look = Controller(world.settings, "production").look(world.now.timestamp())
    assert (look.rollout.state, look.rollout.weight, look.verdict) == ("promoted", 1.0, "pass")


def test_without_a_database_or_a_remote_nothing_is_decided(world, capsys):
    world.start()
    world.traffic(30)
    world.database.rename(world.database.with_suffix(".away"))
    with pytest.raises(Error, match="there is no prediction log"):
        Controller(world.settings, "production").look(world.now.timestamp())
    world.database.write_bytes(b"no database at all, but long enough to be looked at" * 9)
    with pytest.raises(Error, match="damaged|not a database"):
        Controller(world.settings, "production").look(world.now.timestamp())
    starter.git(Path.cwd(), "remote", "set-url", "origin", "/nowhere")
    with pytest.raises(Error, match="ls-remote"):
        Controller(world.settings, "production").look(world.now.timestamp())
    assert world.rollout.action == "start"
