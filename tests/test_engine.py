"""`trunkline engine`: a real process over a real socket."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

import served
import tiny
from served import Process
from trunkline import identity, params
from trunkline.clients import engines, generation, model
from trunkline.clients.embedded import Limits
from trunkline.clients.embedded.sampling import Sampler
from trunkline.clients.engines import Engine
from trunkline.errors import Error
from trunkline.operations import engine as operation
from trunkline.operations.engine import server
from trunkline.params.serve import EngineParams, PriceParams, TimeoutParams
from trunkline.records import Base
from trunkline.records.serving import Chunk, Failure, Identity, Request
from trunkline.wire.answers import Envelope

CHATS = [[{"role": "user", "content": f"my card {'is lost ' * n}"}] for n in range(8)]
REFUSED = [
    {"n": 2},
    {"logit_bias": {"3": 5}},
    {"tools": []},
    {"response_format": {"type": "json_object"}},
    {"presence_penalty": 0.5},
    {"top_logprobs": 3},
    {"temperature": -1},
    {"temperature": float("nan")},
    {"top_p": 0},
    {"max_tokens": 0},
    {"max_tokens": 10**9},
    {"max_tokens": 3, "max_completion_tokens": 4},
    {"stop": ["a", "b", "c", "d", "e"]},
    {"stop": [""]},
    {"messages": []},
    {"messages": "hello"},
    {"messages": [{"role": "robot", "content": "x"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
    {"model": "another"},
    {"unheard_of": 1},
    {"stream": "yes"},
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build_lively(tmp_path_factory.mktemp("lively") / "base")


@pytest.fixture(scope="module")
def engine(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    params = tmp_path_factory.mktemp("params") / "params.yaml"
    text = (served.ROOT / "params.yaml").read_text()
    text = text.replace("max_concurrent_requests: 64", "max_concurrent_requests: 8")
    params.write_text(text.replace("precision: auto", "precision: fp32"))
    with served.engine(base, params=params) as process:
        yield process


def ask(engine: Process, path: str = "/v1/chat/completions", **body: Any) -> requests.Response:
    return requests.post(engine.url + path, data=json.dumps(body), timeout=120)


def chat(engine: Process, number: int = 0, **body: Any) -> requests.Response:
    return ask(engine, **{"messages": CHATS[number], "temperature": 0, "max_tokens": 24, **body})


def events(response: requests.Response) -> list[Any]:
    """The documents of a stream, which must be framed as OpenAI's."""
    assert response.headers["Content-Type"] == "text/event-stream"
    *blocks, end = response.content.split(b"\n\n")
    assert end == b""
    assert blocks[-1] == b"data: [DONE]"
    assert all(block.startswith(b"data: ") and b"\n" not in block for block in blocks)
    return [json.loads(block[6:]) for block in blocks[:-1]]


def counted(engine: Process) -> dict[str, float]:
    lines = requests.get(engine.url + "/metrics", timeout=60).text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_answers_over_http_are_those_that_were_evaluated(engine, base):
    loaded = model.load(base, None, "fp32", "eager")
    expected = generation.LocalGenerator(loaded, 64, 24, None, lambda *_: None).generate(CHATS, ["x"] * len(CHATS))
    with ThreadPoolExecutor(len(CHATS)) as pool:
        found = [answer.json() for answer in pool.map(lambda n: chat(engine, n), range(len(CHATS)))]
    assert [answer["choices"][0]["message"]["content"] for answer in found] == [g.output for g in expected]
    assert [answer["usage"]["completion_tokens"] for answer in found] == [g.tokens_out for g in expected]
    assert [answer["usage"]["prompt_tokens"] for answer in found] == [g.tokens_in for g in expected]


