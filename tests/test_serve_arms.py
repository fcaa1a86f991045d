"""`trunkline serve`: who is answered by which release, while the traffic changes and engines come and go."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web

import gateways
import ports
import served
from gateways import ANSWER, MESSAGE, SALT, World, wait
from trunkline import assignment, prompts
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.operations import serve
from trunkline.operations.serve import routing
from trunkline.records.serving import Pin

STABLE, CANARY = "support-triage@v1.0.0", "support-triage@v1.1.0"
UNITS = [f"conversation-{number}" for number in range(120)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "LOOK_S", 0.02)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with gateways.serving(tmp_path, 0.3, "r1", serve__gateway__probe_seconds=0.1) as running:
        yield running


def ask(world: World, unit: str, **body: Any) -> requests.Response:
    return world.post(headers={"x-conversation-id": unit}, **body)


def unit_of(arm: str, weight: float = 0.3) -> str:
    return next(unit for unit in UNITS if assignment.arm_of(SALT, unit, weight) == arm)


def released(answer: requests.Response) -> str:
    return answer.headers["x-trunkline-release"]


def ratio(world: World) -> float:
    return world.metrics()["trunkline_canary_weight_ratio"]


def test_units_are_on_the_arm_that_the_salts_hash_gives_and_are_logged_so(world):
    answers = {unit: ask(world, unit) for unit in UNITS}
    for unit, answer in answers.items():
        canary = assignment.arm_of(SALT, unit, 0.3) == "canary"
        assert released(answer) == (CANARY if canary else STABLE)
    logged = {one.assignment.unit: one.assignment for one in world.everything()}
    for unit in UNITS:
        found = logged[unit]
        assert (found.arm, found.weight, found.rollout) == (assignment.arm_of(SALT, unit, 0.3), 0.3, "r1")
    assert 10 < len(world.canary.asked) < 60
    assert len(world.canary.asked) + len(world.stable.asked) == len(UNITS)


def test_who_is_on_the_canary_stays_there_while_the_ramp_goes_up_and_nobody_is_after_a_rollback(world):
    before = {unit for unit in UNITS if released(ask(world, unit)) == CANARY}
    world.split(0.6)
    wait(lambda: ratio(world) == 0.6)
    after = {unit for unit in UNITS if released(ask(world, unit)) == CANARY}
    assert before < after
    world.split(0, rollout=None)
    wait(lambda: ratio(world) == 0)
    assert all(released(ask(world, unit)) == STABLE for unit in UNITS)
    assert world.logged(ask(world, UNITS[0])).assignment.rollout is None


def test_a_request_without_a_unit_is_a_unit_of_its_own(world):
    answers = [world.post() for _ in range(40)]
    assert {released(answer) for answer in answers} == {STABLE, CANARY}
    for answer in answers:
        prediction = answer.headers["x-trunkline-prediction"]
        assert (released(answer) == CANARY) is (assignment.arm_of(SALT, prediction, 0.3) == "canary")


def test_what_is_being_answered_ends_on_the_arm_that_it_began_on(world):
    world.stable.fails = "held"
    unit = unit_of("stable")
    answers: list[requests.Response] = []
    streams = [threading.Thread(target=lambda s=s: answers.append(ask(world, unit, stream=s))) for s in (True, False)]
    for stream in streams:
        stream.start()
    wait(lambda: world.stable.running == 2)
    promoted = world.split(0, rollout=None).stable.model_copy(
        update={"release": CANARY, "bundle": str(world.folder / "v1.1.0"), "url": world.urls[1]}
    )
    world.split(0, rollout=None, stable=promoted)
    wait(lambda: world.get("/info").json()["model_id"] == CANARY)
    assert world.stable.running == 2
    assert released(ask(world, unit)) == CANARY
    world.stable.fails = None
    for stream in streams:
        stream.join()
    assert [released(answer) for answer in answers] == [STABLE, STABLE]
    assert all(world.logged(answer).outcome.output == ANSWER for answer in answers)


def test_a_broken_file_changes_nothing_and_is_told_once(world, caplog):
    with caplog.at_level(logging.INFO):
        for text in ('{"environment": 3}', '{"environment": 3} ', "{"):
            files.write_text(world.traffic, text)  # whole or absent: half of one is another problem
            wait(lambda: "traffic.json" in caplog.text)
        wrong = world.split(0.5).stable.model_copy(update={"bundle": str(world.folder / "v1.1.0")})
        world.split(0.5, stable=wrong)
        wait(lambda: "holds support-triage@v1.1.0, not support-triage@v1.0.0" in caplog.text)
        world.traffic.unlink()
        wait(lambda: "traffic.json not found" in caplog.text)
    assert ratio(world) in (0.3, 0.5)
    assert ask(world, UNITS[0]).status_code == 200
    problems = [record.message for record in caplog.records if "nothing changes until" in record.message]
    assert len(problems) == len(set(problems))
    world.split(0.9)
    wait(lambda: ratio(world) == 0.9)


def test_a_canary_that_serves_something_else_is_named_and_its_units_fail_on_its_arm(world, caplog):
    with caplog.at_level(logging.ERROR):
        world.canary.digest = "f" * 64
        wait(lambda: f"but {CANARY} has the weights" in caplog.text)
    answer = ask(world, unit_of("canary"))
    assert (answer.status_code, answer.json()["error_type"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    found = world.logged(answer)
    assert (found.assignment.arm, found.assignment.release) == ("canary", CANARY)
    assert (found.outcome.status, found.outcome.error) == (503, "unproven")
    assert world.metrics()[f'trunkline_engine_up_ratio{{release="{CANARY}",arm="canary"}}'] == 0
    assert ask(world, unit_of("stable")).status_code == 200
    assert world.get("/health").status_code == 200


def test_an_engine_that_proves_itself_again_gets_traffic_again(world):
    digest = world.canary.digest
    world.canary.digest = "f" * 64
    wait(lambda: ask(world, unit_of("canary")).status_code == 503)
    world.canary.digest = digest
    wait(lambda: ask(world, unit_of("canary")).status_code == 200)


class Slow(gateways.Engine):
    """Does not say at once who it is."""

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/info":
            await asyncio.sleep(0.4)
        return await super().__call__(request)


def test_a_gateway_begins_once_its_engine_has_proved_itself_however_often_that_is_repeated(tmp_path):
    folder = gateways.bundle(tmp_path, "v1.0.0")
    with served.answering(Slow(folder)) as url:
        changes = {"serve__engines__stable__url": url, "serve__gateway__probe_seconds": 0.1}
        with served.running(serve.application(gateways.settings(tmp_path, **changes), None, folder)) as address:
            assert requests.get(address + "/health", timeout=60).status_code == 200


def test_without_a_proved_stable_the_gateway_is_not_healthy(world):
    world.stable.digest = "f" * 64
    wait(lambda: world.get("/health").status_code == 503)
    assert world.get("/ping").json() == {"error": "unhealthy", "error_type": "healthcheck"}
    found = world.logged(ask(world, unit_of("stable")))
    assert (found.assignment.arm, found.outcome.error) == ("stable", "unproven")
    assert ask(world, unit_of("canary")).status_code == 200


def test_another_engine_on_the_port_of_one_that_died_gets_nothing(tmp_path, caplog):
    folder = gateways.bundle(tmp_path, "v1.0.0")
    engine = gateways.Engine(folder)
    other = gateways.Engine(gateways.bundle(tmp_path, "v1.1.0"))
    # None that a process may be given that asks for any.
    with served.answering(engine, ports.free_ports()) as url:
        params = gateways.settings(tmp_path, serve__gateway__probe_seconds=14.0)
        single = params.serve.engines["stable"].model_copy(update={"url": url})
        engines = {"stable": single, "canary": single}
        params = params.model_copy(update={"serve": params.serve.model_copy(update={"engines": engines})})
        gateway = served.running(serve.application(params, None, folder))
        address = gateway.__enter__()
    try:
        # The next answer breaks, which casts doubt on whatever is there next.
        body = {"inputs": MESSAGE}
        assert requests.post(address + "/generate", json=body, timeout=60).status_code == 503
        wait(lambda: "gets no traffic" in caplog.text)
        with served.answering(other, int(url.rsplit(":", 1)[1])):
            statuses = [requests.post(address + "/generate", json=body, timeout=60).status_code for _ in range(5)]
        assert statuses == [503] * 5
        assert other.asked == []
    finally:
        gateway.__exit__(None, None, None)


def test_one_release_is_served_without_a_rollout_and_knows_its_arm_from_a_file(tmp_path, monkeypatch):
    folder = gateways.bundle(tmp_path, "v1.1.0")
    arm = tmp_path / "arm"
    arm.write_text("canary\n")
    with served.answering(gateways.Engine(folder)) as url:
        for name, value in {"BUNDLE": folder, "RELEASE": CANARY, "ARM_FILE": arm, "ENGINE_URL": url}.items():
            monkeypatch.setenv(f"TRUNKLINE_{name}", str(value))
        params = gateways.settings(tmp_path)
        with served.running(serve.application(params, None, None)) as address:
            arms = []
            for said in ("canary", "stable"):
                files.write_text(arm, said)
                wait(lambda said=said: f'arm="{said}"' in requests.get(address + "/metrics", timeout=60).text)
                answer = requests.post(address + "/generate", json={"inputs": MESSAGE}, timeout=60)
                arms.append(gateways.logged(params, answer.headers["x-trunkline-prediction"]).assignment)
            assert [(one.arm, one.release, one.rollout, one.weight) for one in arms] == [
                ("canary", CANARY, None, 0),
                ("stable", CANARY, None, 0),
            ]


def test_a_start_that_cannot_succeed_is_one_error(tmp_path, monkeypatch):
    params = gateways.settings(tmp_path)
    folder = gateways.bundle(tmp_path, "v1.0.0")
    for problem, traffic, bundle in (
        ("not at all or twice", None, None),
        ("not at all or twice", tmp_path / "traffic.json", folder),
        ("holds neither", None, tmp_path),
    ):
        with pytest.raises(Error, match=problem):
            serve.application(params, traffic, bundle)
    with (
        pytest.raises(Error, match=r"traffic\.json not found"),
        served.running(serve.application(params, tmp_path / "traffic.json", None)),
    ):
        pass
    monkeypatch.setenv("TRUNKLINE_RELEASE", CANARY)
    with (
        pytest.raises(Error, match=f"holds {STABLE}, not {CANARY}"),
        served.running(serve.application(params, None, folder)),
    ):
        pass
    monkeypatch.setenv("TRUNKLINE_ENGINE_KIND", "magic")
    with pytest.raises(Error, match="TRUNKLINE_ENGINE_KIND is 'magic'"):
        serve.run(params, None, folder, "127.0.0.1:0", None)
    with pytest.raises(Error, match="no address"):
        serve.run(params, None, folder, "8080", None)


def test_a_release_whose_answers_may_be_longer_than_is_allowed_is_not_served(tmp_path):
    folder = gateways.bundle(tmp_path, "v1.0.0")
    params = gateways.settings(tmp_path, serve__gateway__max_new_tokens=31)
    with (
        pytest.raises(Error, match="evaluated with 32 tokens an answer, and 31 are allowed"),
        served.running(serve.application(params, None, folder)),
    ):
        pass


def test_a_file_that_cannot_even_be_read_does_not_end_the_following(world, caplog):
    world.traffic.unlink()
    world.traffic.mkdir()
    wait(lambda: "Is a directory" in caplog.text)
    world.traffic.rmdir()
    world.split(0.9)
    wait(lambda: ratio(world) == 0.9)


def test_behind_a_trusted_proxy_its_arm_and_weight_count(tmp_path):
    told = {"x-conversation-id": "u", "x-trunkline-arm": "canary", "x-trunkline-weight": "0.05"}
    with gateways.serving(tmp_path, 0.3, "r1", serve__gateway__trust_proxy=True) as world:
        for arm in ("canary", "stable"):
            found = world.logged(world.post(headers=told | {"x-trunkline-arm": arm})).assignment
            assert (found.arm, found.weight, found.rollout, found.unit) == (arm, 0.05, "r1", "u")
        for wrong in ({"x-trunkline-arm": "both"}, {"x-trunkline-weight": "2"}, {"x-trunkline-weight": "much"}):
            assert world.post(headers=told | wrong).status_code == 422
        unit = unit_of("canary")
        assert released(ask(world, unit)) == CANARY
        # A canary whose gateways are all down: its units are answered, and prove nothing about either arm.
        world.split(0, rollout=None)
        wait(lambda: ratio(world) == 0)
        found = world.logged(world.post(headers=told)).assignment
        assert (found.arm, found.weight, found.rollout, found.release) == ("stable", 0, None, STABLE)


def test_what_a_client_says_about_its_arm_is_not_believed(world):
    told = {"x-conversation-id": unit_of("stable"), "x-trunkline-arm": "canary", "x-trunkline-weight": "1"}
    assert released(world.post(headers=told)) == STABLE


@pytest.mark.parametrize(("kind", "asked", "tells_tokens"), [("openai", STABLE, 501), ("tgi", "tgi", 200)])
def test_an_engine_that_tells_no_hash_is_known_by_its_pinned_answer(tmp_path, kind, asked, tells_tokens):
    """vLLM, started under the release's name, and TGI, where any other name than its own would be an adapter's."""
    pins = tmp_path / "pins"
    kinds = {"serve__engines__stable__kind": kind, "serve__gateway__pins": str(pins)}
    folder = gateways.bundle(tmp_path, "v1.0.0")
    engine = gateways.Engine(folder)
    for pinned, status in ((None, 503), ("something else", 503), (ANSWER, 200)):
        if pinned is not None:
            pin = Pin(prompt=({"role": "user", "content": "Hi"},), max_new_tokens=8, output=pinned)
            files.write_text(pins / "v1.0.0.json", pin.text())
        with served.answering(engine) as url:
            params = gateways.settings(tmp_path, serve__engines__stable__url=url, **kinds)
            with served.running(serve.application(params, None, folder)) as address:
                assert requests.get(address + "/health", timeout=60).status_code == status
                body = {"inputs": MESSAGE}
                assert requests.post(address + "/generate", json=body, timeout=60).status_code == status
                tokens = requests.post(address + "/tokenize", json=body, timeout=60)
                assert tokens.status_code == (tells_tokens if status == 200 else 503)
                streamed = requests.post(address + "/generate_stream", json=body, timeout=60)
                assert streamed.status_code == status
    assert json.loads(streamed.text.split("\n\n")[-2].removeprefix("data: "))["generated_text"] == ANSWER
    assert {one["model"] for one in engine.asked} == {asked}
    assert json.loads((pins / "v1.0.0.json").read_text())["output"] == ANSWER


class Wavering(gateways.Engine):
    """Answers otherwise to every other question, or to each."""

    always = False

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        self.says = ["otherwise"] if self.always or len(self.asked) % 2 else [ANSWER]
        return super()._whole(body)


def test_a_pinned_answer_that_falls_otherwise_once_is_no_other_model_and_twice_it_is(tmp_path, caplog):
    """As in batches of another size, where the likeliest token is a near thing."""
    pins, folder = tmp_path / "pins", gateways.bundle(tmp_path, "v1.0.0")
    pin = Pin(prompt=({"role": "user", "content": "Hi"},), max_new_tokens=8, output=ANSWER)
    files.write_text(pins / "v1.0.0.json", pin.text())
    engine = Wavering(folder)
    changes = {"serve__engines__stable__kind": "openai", "serve__gateway__pins": str(pins)}
    with served.answering(engine) as url, caplog.at_level(logging.ERROR):
        changes |= {"serve__engines__stable__url": url, "serve__gateway__probe_seconds": 0.05}
        with served.running(serve.application(gateways.settings(tmp_path, **changes), None, folder)) as address:
            wait(lambda: len(engine.asked) > 9)
            assert not [record for record in caplog.records if "gets no traffic" in record.message]
            assert requests.get(address + "/health", timeout=60).status_code == 200
            engine.always = True
            wait(lambda: requests.get(address + "/health", timeout=60).status_code == 503)
    assert "answers the pinned prompt with 'otherwise'" in caplog.text


def test_a_pin_is_written_from_what_the_engine_answers_now(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = gateways.bundle(tmp_path, "v1.0.0")
    (tmp_path / "project.py").write_text("")
    engine = gateways.Engine(folder)
    with served.answering(engine) as url:
        changes = {"kind": "openai", "url": url}
        params = gateways.settings(
            tmp_path,
            serve__gateway__pins=str(tmp_path / "pins"),
            project__module="project.py",
            **{f"serve__engines__stable__{name}": value for name, value in changes.items()},
        )
        told = serve.run(params, None, folder, None, MESSAGE)
        assert told.startswith(f"{tmp_path}/pins/v1.0.0.json: {STABLE} answers")
        pin = Pin.read(tmp_path / "pins/v1.0.0.json")
        assert (list(pin.prompt), pin.output) == (prompts.render(gateways.TASK, MESSAGE), ANSWER)
        with served.running(serve.application(params, None, folder)) as address:
            assert requests.get(address + "/health", timeout=60).status_code == 200
        engine.fails = 500
        with pytest.raises(Error, match="gives no answer to pin"):
            serve.run(params, None, folder, None, MESSAGE)
    with pytest.raises(Error, match="a pin is of one release"):
        serve.run(params, tmp_path / "traffic.json", None, None, MESSAGE)
