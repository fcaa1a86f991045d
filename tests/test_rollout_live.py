"""Rollouts from start to end: real clones of a real remote, a real prediction log, simulated traffic."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest

import releases
import rollouts
import starter
from rollouts import CANARY, MODEL, STABLE, World
from trunkline import cli, registry, rollout
from trunkline.clients import actor
from trunkline.clients.git import publishing, tags
from trunkline.errors import Error
from trunkline.operations.rollout import replaying, telling
from trunkline.operations.rollout.looking import Controller, Look
from trunkline.records.release import Decision
from trunkline.records.rollout import Alpha
from trunkline.rollout import requests


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
    read_without_tools(world, looks[-1])


def messages(world: World) -> list[list[str]]:
    """The lines of the branch's messages, the last first."""
    return [
        text.splitlines()
        for text in starter.git(world.origin, "log", "-z", "--format=%B", "env/production").split("\0")
    ]


def read_without_tools(world: World, promoted: Look) -> None:
    """Whoever looks at the commits sees by what was decided, and what comes next."""
    last, advanced, started = messages(world)[:3]
    assert last[2:6] == [
        "every signal is within its margin at the last step",
        "",
        "by trunkline, because: enough",
        f"verdict: pass, after {promoted.seen.decision.minutes:.3g} of 60 minutes",
    ]
    table = {line.split()[0]: line.split()[1:] for line in last if line[:1].isalpha()}
    arms = promoted.seen.arms
    assert table["canary"] == [f"{count:,}" for count in arms["canary"]]
    assert table["stable"] == [f"{count:,}" for count in arms["stable"]]
    assert table["error"][-1] == "3"
    assert table["limit"] == ["100", "(mean)", "20", "(each)"]
    assert [line for line in last if line.startswith("e-value of wrong shares: ") and line.endswith(", limit 300")]
    assert [line for line in last if line.startswith("looks worse than ")]
    assert "share from now on: 50.0 % of the units" in advanced
    proof = "an e-value of 20 for every signal that it is no worse than its margin"
    assert f"next: at least 0.2 minutes, and {proof}" in advanced
    assert [(line in last, line in started) for line in ("next: nothing more is decided",)] == [(True, False)]
    assert json.loads("\n".join(last[last.index("{") :])) == json.loads(promoted.seen.decision.text())


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
    assert 10 <= looks[-1].seen.arms["canary"].bad <= 10 + 1.5 * 10 * 10 * 0.25, "ten, and what comes in a poll"


def test_what_params_say_after_the_start_decides_nothing(world):
    world.start()
    world.traffic(60)
    plan = world.settings.rollout
    looser = plan.model_copy(update={"beta": 0.99, "alpha": Alpha(planned=0.9, reserve=0.9, ratio=0.9)})
    both = [world.settings, world.settings.model_copy(update={"rollout": looser})]
    seen = [Controller(settings, "production").look(world.now.timestamp(), act=False).seen for settings in both]
    assert seen[0].decision == seen[1].decision
    assert seen[0].decision.limits == {"e_worse_mean": 1 / plan.alpha.reserve, "e_no_worse": 1 / plan.beta}


def test_nor_does_what_somebody_makes_on_the_branch_of_what_its_start_fixed(world, caplog):
    world.start()
    world.traffic(60)
    before = Controller(world.settings, "production").look(world.now.timestamp(), act=False)
    plan = world.rollout.plan.model_copy(update={"beta": 0.99, "salt": "f" * 32, "placebos": 99})
    other = {"plan": plan, "weight": 0.4, "canary": "v1.2.0", "started": "2020-01-01T00:00:00+00:00"}
    world.by_hand(world.rollout.model_copy(update=other).yaml())
    assert world.rollout.plan == plan
    after = Controller(world.settings, "production").look(world.now.timestamp(), act=False)
    assert (after.seen.decision, after.rollout) == (before.seen.decision, before.rollout)
    assert "canary, plan, started, weight in" in caplog.text
    assert caplog.text.count("was changed after the start, which counts for nothing") == 1
    assert cli.main(["rollout", "hold", "--reason", "who did this?"]) == 0
    assert (world.rollout.plan, world.rollout.canary) == (before.rollout.plan, CANARY)


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
    assert world.play(100) == []
    assert (world.rollout.state, world.rollout.weight, world.rollout.by) == ("held", 0.25, "ann")
    assert actions(world.play(200, error=0.4)) == [("rollback", 0.0)]


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