def test_a_stream_has_the_same_text_and_ends_with_usage(engine):
    whole = chat(engine, 1).json()
    first, *pieces, last, usage = events(chat(engine, 1, stream=True, stream_options={"include_usage": True}))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": first["choices"][0]["delta"]["content"]}
    text = "".join(piece["choices"][0]["delta"]["content"] for piece in (first, *pieces))
    assert text == whole["choices"][0]["message"]["content"]
    assert last["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert (usage["choices"], usage["usage"]) == ([], whole["usage"])
    assert len({piece["id"] for piece in (first, *pieces, last, usage)}) == 1
    assert "usage" not in events(chat(engine, 1, stream=True))[-1]


def test_completions_go_on_from_the_text_itself(engine):
    text = "<|im_start|>user\nmy card <|im_end|>\n<|im_start|>assistant\n"
    body = {"prompt": text, "temperature": 0, "max_tokens": 24}
    found = ask(engine, "/v1/completions", **body).json()
    assert found["object"] == "text_completion"
    assert found["choices"][0]["text"] == chat(engine, 0).json()["choices"][0]["message"]["content"]
    pieces = events(ask(engine, "/v1/completions", **body, stream=True))
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == found["choices"][0]["text"]


def test_tokens_are_told_where_they_are_asked_for(engine):
    choice = chat(engine, 2, logprobs=True, return_token_ids=True).json()["choices"][0]
    assert len(choice["token_ids"]) == len(choice["logprobs"]["content"]) == 24
    assert all(token["logprob"] <= 0 for token in choice["logprobs"]["content"])
    assert chat(engine, 2).json()["choices"][0]["logprobs"] is None


def test_a_stop_text_is_named(engine):
    text = chat(engine, 3).json()["choices"][0]["message"]["content"]
    choice = chat(engine, 3, stop=text[4:7]).json()["choices"][0]
    assert choice["message"]["content"] == text[: text.find(text[4:7])]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", text[4:7])


@pytest.mark.parametrize("body", REFUSED, ids=lambda body: json.dumps(body)[:40])
def test_what_the_engine_cannot_do_is_refused_by_name_and_not_ignored(engine, body):
    for stream in (False, True):
        answer = chat(engine, **{"stream": stream, **body})
        assert answer.status_code == 422
        assert answer.json()["error_type"] == "validation"
        assert re.search("|".join([*body, "tokens", "JSON"]), answer.json()["error"])


def test_null_stands_for_what_is_not_there(engine):
    nulls = dict.fromkeys(("model", "n", "tools", "logit_bias", "seed", "stop", "top_p", "stream_options"))
    message = {**CHATS[0][0], "name": None, "tool_calls": None}
    assert chat(engine, **nulls, messages=[message]).json()["choices"] == chat(engine).json()["choices"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"messages": "\\ud800"}', b"[" * 100_000])
def test_a_body_that_is_no_request_is_refused(engine, body):
    answer = requests.post(engine.url + "/v1/chat/completions", data=body, timeout=60)
    assert (answer.status_code, answer.json()["error_type"]) == (422, "validation")
    answer = requests.post(answer.url, data=body or b"x", headers={"Content-Encoding": "gzip"}, timeout=60)
    assert (answer.status_code, answer.json()["error_type"]) == (422, "validation")


def test_what_is_too_large_or_nowhere_is_refused_in_json(engine):
    assert requests.post(engine.url + "/v1/completions", data=b"x" * 2_100_000, timeout=60).status_code == 413
    missing = requests.get(engine.url + "/nowhere", timeout=60)
    assert (missing.status_code, missing.json()["error_type"]) == (404, "validation")
    assert requests.get(engine.url + "/v1/completions", timeout=60).status_code == 405


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/tokenize"])
def test_a_body_that_does_not_come_is_not_waited_for(path, monkeypatch):
    monkeypatch.setattr(server, "_BODY_S", 0.1)
    limits = Limits(requests=1, batch_tokens=1, cache_tokens=1)
    with (
        served.running(server.application(Identity(("x",), None, "x"), limits, 1)) as url,
        socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=60) as place,
    ):
        place.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert place.recv(1000).startswith(b"HTTP/1.1 408")


def known(base: Path) -> str:
    record = Base.read(base / "base.json")
    return identity.digest(record.weights, None, record.configuration)


