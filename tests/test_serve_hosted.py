"""`trunkline serve` with hosted releases: a provider over real sockets that is slow, moves, fails and says too much."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

import gateways
import provider as providers
import served
from gateways import MESSAGE, SALT, TASK, wait
from provider import Provider
from trunkline import assignment, prompts
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.operations import serve
from trunkline.operations.serve import routing
from trunkline.params import Params
from trunkline.records.prediction import Prediction
from trunkline.records.traffic import Served, Traffic

HOSTED, WEIGHTS = "support-triage@v1.0.0", "support-triage@v1.1.0"
KEY = "sk-a-secret-that-nobody-may-see"
RIGHT = providers.right(MESSAGE)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "LOOK_S", 0.02)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    monkeypatch.setenv("LLM_API_KEY", KEY)
    return Provider()


@pytest.fixture
def url(provider: Provider) -> Iterator[str]:
    with served.answering(provider.handle) as found:
        yield found


class World:
    """A gateway that is served by a hosted release, alone or beside one with weights."""

    def __init__(self, folder: Path, gateway: str, params: Params) -> None:
        self.folder, self.url, self.params = folder, gateway, params

    def ask(self, arm: str = "stable", **body: Any) -> requests.Response:
        units = (f"conversation-{number}" for number in range(200))
        unit = next(unit for unit in units if assignment.arm_of(SALT, unit, 0.3) == arm)
        asked = {"messages": [{"role": "user", "content": MESSAGE}], "user": unit, **body}
        return requests.post(f"{self.url}/v1/chat/completions", json=asked, timeout=60)

    def logged(self, answer: requests.Response) -> Prediction:
        return gateways.logged(self.params, answer.headers["x-trunkline-prediction"])

    def error(self, answer: requests.Response) -> tuple[int, int, str | None]:
        """The answer's status, and status and error as they are logged."""
        outcome = self.logged(answer).outcome
        return answer.status_code, outcome.status, outcome.error


@contextmanager
def standing(folder: Path, url: str, **changes: object) -> Iterator[World]:
    """`trunkline serve --bundle` of a hosted release; its pins are asked for at the start, and when there is doubt."""
    providers.bundle(folder / "v1.0.0", "v1.0.0", providers.record(url, TASK, key="LLM_API_KEY", **changes), TASK)
    params = gateways.settings(folder, serve__gateway__probe_seconds=0.1, serve__engines={})
    with served.running(serve.application(params, None, folder / "v1.0.0")) as gateway:
        yield World(folder, gateway, params)


@pytest.fixture
def alone(tmp_path: Path, url: str, provider: Provider) -> Iterator[World]:
    provider.key = KEY
    with standing(tmp_path, url) as world:
        yield world


@pytest.fixture
def mixed(tmp_path: Path, url: str) -> Iterator[World]:
    """A hosted stable and a canary of weights; the pins are asked for again and again."""
    providers.bundle(tmp_path / "v1.0.0", "v1.0.0", providers.record(url, TASK), TASK)
    engine = gateways.Engine(gateways.bundle(tmp_path, "v1.1.0"))
    quick = {"serve__gateway__probe_seconds": 0.1, "serve__gateway__repeat_seconds": 0.1}
    params = gateways.settings(tmp_path, **quick)
    with served.answering(engine) as weights:
        arms = [
            Served(release=name, bundle=str(tmp_path / name.partition("@")[2]), url=place)
            for name, place in ((HOSTED, url), (WEIGHTS, weights))
        ]
        traffic = Traffic(environment="production", rollout="r1", salt=SALT, weight=0.3, stable=arms[0], canary=arms[1])
        files.write_text(tmp_path / "traffic.json", traffic.text())
        with served.running(serve.application(params, tmp_path / "traffic.json", None)) as gateway:
            yield World(tmp_path, gateway, params)


# ---- what is asked and logged


