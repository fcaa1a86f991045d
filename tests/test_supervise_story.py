"""Releases earn their traffic on one machine: real engines, gateway, supervisor, rollouts, and customers all along."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import NamedTuple

import pytest

import live
import merged
from live import BAD, BETTER, MALFORMED, RIGHT, WRONG, Answer, Story
from supervised import clients, until
from trunkline import assignment, cli
from trunkline.clients import daemons
from trunkline.verdict import Verdict

pytestmark = pytest.mark.slow

# Both engines share two cores with the tests: what is slower than most of production's answers may be so more often.
PLAN = {
    "method": "counts",
    "placebos": 99,
    "steps": [{"weight": 0.3, "minutes": 0.05}, {"weight": 0.5, "minutes": 0.05}],
    "horizon_minutes": 30,
    "poll_seconds": 2,
    "metrics": {"latency_ms": {"kind": "amount", "quantiles": [0.75], "tolerated": 2.5, "margins": [3.8, 3.8]}},
    "hard_stops": {"error": 10},
    "shadow": None,
}
SHADOW = {"share": 1.0, "minutes": 30, "pairs": 40, "margin": 0.15, "at_once": 4}
ONE_STEP = {"steps": PLAN["steps"][:1]}
ERRORS = {"error": {"kind": "failure", "tolerated": 1.0, "margins": [2.0]}}
TAIL = {"latency_ms": {"kind": "amount", "quantiles": [0.9], "tolerated": 1.0, "margins": [3.0]}}
SCORES = {"score": {"kind": "score", "tolerated": 0.0, "margins": [0.1]}}
# Seconds between two questions of a customer while nothing is decided: they cost more than all else here.
CALM = 2.0
# More bad answers than this are not few, whatever is wrong with a canary.
FEW = 100


class Tried(NamedTuple):
    """What customers got from before a rollout until after its end."""

    answers: list[Answer]
    because: str
    reason: str
    stable: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with live.story(tmp_path_factory.mktemp("live"), PLAN) as made:
        yield made


@pytest.fixture
def story(world: Story) -> Iterator[Story]:
    """One that serves and in which nothing is tried, whatever the test before has left."""
    if not world.runs:
        world.start()
    until(world.answers, 300)
    yield world
    for pid in world.running.engines.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    if world.rollout is not None and not world.rollout.over:
        world.trunkline("rollout", "rollback", "--reason", "the test is over")
    until(lambda: len(world.arms) == 1, 300)


def plan(story: Story, **changes: object) -> None:
    """What the next rollout decides by."""
    merged.configure(story.desk, **live.changes_of(PLAN | changes))


def test_a_good_release_passes_its_shadow_and_is_promoted_whatever_is_killed_meanwhile(story):
    """By what customers say of its answers: how fast they come depends on what else the machine does."""
    plan(story, metrics={"score": {**SCORES["score"], "margins": [0.2, 0.2]}}, shadow=SHADOW)
    (stable,) = story.arms
    with clients(lambda unit: story.insist(unit, RIGHT), 2, 0.05) as found:
        until(lambda: len(found) > 20, 300)
        found.pause = CALM
        story.trunkline("rollout", "start", BETTER, "--reason", "trained on more")
        watch = story.begin("rollout", "watch")
        until(lambda: story.mirrored > 2, 300)
        watch.kill()
        watch.communicate()
        shadowed, pairs = len(found), story.pairs.drop_nulls("canary_ended")
        watch = story.begin("rollout", "watch")
        found.pause = 0.05
        until(lambda: any(one.version == BETTER for one in found), 300)
        story.crash()
        story.start()
        said, problems = watch.communicate(timeout=300)
        print(said, problems)
        found.pause = CALM
        until(lambda: story.arms == [BETTER], 300)
        until(lambda: story.running.engines.keys() == {BETTER}, 300)
        time.sleep(2)
    print(Counter((one.status, one.version) for one in found), story.steps)
    assert watch.returncode == cli.EXIT_CODES[Verdict.PASS]
    assert story.steps == ["start as a shadow", "advance at 0.3", "advance at 0.5", "promote"]
    assert {(one.status, one.right) for one in found} == {(200, True)}
    assert {one.version for one in found[:shadowed]} == {stable}, "in its shadow nobody gets what it answers"
    assert (pairs["canary_error"].null_count(), pairs["agree"].all()) == (pairs.height, True)
    assert {one.version for one in found} == {stable, BETTER}
    assert story.serves == BETTER


def test_a_bad_one_is_rolled_back_in_its_shadow_and_no_customer_gets_an_answer_of_it(story):
    plan(story, shadow=SHADOW)
    found = tried(story, lambda unit: story.ask(unit, MALFORMED))
    assert found.reason.startswith("in the shadow the canary is worse: ")
    assert story.steps == ["start as a shadow", "rollback"]
    assert {(one.status, one.version, one.right) for one in found.answers} == {(200, found.stable, True)}
    ended = story.pairs.drop_nulls("canary_ended")
    print(f"mirrored: {ended.height}, of which failed: {ended['canary_error'].count()}; bad answers: 0")
    assert ended["canary_error"].count() > 0
    assert ended["stable_error"].count() == 0


def test_what_serves_is_no_leftover_of_a_killed_run(story):
    (stable,) = story.arms
    before = story.running
    subprocess.run([sys.executable, "-m", "trunkline", "reap"], cwd=story.folder, check=True, timeout=300)
    after = story.running
    assert (after.gateway, after.engines[stable]) == (before.gateway, before.engines[stable])
    assert len(after.gateway) == 1
    assert story.runs


def test_one_whose_engine_dies_is_rolled_back(story):
    plan(story)
    (stable,) = story.arms
    with clients(lambda unit: story.ask(unit, RIGHT), 2, 0.05) as found:
        until(lambda: len(found) > 20, 300)
        found.pause = CALM
        story.trunkline("rollout", "start", BAD, "--reason", "it was trained on something else")
        until(lambda: story.arms == [stable, BAD], 300)
        found.pause = 0.05
        until(lambda: any(one.version == BAD and one.status == 200 for one in found), 300)
        watch = story.begin("rollout", "watch")
        until(lambda: BAD in watch.stderr.readline(), 300)
        with gone(story):
            os.kill(story.running.engines[BAD], signal.SIGKILL)
            said, _ = watch.communicate(timeout=300)
        assert watch.returncode == cli.EXIT_CODES[Verdict.FAIL]
        assert "(hard stop): 10 in a row on the canary: error" in said
        until(lambda: story.arms == [stable], 300)
        until(lambda: not story.tries)
        rolled_back = len(found)
        until(lambda: len(found) > rolled_back + 40, 300)
    bad = [one.version for one in found if one.status != 200]
    print(Counter((one.status, one.version) for one in found))
    assert set(bad) == {BAD}
    assert 10 <= len(bad) <= 200
    assert {one.status for one in found[rolled_back + 2 :]} == {200}
    assert story.serves == stable


@contextmanager
def gone(story: Story) -> Iterator[None]:
    """The bad release's weights are damaged here, and cannot be fetched anew."""
    away = story.places.remote.with_name("away")
    story.places.remote.rename(away)
    (story.serve / BAD / "adapter_model.safetensors").write_text("damaged")
    try:
        yield
    finally:
        away.rename(story.places.remote)


