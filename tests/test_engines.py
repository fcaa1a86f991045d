"""Drivers against real servers over sockets: those that work, and all the ways in which they do not."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import ports
from served import answering
from trunkline.clients import engines
from trunkline.clients.engines import Engine, http
from trunkline.clients.engines.stops import Stops
from trunkline.errors import Error
from trunkline.params.serve import EngineParams, PriceParams, TimeoutParams
from trunkline.records.serving import Chunk, Completion, Failure, Identity, Request, Span, Token

# Those that hang are given up soon, and nobody else is, however busy this machine is.
SOON = TimeoutParams(connect=0.5, first_token=0.5, next_token=0.3, total=1.0)
TIMEOUTS = TimeoutParams.of(60)
PRICE = PriceParams(input=2.0, output=8.0)
CHAT = ({"role": "user", "content": "my card"},)
PLAIN = Request(prompt="my card", max_new_tokens=5, temperature=0)
REQUEST = Request(prompt=CHAT, max_new_tokens=5, temperature=0)


def params(kind: str, url: str, **values: Any) -> EngineParams:
    given = {"model": "tuned", "key": None, "usd_per_million": PRICE, "retries": 0, **values}
    return EngineParams(kind=kind, url=url, **given)


def play(settings: EngineParams, story: Callable[[Engine], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        engine = engines.connect(settings, TIMEOUTS)
        try:
            return await story(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


def complete(settings: EngineParams, request: Request = REQUEST) -> Completion:
    return play(settings, lambda engine: engine.complete(request))


def stream(settings: EngineParams, request: Request = REQUEST) -> list[Chunk]:
    async def story(engine: Engine) -> list[Chunk]:
        async with aclosing(engine.stream(request)) as chunks:
            return [chunk async for chunk in chunks]

    return play(settings, story)


async def sse(request: web.Request, *parts: bytes, hang: float = 0, cut: bool = False) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    for part in parts:
        await response.write(part)
    await asyncio.sleep(hang)
    if cut:
        request.transport.abort()
    return response


def data(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def delta(text: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish, **more}
    return {"model": "tuned", "system_fingerprint": "fp_1", "choices": [choice]}


USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
WHOLE = {
    "model": "tuned-2026",
    "system_fingerprint": "fp_1",
    "choices": [{"message": {"content": "lost"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
PIECES = [
    data(delta("lo")),
    data(delta("st")),
    data(delta("", "stop")),
    data({**delta(""), "choices": [], "usage": USAGE}),
]
DONE = b"data: [DONE]\n\n"


class Provider:
    """A hosted provider: wants a key, tells its fingerprint, and refuses what it does not know."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers.get("Authorization"))
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": [{"id": "tuned"}]})
        if request.path != "/v1/chat/completions":
            return web.json_response({"error": {"message": "no such route"}}, status=404)
        body = await request.json()
        self.bodies.append(body)
        if "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return web.json_response({"error": {"message": said, "code": "unsupported_parameter"}}, status=400)
        if body["stream"]:
            return await sse(request, *PIECES, DONE)
        return web.json_response(WHOLE)


def test_a_hosted_provider_gets_the_key_and_its_answer_is_recorded_and_priced(monkeypatch):
    monkeypatch.setenv("PROVIDER_KEY", "sk-secret")
    provider = Provider()
    with answering(provider) as url:
        settings = params("openai", url, key="PROVIDER_KEY", model=None)
        whole = complete(settings)
        *pieces, last = stream(settings)
        play(settings, lambda engine: engine.health())
        assert play(settings, lambda engine: engine.identity()) == Identity(("tuned",), None, None)
    assert (whole.text, whole.finish, whole.tokens_in, whole.tokens_out) == ("lost", "eos_token", 1000, 500)
    assert (whole.model, whole.fingerprint) == ("tuned-2026", "fp_1")
    assert whole.usd == pytest.approx(0.006)
    assert whole.ttft_ms is None
    assert [piece.text for piece in pieces] == ["lo", "st"]
    assert (last.end.text, last.end.tokens_out, last.end.usd) == ("lost", 500, pytest.approx(0.006))
    assert 0 < last.end.ttft_ms <= last.end.latency_ms
    assert set(provider.keys) == {"Bearer sk-secret"}
    # Learned once from the refusal; and nothing is sent that was not asked for.
    assert [sorted(body) for body in provider.bodies[1:2]] == [
        ["max_completion_tokens", "messages", "model", "stream", "temperature"]
    ]