def test_each_rollout_draws_a_salt_of_its_own(nameless, monkeypatch):
    with monkeypatch.context() as patch:
        world = World(nameless, patch)
    monkeypatch.chdir(world.clones[0])
    releases.releases(world.clones[0], "v1.2.0")
    salts = set()
    for version in (CANARY, "v1.2.0"):
        assert cli.main(["rollout", "start", version]) == 0
        salts.add(world.rollout.plan.salt)
        cli.main(["rollout", "rollback", "--reason", "again"])
    assert [len(salt) for salt in salts] == [32, 32]


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
    releases.releases(world.clones[0], "v1.2.0")
    world.start()
    assert f"production is trying {CANARY} already" in refused(world, capsys, "v1.2.0")
    cli.main(["rollout", "hold", "--reason", "wait"])
    cli.main(["rollout", "promote", "--reason", "fine"])
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
from trunkline.operations.rollout.looking import Controller, Look
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
    without = requests.arms(after.log.filter(pl.col("unit") != unit), world.rollout.plan)
    assert after.arms["canary"].bad == without["canary"].bad + 1


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


def assigned(version: str) -> None:
    """Another tool assigns a version to production, and knows of no rollout."""
    said = {"model": MODEL, "environment": "production", "version": version, "action": "promote", "reason": "by hand"}
    wanted = actor.decision(said, "ann")
    publishing.publish("env/production", lambda _, known: registry.promote(registry.of(known, MODEL), wanted))


def test_production_that_was_given_something_else_ends_the_rollout(world):
    releases.releases(world.clones[0], "v1.2.0")
    world.start()
    assigned("v1.2.0")
    look = Controller(world.settings, "production").look(world.now.timestamp())
    assert (look.acted, look.rollout.state, look.rollout.because) == (True, "rolled_back", "overtaken")
    assert world.serves()["version"] == "v1.2.0"


def test_a_canary_that_somebody_promoted_is_promoted(world):
    world.start()
    assigned(CANARY)
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


def test_a_step_by_command_says_what_was_decided_and_exits_with_the_verdict(world, monkeypatch, capsys):
    world.start()
    monkeypatch.setattr("trunkline.operations.rollout.time.time", lambda: world.now.timestamp())
    world.traffic(15)
    capsys.readouterr()
    assert cli.main(["rollout", "step"]) == 4
    out = capsys.readouterr().out
    assert out.startswith(f"{MODEL} {CANARY} in production at 25.0 %: hold (evidence): not yet shown at 25%: error ")
    world.traffic(60, error=1.0)
    assert cli.main(["rollout", "step"]) == 3
    assert f"{MODEL} {CANARY} in production at 0.0 %: " in capsys.readouterr().out
    assert cli.main(["rollout", "step"]) == 3, "what is over stays over"
    assert cli.main(["rollout", "step", "--reason", "x"]) == 1
    assert "rollout step takes no --reason" in capsys.readouterr().err