@pytest.mark.parametrize("stream", [False, True])
def test_the_provider_is_asked_by_the_releases_prompt_and_its_tokens_have_its_price(alone, provider, stream):
    before = len(provider.bodies)
    answer = alone.ask(stream=stream)
    assert answer.status_code == 200
    assert answer.headers["x-trunkline-release"] == HOSTED
    (asked,) = provider.bodies[before:]
    assert asked["messages"] == [dict(turn) for turn in prompts.render(TASK, MESSAGE)]
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("large", 0, 32)
    outcome = alone.logged(answer).outcome
    assert (outcome.output, outcome.format_ok, outcome.error) == (RIGHT, True, None)
    assert (outcome.engine_model, outcome.engine_fingerprint) == ("large-2026-08", "fp_1")
    words = sum(len(turn["content"].split()) for turn in asked["messages"])
    assert (outcome.tokens_in, outcome.tokens_out) == (words, len(RIGHT.split()) + 1)
    assert outcome.usd == pytest.approx((2.0 * words + 8.0 * outcome.tokens_out) / 1e6)
    assert (outcome.ttft_ms is not None) == stream
    assert "logprobs" not in asked
    assert outcome.confidence is None


def test_no_more_requests_run_at_once_than_the_release_says(tmp_path, url, provider):
    with standing(tmp_path, url, concurrent=2) as alone:
        provider.delay, provider.most, provider.crowd = 0.1, 0, 2
        asking = [threading.Thread(target=alone.ask) for _ in range(8)]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
        assert provider.most == 2


# ---- who answers


def test_a_provider_that_silently_changes_its_model_is_named_and_gets_no_traffic_until_it_is_back(
    mixed, provider, caplog
):
    assert mixed.ask().status_code == 200
    with caplog.at_level(logging.INFO):
        provider.answer = providers.wrong
        wait(lambda: "the provider moved: 3 of 3 pinned answers differ" in caplog.text)
        answer = mixed.ask()
        assert mixed.error(answer) == (503, 503, "moved")
        assert f"the provider of {HOSTED} answers as another model" in answer.json()["error"]
        assert requests.get(f"{mixed.url}/health", timeout=60).status_code == 503
        assert mixed.ask("canary").status_code == 200
        provider.answer = providers.right
        wait(lambda: "proves that it is support-triage@v1.0.0" in caplog.text.rpartition("moved")[2])
    assert mixed.ask().status_code == 200


def test_not_even_the_first_answer_of_a_model_with_another_name_is_passed_on(alone, provider):
    provider.model = "large-2026-11"
    answer = alone.ask()
    assert alone.error(answer) == (503, 503, "moved")
    assert alone.logged(answer).outcome.engine_model == "large-2026-11"
    provider.model = "large-2026-08"
    wait(lambda: alone.ask().status_code == 200)


def test_another_fingerprint_has_the_pins_repeated_once_and_the_same_answers_go_on(alone, provider):
    wait(lambda: alone.ask().status_code == 200)
    before = len(provider.bodies)
    provider.fingerprint = "fp_2"
    assert {alone.ask().status_code for _ in range(10)} == {200}
    wait(lambda: len(provider.bodies) == before + 10 + 3)
    provider.fingerprint = "fp_3"
    provider.answer = providers.wrong
    alone.ask()
    wait(lambda: alone.error(alone.ask()) == (503, 503, "moved"))


def test_the_pins_are_not_paid_for_again_while_nothing_is_amiss(alone, provider):
    before = len(provider.bodies)
    with_pins = [alone.ask() for _ in range(20)]
    assert {answer.status_code for answer in with_pins} == {200}
    threading.Event().wait(0.4)  # more than probe_seconds
    assert len(provider.bodies) == before + 20


