"""`trunkline serve` as real clients meet it, and its answers against TGI's own OpenAPI document."""

import asyncio
import json
import logging
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import openai
import pytest
import requests
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError, OverloadedError, ValidationError

import finished
import gateways
import served
import tiny
from gateways import ANSWER, MESSAGE, World
from tgi_document import check, chunk
from trunkline import prompts
from trunkline.clients import model
from trunkline.clients.generation import LocalGenerator
from trunkline.operations import engine, serve
from trunkline.records import Base

CHAT = [{"role": "user", "content": MESSAGE}]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    limits = {"serve__gateway__keys": None, "serve__gateway__max_new_tokens": 64}
    with gateways.serving(tmp_path_factory.mktemp("world"), **limits) as running:
        yield running


@pytest.fixture
def client(world: World) -> InferenceClient:
    return InferenceClient(base_url=world.url)


def stream(world: World, path: str, **body: Any) -> list[Any]:
    blocks = world.post(path, **body).content.split(b"\n\n")[:-1]
    return [json.loads(block[6:]) for block in blocks if block != b"data: [DONE]"]


def test_answers_have_the_shape_of_tgis_document(world):
    details = {"inputs": MESSAGE, "parameters": {"details": True, "seed": 3, "do_sample": True}}
    check(world.post("/generate", **details).json(), "GenerateResponse")
    (listed,) = world.post("/", **details).json()
    check(listed, "GenerateResponse")
    check(world.post("/generate", inputs=MESSAGE).json(), "GenerateResponse")
    for document in stream(world, "/generate_stream", **details) + stream(world, "/", inputs=MESSAGE, stream=True):
        check(document, "StreamResponse")
    check(world.post(logprobs=True).json(), "ChatCompletion")
    for document in stream(world, "/v1/chat/completions", stream=True, stream_options={"include_usage": True}):
        check(chunk(document), "ChatCompletionChunk")
    check(world.post("/v1/completions", prompt=MESSAGE).json(), "CompletionFinal")
    for document in stream(world, "/v1/completions", prompt=MESSAGE, stream=True):
        check(chunk(document), "Chunk")
    check(world.get("/info").json(), "Info")
    check(world.post("/tokenize", inputs=MESSAGE).json(), "TokenizeResponse")
    for entry in world.get("/v1/models").json()["data"]:
        check(entry, "ModelInfo")
    for answer in (world.post(n=2), world.get("/nowhere"), world.post("/generate")):
        check(answer.json(), "ErrorResponse")


def test_a_document_of_another_shape_is_found():
    for document, name in (({"generated_text": 3}, "GenerateResponse"), ({"error": "x"}, "ErrorResponse")):
        with pytest.raises(Exception, match="is not of type|is a required property"):
            check(document, name)


def test_inference_client_generates_text(world, client):
    assert client.text_generation(MESSAGE) == ANSWER
    found = client.text_generation(MESSAGE, details=True, max_new_tokens=9, temperature=0.5, seed=4, stop=["x"])
    assert (found.generated_text, found.details.finish_reason, found.details.seed) == (ANSWER, "eos_token", 4)
    assert [token.text for token in found.details.tokens] == world.stable.says
    assert [token.id for token in found.details.tokens] == [5, 6, 7]
    assert "".join(client.text_generation(MESSAGE, stream=True)) == ANSWER
    *rest, last = client.text_generation(MESSAGE, stream=True, details=True)
    assert "".join(event.token.text for event in (*rest, last)) == last.generated_text == ANSWER
    assert last.details.generated_tokens == 3
    assert {event.generated_text for event in rest} == {None}


def test_inference_client_chats(world, client):
    found = client.chat_completion(CHAT, max_tokens=9)
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == (ANSWER, "stop")
    assert (found.model, found.usage.total_tokens) == ("support-triage@v1.0.0", 93)
    pieces = list(client.chat_completion(CHAT, stream=True, stream_options={"include_usage": True}))
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == ANSWER
    assert pieces[-1].usage.completion_tokens == 3
    named = InferenceClient(model=world.url)
    assert named.chat_completion(CHAT).choices[0].message.content == ANSWER


def test_inference_client_knows_the_gateways_refusals(world, client):
    with pytest.raises(ValidationError, match="best_of"):
        client.text_generation(MESSAGE, best_of=2)
    with pytest.raises(ValidationError, match="'other' is not served here"):
        client.text_generation(MESSAGE, adapter_id="other")
    with pytest.raises(HfHubHTTPError, match="422"):
        client.chat_completion([{"role": "system", "content": "x"}, *CHAT])
    world.stable.fails = 429
    try:
        with pytest.raises(OverloadedError):
            client.text_generation(MESSAGE)
    finally:
        world.stable.fails = None