def test_status_says_what_runs_by_what_evidence_and_what_it_waits_for(world, monkeypatch, capsys):
    world.start()
    monkeypatch.setattr("trunkline.operations.rollout.time.time", lambda: world.now.timestamp())
    world.traffic(20)
    capsys.readouterr()
    assert cli.main(["rollout", "status"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert out.splitlines()[0] == f"{MODEL} {CANARY} in production at 25.0 %, against {STABLE}: running"
    arms = {line[0]: [int(cell) for cell in line[1:]] for line in lines if line and line[0] in ("canary", "stable")}
    assert 20 < arms["canary"][0] < 80 < arms["stable"][0]
    assert 0 < arms["canary"][2] < 20
    assert [line[0] for line in lines if line and line[0] in rollouts.METRICS] == ["error", "latency_ms", "score"]
    assert "waits: not yet shown at 25%" in out
    assert out.endswith("report: reports/rollout.md\n")
    assert len(world.subjects) == 2, "looking changes nothing"
    cli.main(["rollout", "hold", "--reason", "wait\x1b[2J here, @everyone of #12", "--by", "ann"])
    assert "\x1b" not in capsys.readouterr().out
    (held, *_) = messages(world)
    assert held[2:] == [
        "wait\ufffd[2J here, @\u200beveryone of #\u200b12",
        "",
        "by ann, because: human",
        "share from now on: 25.0 % of the units",
        "next: a human decides: `trunkline rollout resume`, `promote` or `rollback`",
    ]
    assert cli.main(["rollout", "status"]) == 0
    out = capsys.readouterr().out
    assert "waits for a human: wait" in out
    assert "\x1b" not in out


def test_history_and_status_tell_what_was_tried_by_whom_and_why(world, capsys):
    world.start()
    cli.main(["rollout", "rollback", "--reason", "refunds go wrong", "--by", "bob"])
    capsys.readouterr()
    assert cli.main(["history"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "#v1.1.0#" in line]
    assert [(row[1], row[2], row[4], row[5], row[6]) for row in rows] == [
        (CANARY, STABLE, "25%", "start", "clone-0"),
        (CANARY, STABLE, "0%", "rollback", "bob"),
    ]
    assert cli.main(["history", "--environment", "production", "--json"]) == 0
    events = [one for one in json.loads(capsys.readouterr().out) if "rollout" in one]
    assert [(one["action"], one["reason"]) for one in events] == [
        ("start", "no reason given"),
        ("rollback", "refunds go wrong"),
    ]
    assert cli.main(["history", "--environment", "staging", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert cli.main(["status"]) == 0
    assert f"- {CANARY} tried in production: rollback by bob at " in capsys.readouterr().out


def test_a_file_that_is_no_rollout_is_named_and_decides_nothing(world, capsys):
    world.start()
    path = f"{MODEL}.rollout.yaml"
    world.by_hand("state: running\nweight: 2\n")
    with pytest.raises(Error, match=f"{path} of env/production: "):
        Controller(world.settings, "production").look(world.now.timestamp())
    assert cli.main(["status"]) == 0
    assert f"- {path} of env/production: " in capsys.readouterr().out
    starter.git(world.clones[1], "revert", "--no-edit", "HEAD")
    starter.git(world.clones[1], "push", "-q", "origin", "HEAD:env/production")
    assert not Controller(world.settings, "production").look(world.now.timestamp()).rollout.over


WATCH = [sys.executable, "-m", "trunkline", "rollout", "watch"]


@pytest.fixture
def quick(nameless, monkeypatch):
    world = World(nameless, monkeypatch, poll_seconds=0.5, alpha={"planned": 1e-9, "reserve": 1e-9, "ratio": 0.01})
    world.start(0.5)
    return world


def said_by(process, text: str) -> str:
    """Lines of stderr up to one that holds a text."""
    lines = []
    while text not in (lines[-1] if lines else ""):
        line = process.stderr.readline()
        assert line, f"{text!r} was not said: {lines}"
        lines.append(line)
    return lines[-1]


def test_a_watch_outlives_its_database_and_ends_with_the_rollout(quick):
    quick.traffic(0.5)
    away = quick.database.with_suffix(".away")
    with subprocess.Popen(WATCH, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        said_by(process, "hold (")
        quick.database.rename(away)
        assert "nothing is decided meanwhile" in said_by(process, "there is no prediction log")
        away.rename(quick.database)
        said_by(process, "hold (")
        while process.poll() is None:
            quick.now = datetime.now(UTC)
            quick.traffic(0.5, rate=100, error=1.0)
            time.sleep(0.5)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 3
    assert "stop by trunkline (hard stop): 10 in a row on the canary: error" in out
    assert quick.rollout.state == "rolled_back"


def test_in_a_workflow_a_watch_ends_when_it_is_held_and_tells_the_next_job(quick, nameless, monkeypatch):
    output = nameless / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    quick.traffic(0.5)
    with subprocess.Popen([*WATCH, "--until-held"], stderr=subprocess.PIPE, text=True) as process:
        said_by(process, "hold (")
        assert cli.main(["rollout", "hold", "--reason", "the summer sale begins"]) == 0
        process.communicate(timeout=120)
        assert process.returncode == 4
    assert cli.main(["rollout", "watch", "--until-held"]) == 4, "run again it finds it held"
    assert output.read_text() == 2 * f"rollout={quick.rollout.name}\nstate=held\n"
    with subprocess.Popen(WATCH, stderr=subprocess.PIPE, text=True) as process:
        said_by(process, "held by")
        assert process.poll() is None, "while a human decides somebody looks on"
        assert cli.main(["rollout", "rollback", "--reason", "no", "--by", "ann"]) == 0
        process.communicate(timeout=120)
        assert process.returncode == 3
    assert output.read_text().splitlines()[-1] == "state=rolled_back"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_watch_ends_cleanly_by_a_signal_and_the_rollout_goes_on(quick, number):
    quick.traffic(0.5)
    with subprocess.Popen(WATCH, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        said_by(process, "hold (")
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 4
    assert "Traceback" not in err
    assert "hold (" in out
    assert quick.rollout.state == "running"


def test_in_a_terminal_a_watch_draws_traffic_evidence_and_what_it_waits_for(quick):
    traffic, evidence = ("requests", "bad"), ("e no worse", "1e+09 (mean)", "latency_ms above p75")
    expected = [words.encode() for words in ("against v1.0.0: running", *traffic, *evidence, "waits: ")]
    quick.traffic(5)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 150))
    with subprocess.Popen(WATCH, stderr=theirs, stdout=subprocess.PIPE, text=True) as process:
        os.close(theirs)
        seen = b""
        while not all(words in seen for words in expected):
            seen += os.read(ours, 4096)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(OSError):
            while os.read(ours, 4096):
                pass
        assert process.wait(timeout=120) == 4


SIGNALLED = """
import os, signal, threading, time
from trunkline.operations.rollout import watching

def tell():
    while not enough.is_set():
        os.kill(os.getpid(), signal.SIGTERM)

enough = threading.Event()
with watching._stopped_by_signals() as stopped:
    assert not stopped(0.01)
    teller = threading.Thread(target=tell)
    teller.start()
    assert all([stopped(60), *(stopped(0.0001) for _ in range(20_000))])
    enough.set()
    teller.join()
"""


def test_a_signal_at_any_moment_ends_the_wait():
    assert subprocess.run([sys.executable, "-c", SIGNALLED], timeout=500, check=False).returncode == 0


def test_nothing_to_watch_is_an_error(world, capsys):
    assert cli.main(["rollout", "watch"]) == 1
    assert "nothing was ever tried in production" in capsys.readouterr().err


def test_the_report_of_a_whole_rollout_shows_ramp_evidence_and_bad_requests(world, capsys):
    world.start()
    looks = world.play(900)
    assert world.rollout.state == "promoted"
    telling.status(world.settings, "production", world.now.timestamp() + 60)
    report = Path("reports/rollout.md").read_text()
    assert report.splitlines()[0].startswith(f"# Rollout {MODEL}#production#{CANARY}#")
    assert report.splitlines()[0].endswith(": promoted")
    rows = [line for line in report.splitlines() if line.startswith("| 20")]
    assert [row.split(" | ")[2] for row in rows] == ["start", "advance", "promote"]
    requests_of = {
        row.split()[1]: int(row.split()[3]) for row in report.splitlines() if row[:9] in ("| canary ", "| stable ")
    }
    seen = looks[-1].seen.arms
    assert all(arm.requests <= requests_of[name] <= arm.requests + 40 for name, arm in seen.items())
    assert "| error | " in report
    drawn = ElementTree.parse("reports/rollout.svg").getroot()  # noqa: S314
    curves = [each for each in drawn if each.tag.endswith("polyline")]
    assert [each.get("class") for each in curves] == ["canary", "worse", "no_worse", "stable", "canary"]
    ramp = [float(place.split(",")[1]) for place in curves[0].get("points").split()]
    assert ramp == sorted(ramp, reverse=True), "the share only goes up, and up is less"
    bad = [float(place.split(",")[1]) for place in curves[4].get("points").split()]
    assert bad == sorted(bad, reverse=True)
    assert starter.git(world.clones[0], "status", "--porcelain", "reports") in ("", "?? reports/")


def test_without_its_log_a_rollout_is_still_told(world, capsys):
    world.start()
    world.database.unlink()
    assert cli.main(["rollout", "status"]) == 0
    out = capsys.readouterr().out
    assert f"{CANARY} in production at 25.0 %, against {STABLE}: running" in out
    assert "the prediction log could not be read: there is no prediction log" in out
    assert "could not be read" in Path("reports/rollout.md").read_text()
    assert not Path("reports/rollout.svg").exists()