def test_an_answer_that_falls_otherwise_once_is_no_move(tmp_path, url, provider, caplog):
    with caplog.at_level(logging.INFO), standing(tmp_path, url) as alone:
        provider.fingerprint = "fp_2"
        once = iter([providers.right, providers.wrong])
        provider.answer = lambda message: next(once, providers.right)(message)
        before = len(provider.bodies)
        assert alone.ask().status_code == 200
        wait(lambda: len(provider.bodies) == before + 1 + 6)
        assert alone.ask().status_code == 200
    assert "moved" not in caplog.text


def test_a_provider_that_nothing_tells_from_another_gets_nothing(tmp_path, url, provider, caplog):
    provider.fingerprint = None
    every = iter(range(1000))
    provider.answer = lambda message: f"{next(every)}"
    with caplog.at_level(logging.ERROR), standing(tmp_path, url) as alone:
        assert alone.error(alone.ask()) == (503, 503, "unproven")
    assert "whether the provider moved could not be measured" in caplog.text


# ---- what goes wrong


def test_a_provider_that_is_down_could_not_be_measured_which_is_no_move(mixed, provider, caplog):
    with caplog.at_level(logging.ERROR):
        provider.key = "another"
        wait(lambda: "could not measure: 127.0.0.1" in caplog.text)
    assert "answers 401: wrong key" in caplog.text
    assert "moved" not in caplog.text
    assert mixed.error(mixed.ask()) == (503, 503, "unproven")
    provider.key = None
    wait(lambda: mixed.ask().status_code == 200)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("trouble", "status", "error"),
    [
        ((401, {}), 502, "refused"),
        ((429, {"Retry-After": "7"}), 429, "overloaded"),
        ((500, {}), 424, "failed"),
        ((400, {}), 422, "invalid"),
        ((200, {}), 424, "failed"),  # it says so in an answer that began well
        ((204, {}), 502, "garbage"),
    ],
)
def test_each_fault_has_its_status_and_the_key_is_in_nothing_that_is_said_or_kept(
    alone, provider, caplog, trouble, status, error, stream
):
    provider.tells_key = True
    provider.trouble.append(trouble)
    with caplog.at_level(logging.DEBUG):
        answer = alone.ask(stream=stream)
        assert alone.error(answer) == (status, status, error)
    if error != "garbage":
        assert "not now (Bearer ***)" in answer.text
    assert answer.headers.get("Retry-After") == trouble[1].get("Retry-After")
    kept = "".join(path.read_text(errors="replace") for path in alone.folder.rglob("*") if path.is_file())
    assert KEY not in answer.text + caplog.text + kept


def test_a_release_is_served_only_as_it_was_made(tmp_path, url):
    folder = tmp_path / "v1.0.0"
    providers.bundle(folder, "v1.0.0", providers.record(url, TASK), TASK)
    params = gateways.settings(tmp_path)
    elsewhere = Traffic(
        environment="production",
        rollout=None,
        salt=None,
        weight=0,
        stable=Served(release=HOSTED, bundle=str(folder), url="http://127.0.0.1:9"),
        canary=None,
    )
    files.write_text(tmp_path / "traffic.json", elsewhere.text())
    started = serve.application(params, tmp_path / "traffic.json", None)
    with pytest.raises(Error, match=f"is a model of {url}, and http://127.0.0.1:9 is asked"), served.running(started):
        pass
    with pytest.raises(Error, match="its own pinned answers"):
        serve.run(params, None, folder, None, "my card is gone")
    (folder / "provider.json").write_text((folder / "provider.json").read_text().replace("large", "small"))
    with pytest.raises(Error, match="is not the one that was recorded"):
        serve.application(params, None, folder)


def test_without_its_key_nothing_is_served(tmp_path, url, monkeypatch):
    (tmp_path / "once").mkdir()
    with standing(tmp_path / "once", url):
        monkeypatch.delenv("LLM_API_KEY")
    params = gateways.settings(tmp_path)
    started = serve.application(params, None, tmp_path / "once/v1.0.0")
    with pytest.raises(Error, match="the environment variable LLM_API_KEY is not set"), served.running(started):
        pass