def test_a_provider_learns_the_limit_once(monkeypatch):
    provider = Provider()

    async def story(engine: Engine) -> None:
        for _ in range(3):
            await engine.complete(REQUEST)

    with answering(provider) as url:
        play(params("openai", url), story)
    assert ["max_tokens" in body for body in provider.bodies] == [True, False, False, False]


def test_everything_asked_for_is_sent_in_vllms_words():
    provider = Provider()
    request = Request(
        prompt=CHAT, max_new_tokens=5, temperature=0.5, top_p=0.9, top_k=4, stop=("a",), seed=3,
        repetition_penalty=1.1, choices=("x", "y"), details=True,
    )  # fmt: skip
    with answering(provider) as url:
        stream(params("openai", url), request)
    body = provider.bodies[-1]
    assert body == {
        "model": "tuned", "messages": [*CHAT], "max_completion_tokens": 5, "temperature": 0.5, "top_p": 0.9,
        "top_k": 4, "stop": ["a"], "seed": 3, "repetition_penalty": 1.1, "structured_outputs": {"choice": ["x", "y"]},
        "logprobs": True, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip


def test_a_key_that_is_not_set_or_no_key_is_told_before_anything_is_sent(monkeypatch):
    for value in ("", "two words", "line\n"):
        monkeypatch.setenv("PROVIDER_KEY", value)
        with pytest.raises(Error, match="PROVIDER_KEY is not set, or holds what no key has"):
            engines.connect(params("openai", "http://127.0.0.1:1", key="PROVIDER_KEY"), TIMEOUTS)


def test_a_key_that_a_server_repeats_is_not_told(monkeypatch):
    async def repeat(request: web.Request) -> web.Response:
        return web.json_response({"error": f"bad key {request.headers['Authorization']}"}, status=401)

    monkeypatch.setenv("PROVIDER_KEY", "sk-secret")
    with answering(repeat) as url, pytest.raises(Failure, match=r"401: bad key Bearer \*\*\*") as caught:
        complete(params("openai", url, key="PROVIDER_KEY"))
    assert caught.value.kind == "refused"


def test_several_models_and_no_name_are_refused():
    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "a"}, {"id": "b"}]})

    with answering(models) as url, pytest.raises(Failure, match="has 2 models, and params.yaml does not say which"):
        complete(params("openai", url, model=None))