def test_a_stream_that_fails_raises_in_the_client(world, client):
    world.stable.fails = "error"
    try:
        with pytest.raises(Exception, match="broken"):
            list(client.text_generation(MESSAGE, stream=True))
        with pytest.raises(Exception, match="broken"):
            list(client.chat_completion(CHAT, stream=True))
    finally:
        world.stable.fails = None


def test_async_inference_client_is_answered_alike(world):
    async def play() -> None:
        async with AsyncInferenceClient(base_url=world.url) as client:
            assert await client.text_generation(MESSAGE) == ANSWER
            found = await client.text_generation(MESSAGE, details=True)
            assert found.details.generated_tokens == 3
            pieces = [piece async for piece in await client.text_generation(MESSAGE, stream=True)]
            assert "".join(pieces) == ANSWER
            assert (await client.chat_completion(CHAT)).choices[0].message.content == ANSWER
            chunks = [chunk async for chunk in await client.chat_completion(CHAT, stream=True)]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
            several = await asyncio.gather(*(client.text_generation(MESSAGE) for _ in range(20)))
            assert several == [ANSWER] * 20

    asyncio.run(play())


def test_openais_client_is_answered_as_by_openai(world):
    client = openai.OpenAI(base_url=f"{world.url}/v1", api_key="none")
    found = client.chat.completions.create(model="support-triage", messages=CHAT)
    assert (found.choices[0].message.content, found.usage.total_tokens) == (ANSWER, 93)
    pieces = client.chat.completions.create(model="tgi", messages=CHAT, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == ANSWER
    assert client.completions.create(model="tgi", prompt=MESSAGE).choices[0].text == ANSWER
    pieces = client.completions.create(model="tgi", prompt=MESSAGE, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == ANSWER
    assert [model.id for model in client.models.list()] == ["support-triage"]
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model="tgi", messages=CHAT, n=2)


@pytest.mark.slow
def test_a_real_model_behind_the_gateway_answers_as_it_was_evaluated(tmp_path, caplog):
    """The whole way: `trunkline engine` with the bundle, proved by its weights, and the release's own prompt."""
    base = tiny.build_lively(tmp_path / "base")
    finished.bundle(tmp_path, "production", task=gateways.TASK, base=Base.read(base / "base.json").sha256)
    bundle = tmp_path / "models/production"
    changes = {"evaluate__precision": "fp32", "serve__guard": {"pii@1": "flag"}, "evaluate__max_new_tokens": 24}
    messages = [f"my card {'is lost ' * number}" for number in range(6)]
    conversations = [prompts.render(gateways.TASK, message.strip()) for message in messages]
    loaded = model.load(base, bundle, "fp32", "eager")
    expected = LocalGenerator(loaded, 8, 24, None, lambda *_: None).generate(conversations, ["x"] * len(messages))

    def ask() -> None:
        gateways.wait(lambda: "answers on" in caplog.text, 120)
        address = re.findall(r"answers on (http://\S+)", caplog.text)[0]
        params = gateways.settings(tmp_path, serve__engines__stable__url=address, **changes)
        with ExitStack() as stack:
            try:
                url = stack.enter_context(served.running(serve.application(params, None, bundle)))
                pool = stack.enter_context(ThreadPoolExecutor())
                client = InferenceClient(base_url=url)
                assert list(pool.map(client.text_generation, messages)) == [one.output for one in expected]
                for message, one in zip(messages, expected, strict=True):
                    *_, last = client.text_generation(message, stream=True, details=True)
                    assert (last.generated_text, last.details.generated_tokens) == (one.output, one.tokens_out)
                    chat = client.chat_completion([{"role": "user", "content": message}])
                    assert (chat.choices[0].message.content, chat.usage.prompt_tokens) == (one.output, one.tokens_in)
                tokens = requests.post(url + "/tokenize", json={"inputs": "my card"}, timeout=60).json()
                check(tokens, "TokenizeResponse")
                assert "".join(token["text"] for token in tokens) == "my card"
                found = gateways.logged(params, chat.id.removeprefix("chatcmpl-")).outcome
                # No database takes the NUL that a random model writes.
                assert found.output == expected[-1].output.replace("\x00", "\ufffd")
                assert found.engine_fingerprint == chat.system_fingerprint
                assert found.confidence == pytest.approx(expected[-1].confidence, rel=1e-4)
                assert requests.get(url + "/health", timeout=60).status_code == 200
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
            # An engine that is gone.
            gateways.wait(lambda: requests.get(url + "/health", timeout=60).status_code == 503, 60)

    params = gateways.settings(tmp_path, **changes)
    with ThreadPoolExecutor() as pool, caplog.at_level(logging.INFO, "trunkline"):
        asking = pool.submit(ask)
        engine.run(params, bundle, base, 0, 1)
        asking.result(120)