def test_it_says_what_it_serves(engine, base):
    digest = known(base)
    info = requests.get(engine.url + "/info", timeout=60).json()
    name = f"support-triage@{digest[:12]}"
    assert (info["model_id"], info["model_sha"]) == (name, digest)
    assert [entry["id"] for entry in requests.get(engine.url + "/v1/models", timeout=60).json()["data"]] == [name]
    for model_name in (name, "tgi", "dummy"):
        answer = chat(engine, model=model_name).json()
        assert (answer["model"], answer["system_fingerprint"]) == (name, digest[:12])
    assert (requests.get(engine.url + "/health", timeout=60).content) == b""


def test_it_tells_the_tokens_of_a_text(engine):
    tokens = requests.post(engine.url + "/tokenize", json={"inputs": "my card \u00e9"}, timeout=60).json()
    assert "".join(token["text"] for token in tokens if token["stop"] <= 8) == "my card "
    assert all(token["text"] == "my card \u00e9"[token["start"] : token["stop"]] for token in tokens)
    spans = drive(engine, lambda driver: driver.tokenize("my card \u00e9"))
    assert [span.id for span in spans] == [token["id"] for token in tokens]
    refused = requests.post(engine.url + "/tokenize", json={"text": "x"}, timeout=60)
    assert (refused.status_code, refused.json()["error_type"]) == (422, "validation")


def test_more_than_it_takes_on_is_refused_and_everything_is_counted(engine):
    before = counted(engine)
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda n: chat(engine, n % 8, max_tokens=200), range(24)))
    statuses = [answer.status_code for answer in answers]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert set(statuses) == {200, 429}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    after = counted(engine)
    assert after["tgi_request_success"] - before["tgi_request_success"] == statuses.count(200)
    name = 'tgi_request_failure{err="overloaded"}'
    assert after[name] - before.get(name, 0) == len(refused)
    assert after["tgi_request_duration_count"] == after['tgi_request_duration_bucket{le="+Inf"}']
    assert after["tgi_batch_current_size"] == after["tgi_queue_size"] == 0