class TextGeneration:
    """TGI 3.3.7 as its source answers: no [DONE], the stop text kept, errors within a stream of status 200."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.bodies: list[dict[str, Any]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/info":
            return web.json_response({"model_id": "/data/release", "model_sha": None, "version": "3.3.7"})
        if request.path == "/health":
            return web.Response()
        body = await request.json()
        self.bodies.append(body)
        ended = {"finish_reason": "stop_sequence", "generated_tokens": 3, "seed": None}
        tokens = [token(number, text) for number, text in enumerate(("a", "b", "!"))]
        if request.path == "/generate":
            answer = {"generated_text": "ab!", "details": {**ended, "prefill": [], "tokens": tokens}}
            return web.json_response(answer, headers={"x-prompt-tokens": "7"})
        if request.path == "/v1/chat/completions":
            said = {"role": "assistant", "content": "ab!"}
            choice = {"index": 0, "message": said, "finish_reason": "stop_sequence"}
            return web.json_response({"id": "", "model": "tgi", "choices": [choice], "usage": USAGE})
        if self.fails:
            error = {"error": "CUDA out of memory", "error_type": "generation"}
            return await sse(request, data({"index": 1, "token": tokens[0]}), data(error))
        events = [
            {"index": n, "token": entry, "generated_text": None, "details": None} for n, entry in enumerate(tokens)
        ]
        events[-1] |= {"generated_text": "ab!", "details": {**ended, "input_length": 7}}
        return await sse(request, b":\n\n", *map(data, events))


def token(number: int, text: str) -> dict[str, Any]:
    return {"id": number, "text": text, "logprob": -0.5, "special": False}


def test_tgi_is_asked_by_its_native_routes_and_its_stop_text_cut():
    server = TextGeneration()
    request = Request(prompt="my card", max_new_tokens=5, temperature=0, stop=("!",), details=True)
    with answering(server) as url:
        settings = params("tgi", url, model=None)
        whole = complete(settings, request)
        *pieces, last = stream(settings, request)
        play(settings, lambda engine: engine.health())
        identity = play(settings, lambda engine: engine.identity())
    for completion in (whole, last.end):
        assert (completion.text, completion.finish, completion.stopped_by) == ("ab", "stop_sequence", "!")
        assert (completion.tokens_in, completion.tokens_out) == (7, 3)
        assert completion.tokens[0] == Token(0, "a", -0.5, False)
    assert [piece.text for piece in pieces] == ["a", "b", ""]
    assert identity == Identity(("/data/release",), None, "3.3.7")
    assert server.bodies[0] == {
        "inputs": "my card",
        "parameters": {
            "do_sample": False, "max_new_tokens": 5, "stop": ["!"], "details": True, "return_full_text": False,
        },
    }  # fmt: skip


def test_tgi_samples_only_when_asked_and_holds_a_closed_set_by_a_grammar():
    server = TextGeneration()
    request = Request(prompt="x", max_new_tokens=5, temperature=0.7, top_k=3, seed=1, choices=("a.b", "c"))
    with answering(server) as url:
        complete(params("tgi", url), request)
    parameters = server.bodies[0]["parameters"]
    assert (parameters["do_sample"], parameters["temperature"], parameters["top_k"]) == (True, 0.7, 3)
    assert parameters["grammar"] == {"type": "regex", "value": r"(a\.b|c)"}


def test_tgis_chat_is_never_asked_for_an_adapter_or_for_what_it_would_ignore():
    server = TextGeneration()
    with answering(server) as url:
        found = complete(
            params("tgi", url, model="tuned"), Request(prompt=CHAT, max_new_tokens=5, temperature=0, stop=("!",))
        )
        for values in ({"top_k": 4}, {"repetition_penalty": 1.2}):
            with pytest.raises(Failure, match=f"does not know {next(iter(values))}"):
                complete(params("tgi", url), Request(prompt=CHAT, max_new_tokens=5, temperature=0, **values))
    assert (found.text, found.stopped_by) == ("ab", "!")
    assert [body["model"] for body in server.bodies] == ["tgi"]


def test_an_error_within_tgis_stream_is_a_failure_though_its_status_is_200():
    with answering(TextGeneration(fails=True)) as url, pytest.raises(Failure, match="CUDA out of memory") as caught:
        stream(params("tgi", url), PLAIN)
    assert caught.value.kind == "failed"


def status(code: int, body: Any = None, **headers: str) -> Any:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(body or {"error": "said so"}, status=code, headers=headers)

    return handler


def text(content: str, content_type: str = "application/json") -> Any:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=content, content_type=content_type)

    return handler


def events(*parts: bytes, **how: Any) -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await sse(request, *parts, **how)

    return handler


async def hang(request: web.Request) -> web.Response:
    await asyncio.sleep(5)
    return web.Response()


async def abort(request: web.Request) -> web.Response:
    request.transport.abort()
    return web.Response()


async def keep_alive(request: web.Request) -> web.StreamResponse:
    return await sse(request, *[data(delta(""))], *[b": still there\n\n"] * 10, hang=3)


BOTH = {
    "hangs": (hang, "timeout"),
    "resets": (abort, "disconnected"),
    "too many": (status(429, **{"Retry-After": "3"}), "overloaded"),
    "unavailable": (status(503), "overloaded"),
    "gateway timeout": (status(504), "timeout"),
    "broken": (status(500), "failed"),
    "generation failed": (status(424, {"error": "x", "error_type": "generation"}), "failed"),
    "no key": (status(401), "refused"),
    "no model": (status(404, {"error": {"message": "no model", "code": 404}}), "refused"),
    "redirects": (status(307, Location="http://127.0.0.1:1/"), "refused"),
    "cannot": (status(422, {"error": "n", "error_type": "validation"}), "invalid"),
    "cannot either": (status(400, {"detail": [{"msg": "n"}]}), "invalid"),
    "a web page": (text("<html>welcome</html>", "text/html"), "garbage"),
    "an error in a good answer": (status(200, {"error": {"message": "x", "code": 503}}), None),
}
WHOLES = {
    "half JSON": (text('{"choices": ['), "garbage"),
    "no bytes": (text(""), "garbage"),
    "other JSON": (text('{"hello": 1}'), "garbage"),
    "a list": (text("[1]"), "garbage"),
    "wrong types": (text('{"choices": [{"message": {"content": 5}}]}'), "garbage"),
    "no choice": (text('{"choices": []}'), "garbage"),
    "two choices": (text(json.dumps({**WHOLE, "choices": WHOLE["choices"] * 2})), "garbage"),
    "no reason for the end": (text('{"choices": [{"message": {"content": "x"}}]}'), "disconnected"),
    "an unknown reason": (text('{"choices": [{"message": {"content": "x"}, "finish_reason": "so"}]}'), "garbage"),
    "endless": (text(" " * 17 * 2**20), "garbage"),
    "very deep": (text("[" * 100_000), "garbage"),
    "an error": (BOTH["an error in a good answer"][0], "overloaded"),
}
STREAMS = {
    "no event": (events(), "disconnected"),
    "only the end": (events(DONE), "disconnected"),
    "an end too early": (events(PIECES[0]), "disconnected"),
    "cut": (events(*PIECES[:2], cut=True), "disconnected"),
    "cut within an event": (events(PIECES[0], PIECES[1][:20], cut=True), "disconnected"),
    "ended within an event": (events(PIECES[0], PIECES[1][:20]), "garbage"),
    "hangs before a token": (events(hang=3), "timeout"),
    "hangs behind a token": (events(PIECES[0], hang=3), "timeout"),
    "kept alive without a token": (keep_alive, "timeout"),
    "garbage": (events(PIECES[0], b"data: {nonsense}\n\n"), "garbage"),
    "bytes": (events(b"data: \xff\xfe\n\n"), "garbage"),
    "other JSON": (events(data({"hello": 1})), "garbage"),
    "a line without end": (events(b"data: " + b"x" * 2**20), "garbage"),
    "an unknown reason": (events(data(delta("x", "so"))), "garbage"),
    "TGI's error": (events(PIECES[0], data({"error": "x", "error_type": "overloaded"})), "overloaded"),
    "TGI's error on OpenAI's route": (events(data({"error": {"message": "x", "http_status_code": 422}})), "invalid"),
    "vLLM's error": (events(data({"error": {"message": "x", "type": "Bad", "code": 400}})), "invalid"),
    "a whole answer": (text(json.dumps(WHOLE)), "garbage"),
}


@pytest.mark.parametrize(
    ("ask", "name", "handler", "kind"),
    [(ask, name, *case) for ask in ("complete", "stream") for name, case in BOTH.items() if case[1]]
    + [("complete", name, *case) for name, case in WHOLES.items()]
    + [("stream", name, *case) for name, case in STREAMS.items()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_that_does_not_answer_well_is_one_failure_of_its_kind(ask, name, handler, kind, monkeypatch):
    if kind == "timeout":
        monkeypatch.setitem(globals(), "TIMEOUTS", SOON)
    with answering(handler) as url, pytest.raises(Failure) as caught:
        {"complete": complete, "stream": stream}[ask](params("openai", url))
    assert caught.value.kind == kind
    assert caught.value.retry_after == (3 if name == "too many" else None)
    assert "\n" not in caught.value.problem
    assert len(caught.value.problem) < 500


@contextmanager
def raw(answer: bytes) -> Iterator[str]:
    """A server that answers every connection with these bytes, whatever was asked."""
    with socket.create_server(("127.0.0.1", 0)) as place:

        def serve() -> None:
            while True:
                try:
                    connection, _ = place.accept()
                except OSError:
                    return
                with connection:
                    # The whole request: its body comes behind its head, and what is not read would break the answer.
                    asked = b""
                    while not asked.endswith(b"}") and (part := connection.recv(65536)):
                        asked += part
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
        place.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "disconnected"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "garbage"),
        (b"\x15\x03\x01\x00\x02\x02\x50", "garbage"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "disconnected"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{", "garbage"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "garbage"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "disconnected"),
    ],
)
def test_bytes_that_are_no_http_are_one_failure(answer, kind):
    with raw(answer) as url, pytest.raises(Failure) as caught:
        complete(params("openai", url))
    assert caught.value.kind == kind


def test_nobody_there_is_disconnected_for_every_question():
    with ports.kept() as nobodys:
        url = f"http://127.0.0.1:{nobodys}"
        for kind in ("openai", "tgi", "embedded"):
            for ask in ("health", "identity"):
                with pytest.raises(Failure, match="cannot reach 127.0.0.1") as caught:
                    play(params(kind, url), lambda engine, ask=ask: getattr(engine, ask)())
                assert caught.value.kind == "disconnected"


def test_before_the_first_byte_it_is_asked_again_and_behind_it_never(monkeypatch):
    asked: list[float] = []

    def failing(first: Any, times: int, then: Any) -> Any:
        asked.clear()

        async def handler(request: web.Request) -> Any:
            asked.append(time.monotonic())
            return await (first if len(asked) <= times else then)(request)

        return handler

    monkeypatch.setattr(http, "_FIRST_PAUSE_S", 0.01)
    fine, streamed = text(json.dumps(WHOLE)), events(*PIECES, DONE)
    for first in (status(503, **{"Retry-After": "0"}), status(429), status(500), abort):
        with answering(failing(first, 2, fine)) as url:
            assert complete(params("openai", url, retries=2)).text == "lost"
        assert len(asked) == 3
        with answering(failing(first, 2, streamed)) as url, pytest.raises(Failure):
            stream(params("openai", url, retries=1))
        assert len(asked) == 2
    for first in (events(PIECES[0], cut=True), status(422), status(401)):
        with answering(failing(first, 1, streamed)) as url, pytest.raises(Failure):
            stream(params("openai", url, retries=5))
        assert len(asked) == 1


def test_a_stream_that_is_left_tells_the_server_to_stop():
    left = threading.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            while True:
                await response.write(data(delta("x")))
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            left.set()
            raise

    async def story(engine: Engine) -> str:
        async with aclosing(engine.stream(REQUEST)) as chunks:
            return (await anext(chunks)).text

    with answering(endless) as url:
        assert play(params("openai", url), story) == "x"
        assert left.wait(60)


def test_connections_are_used_again_also_behind_a_stream(monkeypatch):
    monkeypatch.setattr(http, "_END_S", 60.0)
    ports: set[int] = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        ports.add(request.transport.get_extra_info("peername")[1])
        return await events(*PIECES, DONE)(request) if (await request.json())["stream"] else web.json_response(WHOLE)

    async def story(engine: Engine) -> None:
        for _ in range(3):
            await engine.complete(REQUEST)
            async with aclosing(engine.stream(REQUEST)) as chunks:
                assert [chunk async for chunk in chunks][-1].end

    with answering(handler) as url:
        play(params("openai", url), story)
    assert len(ports) == 1


@given(
    whole=st.text("ab!", max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=8),
    stops=st.lists(st.text("ab!", min_size=1, max_size=4), max_size=4),
)
def test_stop_texts_are_cut_however_the_answer_comes_in_pieces(whole, cuts, stops):
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    watch = Stops(stops)
    shown = [watch.add(whole[start:end]) for start, end in pairwise(places)] + [watch.rest()]
    found = [whole.find(stop) for stop in stops if stop in whole]
    assert "".join(shown) == watch.text
    if not found:
        assert (watch.text, watch.found) == (whole, None)
    else:
        # In pieces a stop text may be whole before one that began earlier is.
        assert watch.found in stops
        assert whole.startswith(watch.text + watch.found)
        assert len(watch.text) >= min(found)
        assert not any(stop in watch.text for stop in stops)


def test_tokens_of_a_text_are_told_by_tgi_alone_and_garbage_is_named():
    told = [{"id": 5, "text": "my", "start": 0, "stop": 2}]

    async def answer(request: web.Request) -> web.Response:
        assert (request.path, await request.json()) == ("/tokenize", {"inputs": "my"})
        return web.json_response(told)

    with answering(answer) as url:
        ask = lambda kind: play(params(kind, url), lambda engine: engine.tokenize("my"))  # noqa: E731
        assert ask("tgi") == ask("embedded") == [Span(5, 0, 2)]
        assert ask("openai") is None
        told[0] = {"id": "five"}
        with pytest.raises(Failure, match="no answer of TGI"):
            ask("tgi")
