"""A rollout's shadow in `trunkline serve`: the canary is asked too, and no client can tell."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

import gateways
import ports
import rollout_logs
from gateways import ANSWER, MESSAGE, SALT, World, wait
from trunkline.clients import predictions
from trunkline.operations.serve import mirroring, routing
from trunkline.records.prediction import Prediction, Selection
from trunkline.records.traffic import Mirror
from trunkline.rollout import shadow

CANARY = "support-triage@v1.1.0"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "LOOK_S", 0.02)


@contextlib.contextmanager
def shadowed(folder: Path, share: float = 1.0, at_once: int = 40, guards: Any = None) -> Iterator[World]:
    limits = {"serve__gateway__probe_seconds": 0.5, "serve__gateway__max_concurrent": 40}
    with gateways.serving(folder, 0.0, "r1", guards, **limits) as world:
        world.split(0.0, shadow=Mirror(share=share, at_once=at_once))
        # The file is followed: a request tells when it was.
        yield world


def mirroring_begins(world: World) -> None:
    """Ask until the canary is asked too, which is when the gateway has read the file."""

    def look() -> bool:
        world.post()
        return counted(world) != {}

    wait(look)


def counted(world: World) -> dict[str, float]:
    """Shadows by what came of them."""
    head = f'trunkline_shadow_requests_total{{release="{CANARY}",result="'
    return {name[len(head) : -2]: value for name, value in world.metrics().items() if name.startswith(head)}


def shadows(world: World) -> dict[str, Prediction]:
    """What is logged of every shadow, by the prediction that it is one of, once nothing waits any more."""
    wait(lambda: world.metrics()["trunkline_spool_records"] == 0)
    return logged(world)


def settled(world: World) -> dict[str, Prediction]:
    """As `shadows`, once each has its outcome."""

    def look() -> bool:
        ends = [one.outcome for one in shadows(world).values()]
        ended = sum(value for result, value in counted(world).items() if result != "dropped")
        return None not in ends and len(ends) == ended

    wait(look)
    return shadows(world)


def logged(world: World) -> dict[str, Prediction]:
    with predictions.reading(world.params.serve.log) as database:
        predictions.recover(world.params.serve.log, database)
        ids = database.window(Selection(shadow=True))["prediction"].to_list()
        found = [one for id in ids if (one := database.find(id)) is not None]
    return {str(one.assignment.shadow_of): one for one in found}


def prediction(answer: requests.Response) -> str:
    return answer.headers["x-trunkline-prediction"]


def test_what_stable_answers_the_canary_is_asked_too_and_the_log_tells_them_apart(tmp_path):
    with shadowed(tmp_path, guards={"pii@1": "flag"}) as world:
        world.canary.says = ["not", " even", " JSON"]
        mirroring_begins(world)
        answers = [
            world.post(headers={"x-conversation-id": "c-7"}),
            world.post(headers={"x-conversation-id": "c-8"}, stream=True),
            world.post("/generate", inputs=MESSAGE),
        ]
        found = settled(world)
        assert all(answer.status_code == 200 for answer in answers)
        assert answers[0].json()["choices"][0]["message"]["content"] == ANSWER
        for answer in answers:
            shadow, real = found[prediction(answer)], world.logged(answer)
            given, end = shadow.assignment, shadow.outcome
            assert (given.arm, given.weight, given.rollout, given.release) == ("canary", 0.0, "r1", CANARY)
            assert (given.unit, given.customer, given.input) == (
                real.assignment.unit,
                real.assignment.customer,
                real.assignment.input,
            )
            assert end is not None
            assert (end.status, end.error, end.output, end.format_ok) == (200, None, "not even JSON", False)
            assert (real.assignment.arm, real.assignment.shadow_of) == ("stable", None)
            assert real.outcome is not None
            assert real.outcome.output == ANSWER
        served = {one.assignment.prediction for one in world.everything()}
        assert not served & {one.assignment.prediction for one in found.values()}
        arms = [name for name in world.metrics() if 'arm="canary"' in name]
        assert all(name.partition("{")[0].endswith(("_requests", "_ratio")) for name in arms), "gauges of its engine"


def test_what_the_gateway_logs_is_what_the_rollout_decides_by(tmp_path):
    with shadowed(tmp_path) as world:
        world.canary.says = ["not", " even", " JSON"]
        mirroring_begins(world)
        for number in range(15):
            assert world.post(headers={"x-conversation-id": f"c-{number}"}).ok
        settled(world)
        with predictions.reading(world.params.serve.log) as database:
            pairs = predictions.pairs(database, "r1")
    settings = {"share": 1.0, "minutes": 3.0, "pairs": 40, "margin": 0.1, "at_once": 4}
    plan = rollout_logs.plan_of(rollout_logs.settings(), shadow=settings)
    now = datetime.now(UTC)
    decision = shadow.judge(plan, pairs, shadow.Clock(now, now, 60.0)).decision
    assert (decision.action, decision.culprits) == ("rollback", ("format_error",))
    found = {state.signal: (state.canary, state.stable) for state in decision.signals}
    assert found == {"error": (0, 0), "format_error": (pairs.height, 0), "blocked": (0, 0)}
    assert "0% of the answers are the same" in decision.reason


def test_which_requests_are_mirrored_the_salt_says_and_another_share_keeps_those_of_a_smaller(tmp_path):
    with shadowed(tmp_path, share=0.4) as world:
        mirroring_begins(world)
        asked = [prediction(world.post()) for _ in range(40)]
        wanted = {one for one in asked if mirroring.chosen(SALT, one, 0.4)}
        assert set(settled(world)) & set(asked) == wanted
        assert 2 < len(wanted) < 36
    assert all(mirroring.chosen(SALT, one, 0.8) for one in wanted)


def test_a_hanging_canary_delays_nobody_what_comes_meanwhile_is_dropped_and_a_drain_gives_it_up(tmp_path):
    with shadowed(tmp_path, at_once=2) as world:
        world.canary.fails = "hang"
        wait(lambda: world.post().ok and world.canary.running == 2)
        before = counted(world).get("dropped", 0)
        answers = [world.post() for _ in range(5)]
        assert [answer.json()["choices"][0]["message"]["content"] for answer in answers] == [ANSWER] * 5
        assert counted(world) == {"dropped": before + 5}
        assert world.canary.running == 2
    # The gateway has ended, and waited for neither.
    ends = [one.outcome for one in logged(world).values()]
    assert [(end and end.error) for end in ends] == ["shutdown", "shutdown"]


@pytest.mark.parametrize(
    ("fails", "error"), [("garbage", "garbage"), (500, None), ("gone", "unproven")], ids=["garbage", "status", "gone"]
)
def test_a_canary_that_fails_or_is_gone_is_told_of_the_canary_alone(tmp_path, fails, error):
    with shadowed(tmp_path) as world, contextlib.ExitStack() as stack:
        if fails == "gone":
            url = f"http://127.0.0.1:{stack.enter_context(ports.kept())}"
            canary = world.split(0.0).canary
            assert canary is not None
            world.split(0.0, canary=canary.model_copy(update={"url": url}), shadow=Mirror(share=1.0, at_once=4))
        else:
            world.canary.fails = fails
        # What was mirrored before the file was read anew may have been answered.
        answers: list[requests.Response] = []

        def failed() -> bool:
            answers.append(world.post())
            return counted(world).get("failed", 0) >= 2

        wait(failed)
        assert all(answer.status_code == 200 for answer in answers)
        ends = [one.outcome for one in shadows(world).values() if one.outcome is not None and one.outcome.error]
        assert len(ends) >= 2
        assert all(end.status >= 400 and error in (None, end.error) for end in ends)
        assert not [name for name in world.metrics() if name.startswith("trunkline_request_errors_total")]


def test_a_slow_canary_and_clients_at_once_get_on_without_each_other(tmp_path):
    with shadowed(tmp_path, at_once=3) as world:
        world.canary.fails, world.canary.slow_s = "slow", 0.1
        mirroring_begins(world)
        answers: list[requests.Response] = []
        asking = [threading.Thread(target=lambda: answers.extend(world.post() for _ in range(4))) for _ in range(3)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 12
        found, said = settled(world), counted(world)
        assert world.canary.most <= 3
        # Each was answered or dropped, and told; more than these were asked when the mirroring began.
        assert said["answered"] + said.get("dropped", 0) >= 12
        assert len(found) == said["answered"]


def test_the_logs_room_is_for_what_is_served(tmp_path, monkeypatch):
    monkeypatch.setattr(mirroring, "_SPOOL_SHARE", -1.0)  # as if it were used up
    with shadowed(tmp_path) as world:
        mirroring_begins(world)
        assert set(counted(world)) == {"dropped"}
        assert world.canary.asked == []


def test_nothing_is_mirrored_before_the_shadow_or_after_it(tmp_path):
    with gateways.serving(tmp_path, 0.0, "r1") as world:
        assert world.post().ok
        world.split(0.0, shadow=Mirror(share=1.0, at_once=4))
        mirroring_begins(world)
        world.split(1.0)
        wait(lambda: world.metrics()["trunkline_canary_weight_ratio"] == 1)
        settled(world)
        asked = len(world.canary.asked)
        assert world.post().headers["x-trunkline-release"] == CANARY
        assert len(world.canary.asked) == asked + 1, "the client's, and no shadow of it"