def leave(engine: Process, stream: bool) -> None:
    """Ask for a long answer, and leave as soon as the engine writes it."""
    before = counted(engine)["tgi_request_success"]
    body = json.dumps({"messages": CHATS[0], "temperature": 0, "max_tokens": 900, "stream": stream}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", int(engine.url.rsplit(":", 1)[1]))) as place:
        place.sendall(head + body)
        while not (now := counted(engine))["tgi_batch_current_size"] and now["tgi_request_success"] == before:
            time.sleep(0.01)
    while counted(engine)["tgi_batch_current_size"]:
        time.sleep(0.01)


def test_a_client_that_leaves_mid_stream_ends_its_request(engine):
    name = 'tgi_request_failure{err="dropped"}'
    before = counted(engine).get(name, 0)
    for left, stream in enumerate((True, False) * 8, start=1):
        leave(engine, stream)
        # Once, unless this machine stood still until all was written.
        while counted(engine).get(name, 0) < before + left:
            leave(engine, stream)
    assert counted(engine)[name] == before + 16


def drive(engine: Process, story: Any) -> Any:
    """Play an async story with the driver of the gateway's side."""
    settings = EngineParams(
        kind="embedded", url=engine.url, model=None, key=None, usd_per_million=PriceParams(input=1, output=2), retries=0
    )

    async def run() -> Any:
        driver = engines.connect(settings, TimeoutParams.of(120))
        try:
            return await story(driver)
        finally:
            await driver.close()

    return asyncio.run(run())


def test_the_driver_reads_all_that_the_engine_tells(engine):
    request = Request(prompt=tuple(CHATS[2]), max_new_tokens=24, temperature=0, details=True)

    async def story(driver: Engine) -> Any:
        await driver.health()
        async with aclosing(driver.stream(request)) as chunks:
            pieces = [chunk async for chunk in chunks]
        plain = replace(request, prompt="my card", details=True)
        return pieces, await driver.complete(request), await driver.complete(plain), await driver.identity()

    pieces, whole, plain, who = drive(engine, story)
    end = pieces[-1].end
    assert whole.text == "".join(piece.text for piece in pieces) == end.text
    assert whole.text == chat(engine, 2).json()["choices"][0]["message"]["content"]
    assert whole.tokens == end.tokens == tuple(token for piece in pieces for token in piece.tokens)
    assert len(plain.tokens) == plain.tokens_out == whole.tokens_out == len(whole.tokens) == 24
    assert all(token.id is not None and token.logprob <= 0 for token in (*whole.tokens, *plain.tokens))
    assert (end.tokens_in, end.finish, end.model) == (whole.tokens_in, "length", who.models[0])
    assert end.usd == pytest.approx((end.tokens_in + 2 * end.tokens_out) / 1e6)
    assert 0 < end.ttft_ms < end.latency_ms


def test_the_driver_knows_the_engines_refusals(engine):
    async def story(driver: Engine) -> Any:
        asked = [Request(prompt=tuple(CHATS[0]), max_new_tokens=40, temperature=0)] * 20
        impossible = [replace(asked[0], max_new_tokens=10**6), replace(asked[0], stop=("a",) * 5)]
        found = await asyncio.gather(*map(driver.complete, asked + impossible), return_exceptions=True)
        return [answer.kind if isinstance(answer, Failure) else "" for answer in found]

    *kinds, longest, stops = drive(engine, story)
    assert set(kinds) == {"", "overloaded"}
    assert longest == stops == "invalid"


def test_an_engine_is_known_by_its_weights_before_it_gets_traffic(engine, base, tmp_path):
    digest = known(base)
    pin = drive(engine, lambda driver: engines.record(driver, tuple(CHATS[1]), 8))
    probed = drive(engine, lambda driver: engines.probe(driver, pin))
    assert probed.completion.text == pin.output != ""
    expected = identity.Expected("v1", digest, None, None)
    assert identity.mismatch(expected, *probed) is None
    other = identity.Expected("v2", "f" * 64, None, None)
    assert identity.mismatch(other, *drive(engine, lambda driver: engines.probe(driver, None))) == (
        f"it serves support-triage@{digest[:12]} with the weights {digest[:12]}, but v2 has the weights ffffffffffff"
    )


def test_a_start_that_cannot_succeed_is_one_error(base, tmp_path, monkeypatch):
    settings = params.load(served.ROOT / "params.yaml")
    damaged = Path(shutil.copytree(base, tmp_path / "damaged"))
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Error, match=f"cannot listen on port {port}: Address already in use"):
            operation.run(settings, base, base, port, 1)
    for problem, folder, port, threads in (
        ("cannot listen on port 99999", base, 99999, 1),
        ("cannot compute with 0 threads", base, 0, 0),
        (r"damaged/model\.safetensors is damaged", damaged, 0, 1),
        (r"holds neither bundle\.json nor base\.json", tmp_path, 0, 1),
        (r"bundle\.json: kind: ", unreadable(tmp_path / "unreadable"), 0, 1),
    ):
        with pytest.raises(Error, match=problem):
            operation.run(settings, folder, base, port, threads)
    monkeypatch.setattr(Sampler, "__call__", broken(after=0))
    with pytest.raises(Error, match="does not generate: generation failed: out of memory"):
        operation.run(settings, base, base, 0, 1)


def test_an_engine_that_breaks_down_fails_its_requests_and_ends_with_the_reason(base, monkeypatch, caplog):
    monkeypatch.setattr(Sampler, "__call__", broken(after=5))
    found: list[requests.Response] = []

    def play() -> None:
        while not (ready := re.search(r"answers on (http://\S+)", caplog.text)):
            time.sleep(0.05)
        url = ready[1] + "/v1/chat/completions"
        body = {"messages": CHATS[0], "max_tokens": 24}
        found.extend(requests.post(url, json={**body, "stream": stream}, timeout=120) for stream in (True, False))

    client = threading.Thread(target=play)
    end = signal.raise_signal

    def later(number: int) -> None:
        """Not before the client has heard of it: behind its end an engine answers nobody."""
        threading.Thread(target=lambda: (client.join(60), end(number))).start()

    monkeypatch.setattr(signal, "raise_signal", later)
    with caplog.at_level(logging.INFO, "trunkline"):
        client.start()
        with pytest.raises(Error, match="the engine has stopped generating: out of memory"):
            operation.run(params.load(served.ROOT / "params.yaml"), base, base, 0, 1)
        client.join()
    # The stream had begun: its error comes in an event, as TGI's does.
    error = json.loads(found[0].content.split(b"\n\n")[-2][6:])["error"]
    assert (found[0].status_code, error["http_status_code"]) == (200, 424)
    assert (found[1].status_code, found[1].json()["error_type"]) == (424, "generation")