def tried(story: Story, ask: Callable[[str], Answer], harm: Callable[[], object] = nullcontext) -> Tried:
    """Let the bad release try to earn its traffic, with harm done to its engine meanwhile."""
    (stable,) = story.arms
    pause = 0.2
    with clients(ask, 4, pause) as found:
        until(lambda: len(found) > 60, 300)
        found.pause = CALM
        story.trunkline("rollout", "start", BAD, "--reason", "it is worth a try")
        watch = story.begin("rollout", "watch")
        until(lambda: story.arms == [stable, BAD], 300)
        found.pause = pause
        with harm():
            said, problems = watch.communicate(timeout=300)
        print(said, problems)
        until(lambda: story.arms == [stable], 300)
        until(lambda: not story.tries)
        rolled_back = len(found)
        until(lambda: len(found) > rolled_back + 20, 300)
    assert watch.returncode == cli.EXIT_CODES[Verdict.FAIL]
    assert (story.rollout.state, story.serves) == ("rolled_back", stable)
    assert {one.version for one in found[rolled_back + 4 :]} == {stable}
    return Tried(found, story.rollout.because, story.rollout.reason, stable)


def bad_answers(story: Story, tried: Tried, is_bad: Callable[[Answer], bool]) -> int:
    """How many the canary gave; those who are stable's by the salt got right answers of stable, all of them."""
    salt, weight = story.rollout.plan.salt, PLAN["steps"][0]["weight"]
    for one in tried.answers:
        if assignment.arm_of(salt, one.unit, weight) == "stable":
            assert (one.status, one.version, one.right) == (200, tried.stable, True)
    bad = sum(is_bad(one) for one in tried.answers)
    answered = Counter(one.version for one in tried.answers)
    print(f"bad answers: {bad}; answers {answered}; {tried.because}: {tried.reason}")
    return bad


