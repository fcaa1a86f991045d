"""A canary that is heard of too little: its gateway's probes decide, and where nothing probes it, a human."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import gateways
import rollouts
from gateways import wait
from rollouts import CANARY, STABLE
from trunkline import cli, params
from trunkline.operations.rollout.looking import Controller, Look


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[gateways.World]:
    """It serves both releases, and its canary has logged nothing: what is logged is simulated."""
    (tmp_path / "gateway").mkdir()
    often = {"serve__gateway__probe_seconds": 0.1, "serve__timeouts__connect": 60.0}
    with gateways.serving(tmp_path / "gateway", 0.25, "r1", **often) as running:
        wait(lambda: up(running, STABLE, "stable") == up(running, CANARY, "canary") == 1)
        yield running


@pytest.fixture
def world(nameless, monkeypatch, gateway) -> rollouts.World:
    made = rollouts.World(nameless, monkeypatch)
    path = made.clones[0] / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["serve"]["gateway"]["listen"] = gateway.url.removeprefix("http://")
    content["serve"]["timeouts"]["connect"] = 60.0
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    made.settings = params.load(path)
    made.start()
    return made


def up(gateway: gateways.World, version: str, arm: str) -> float | None:
    sample = f'trunkline_engine_up_ratio{{release="{rollouts.MODEL}@{version}",arm="{arm}"}}'
    return gateway.metrics().get(sample)


def lose(gateway: gateways.World, *arms: str) -> None:
    """Let the engines of these arms serve other weights, and wait until the gateway knows."""
    for arm, version in (("stable", STABLE), ("canary", CANARY)):
        if arm in arms:
            getattr(gateway, arm).digest = "0" * 64
            wait(lambda arm=arm, version=version: up(gateway, version, arm) == 0)


def silence(world: rollouts.World) -> list[Look]:
    return world.play(120, silent=True)


def test_one_that_fails_its_probe_is_rolled_back_at_once(world, gateway):
    lose(gateway, "canary")
    (look,) = silence(world)
    assert (look.rollout.state, look.rollout.weight, look.rollout.because) == ("rolled_back", 0.0, "silent")
    assert "not the shares asked for; and its engine fails the gateway's probes" in world.rollout.reason
    assert (look.verdict, look.seen.decision.verdict) == ("fail", "fail")
    assert world.serves()["version"] == STABLE
    assert '"because": "silent"' in gateways.starter.git(world.origin, "log", "-1", "--format=%B", "env/production")


def test_one_that_answers_its_probe_is_held_until_it_fails_one(world, gateway):
    (held,) = silence(world)
    assert (held.rollout.state, held.rollout.because) == ("held", "sample ratio")
    assert held.rollout.reason.endswith("its engine answers the gateway's probes")
    assert world.play(20, silent=True) == []
    lose(gateway, "canary")
    (look,) = silence(world)
    assert (look.rollout.state, look.rollout.because) == ("rolled_back", "silent")


def test_one_that_is_heard_of_is_not_rolled_back_by_a_probe(world, gateway):
    lose(gateway, "canary")
    assert [look.rollout.action for look in world.play(60)] == ["advance"]


def test_what_stable_fails_too_says_nothing_of_the_canary(world, gateway):
    lose(gateway, "stable", "canary")
    (look,) = silence(world)
    assert (look.rollout.state, look.rollout.because) == ("held", "sample ratio")
    assert "probes" not in look.rollout.reason


def test_a_gateway_that_serves_no_canary_says_nothing_of_one(world, gateway):
    gateway.split(0, rollout=None)
    wait(lambda: up(gateway, CANARY, "canary") is None)
    (look,) = silence(world)
    assert (look.rollout.state, look.rollout.because) == ("held", "sample ratio")
    assert "probes" not in look.rollout.reason


def test_a_human_who_knows_why_it_is_silent_is_not_overruled(world, gateway):
    silence(world)
    assert cli.main(["rollout", "resume", "--reason", "its log was lost", "--by", "ann"]) == 0
    lose(gateway, "canary")
    assert Controller(world.settings, "production").look(world.now.timestamp()).rollout.state == "running"