def test_a_fault_of_ours_is_told_in_the_stream_that_has_begun(base, monkeypatch, caplog):
    works, pieces = Envelope.piece, itertools.count()

    def faulty(self: Envelope, chunk: Chunk) -> Any:
        return works(self, chunk) if next(pieces) == 0 else 1 / 0

    monkeypatch.setattr(Envelope, "piece", faulty)
    found: list[requests.Response] = []

    def play() -> None:
        while not (ready := re.search(r"answers on (http://\S+)", caplog.text)):
            time.sleep(0.05)
        body = {"messages": CHATS[0], "max_tokens": 24, "stream": True}
        try:
            found.append(requests.post(ready[1] + "/v1/chat/completions", json=body, timeout=120))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with caplog.at_level(logging.INFO, "trunkline"):
        client = threading.Thread(target=play)
        client.start()
        operation.run(params.load(served.ROOT / "params.yaml"), base, base, 0, 1)
        client.join()
    error = json.loads(found[0].content.split(b"\n\n")[-2][6:])["error"]
    assert (found[0].status_code, error["http_status_code"]) == (200, 424)
    assert "HTTP/1.1" not in found[0].text
    assert "ZeroDivisionError" in caplog.text


def unreadable(folder: Path) -> Path:
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    return folder


def broken(after: int) -> Any:
    """A sampler that fails at its n-th step."""
    steps = itertools.count()
    works = Sampler.__call__

    def choose(self: Sampler, input_ids: Any, scores: Any, logits_processor_args: Any) -> Any:
        if next(steps) >= after:
            raise RuntimeError("out of memory")
        return works(self, input_ids, scores, logits_processor_args)

    return choose


def test_accepted_requests_are_answered_after_sigterm_and_no_new_ones_taken(engine):
    """The last test with this engine."""
    before = counted(engine)
    found: list[Any] = []
    bodies = [{"max_tokens": 400, "stream": n % 2 == 0} for n in range(6)]
    threads = [threading.Thread(target=lambda n=n: found.append(chat(engine, n, **bodies[n]))) for n in range(6)]
    for thread in threads:
        thread.start()
    while counted(engine)["tgi_request_count"] < before["tgi_request_count"] + 6:
        time.sleep(0.02)
    assert engine.end(signal.SIGTERM) == 0
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in found] == [200] * 6
    for answer in found:
        if answer.headers["Content-Type"] == "text/event-stream":
            assert events(answer)[-1]["choices"][0]["finish_reason"]
        else:
            assert answer.json()["usage"]["completion_tokens"] > 0
    with pytest.raises(requests.ConnectionError):
        chat(engine)
    answered = int(before["tgi_request_success"]) + 6
    assert re.fullmatch(rf"support-triage@\w{{12}} answered {answered} requests\n", engine.process.stdout.read())


def test_what_does_not_end_within_drain_is_cut_after_sigterm(base, tmp_path):
    drain = 2.0
    text = (served.ROOT / "params.yaml").read_text().replace("drain: 90.0", f"drain: {drain}", 1)
    (tmp_path / "params.yaml").write_text(text)
    with served.engine(base, params=tmp_path / "params.yaml") as engine:
        # More than can be computed in that time, and what a client does not read, it does not get.
        body = json.dumps({"messages": CHATS[0], "max_tokens": 900, "stream": True, "logprobs": True}).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        with contextlib.ExitStack() as places:
            for _ in range(32):
                place = places.enter_context(socket.socket())
                place.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                place.connect(("127.0.0.1", int(engine.url.rpartition(":")[2])))
                place.sendall(head + body)
            while counted(engine)["tgi_request_count"] < 32:
                time.sleep(0.02)
            start = time.monotonic()
            assert engine.end(signal.SIGTERM) == 0
            assert drain <= time.monotonic() - start < 60