def test_a_canary_that_answers_errors_is_rolled_back(story):
    plan(story, **ONE_STEP, metrics=ERRORS)
    found = tried(story, lambda unit: story.ask(unit, RIGHT, RIGHT, MALFORMED))
    assert (found.because, found.reason[:29]) == ("worse", "the canary is worse: error")
    bad = bad_answers(story, found, lambda one: one.status != 200)
    assert 0 < bad <= FEW
    assert {one.status for one in found.answers} == {200, 424}


def test_a_canary_that_answers_worse_is_rolled_back_by_what_customers_say(story):
    plan(story, **ONE_STEP, metrics=ERRORS | SCORES)

    def ask(unit: str) -> Answer:
        answer = story.ask(unit, RIGHT, RIGHT, WRONG)
        story.judge(answer)
        return answer

    found = tried(story, ask)
    assert (found.because, found.reason[:26]) == ("worse", "the canary is worse: score")
    bad = bad_answers(story, found, lambda one: not one.right)
    assert 0 < bad <= FEW
    assert {one.status for one in found.answers} == {200}, "nothing but the answers was wrong"


def test_a_canary_that_is_slow_in_its_tail_is_rolled_back(story):
    plan(story, **ONE_STEP, metrics=ERRORS | TAIL)
    halts: list[tuple[float, float]] = []
    found = tried(story, lambda unit: story.ask(unit, RIGHT), lambda: stuttering(story, halts))
    assert found.because == "worse"
    assert "latency_ms above p90" in found.reason
    bad = bad_answers(story, found, lambda one: one.version == BAD and any(one.waited(*halt) for halt in halts))
    assert 0 < bad <= FEW
    assert {one.status for one in found.answers} == {200}, "none was lost"


def test_a_canary_that_dies_silently_is_rolled_back(story):
    plan(story, **ONE_STEP, metrics=ERRORS)

    @contextmanager
    def dead() -> Iterator[None]:
        os.kill(story.running.engines[BAD], signal.SIGSTOP)
        yield

    found = tried(story, lambda unit: story.ask(unit, RIGHT), dead)
    assert found.because in ("silent", "hard stop", "worse")
    bad = bad_answers(story, found, lambda one: one.status != 200)
    assert 0 < bad <= FEW
    assert {one.version for one in found.answers if one.status != 200} == {BAD}


@contextmanager
def stuttering(story: Story, halts: list[tuple[float, float]]) -> Iterator[None]:
    """The bad release's engine stands still now and then; the times at which it did are added to ``halts``."""
    over, pid = threading.Event(), story.running.engines[BAD]

    def go_on() -> None:
        while not over.wait(0.6):
            begun = time.monotonic()
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.4)
            os.kill(pid, signal.SIGCONT)
            halts.append((begun, time.monotonic()))

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_supervisor_that_is_told_to_end_ends_gateway_and_engines(story):
    assert story.end() == 0
    assert daemons.find(story.serve) == []
