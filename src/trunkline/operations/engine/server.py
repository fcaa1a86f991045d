"""The embedded engine's routes: OpenAI's, and of TGI's those that tell about the server."""

import asyncio
import logging
import signal
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress

import orjson
from aiohttp import web
from pydantic import JsonValue

from trunkline import __version__
from trunkline.clients import listening
from trunkline.clients.embedded import Embedded, Limits
from trunkline.exposition import CONTENT_TYPE
from trunkline.records.serving import Chunk, Completion, Failure, Identity
from trunkline.wire import answers, openai, tgi
from trunkline.wire.answers import Envelope
from trunkline.wire.openai import Asked
from trunkline.wire.tgi_metrics import Metrics

VERSION = f"trunkline/{__version__}"
ENGINE = web.AppKey("engine", Embedded)
METRICS = web.AppKey("metrics", Metrics)
BROKEN = web.AppKey("broken", list[str])
_WHO = web.AppKey("who", Identity)
_LIMITS = web.AppKey("limits", Limits)
_MAX_NEW_TOKENS = web.AppKey("max_new_tokens", int)
# TGI's limit.
_MOST_BYTES = 2_000_000
# That a body may take.
_BODY_S = 10.0
# Names that clients send where none is meant.
_ANY = (None, "tgi", "dummy")
_WATCH_S = 1.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)


def application(who: Identity, limits: Limits, max_new_tokens: int) -> web.Application:
    """The routes; ``app[ENGINE]`` must be set before the first request.

    Args:
        who: what the engine says that it is.
        max_new_tokens: where a request does not say.
    """
    app = web.Application(middlewares=[_errors], client_max_size=_MOST_BYTES)
    app[_WHO], app[_LIMITS], app[_MAX_NEW_TOKENS] = who, limits, max_new_tokens
    app[METRICS], app[BROKEN] = Metrics(limits.cache_tokens, steps=False), []
    app.add_routes(
        [
            web.post("/v1/chat/completions", _chat),
            web.post("/v1/completions", _text),
            web.post("/tokenize", _tokenize),
            web.get("/v1/models", _models),
            web.get("/health", _health),
            web.get("/info", _info),
            web.get("/metrics", _metrics),
        ]
    )
    return app


@asynccontextmanager
async def watched(app: web.Application) -> AsyncIterator[None]:
    """End the server when the engine has broken down: whoever started it can start another."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            try:
                await app[ENGINE].health()
            except Failure as failure:
                app[BROKEN].append(failure.problem)
                signal.raise_signal(signal.SIGTERM)
                return

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Failure as failure:
        return _refusal(request, failure)
    except web.HTTPException as error:
        document = {"error": error.reason, "error_type": "validation"}
        return web.json_response(document, status=error.status)
    except ConnectionError:
        listening.give_up(request)
    except Exception:
        _log.exception("engine  %s %s", request.method, request.path)
        request.app[METRICS].fail("generation")
        return web.json_response({"error": "internal error", "error_type": "generation"}, status=500)


def _refusal(request: web.Request, failure: Failure) -> web.Response:
    document = answers.error(failure)
    request.app[METRICS].fail(str(document["error_type"]))
    headers = {} if failure.retry_after is None else {"Retry-After": f"{failure.retry_after:.0f}"}
    return web.json_response(document, status=answers.STATUSES[failure.kind], headers=headers)


async def _chat(request: web.Request) -> web.StreamResponse:
    return await _answer(request, openai.read_chat(await _body(request), request.app[_MAX_NEW_TOKENS]))


async def _text(request: web.Request) -> web.StreamResponse:
    return await _answer(request, openai.read_text(await _body(request), request.app[_MAX_NEW_TOKENS]))


async def _tokenize(request: web.Request) -> web.Response:
    text = tgi.read_text(await _body(request))
    return web.json_response(tgi.spans(text, await request.app[ENGINE].tokenize(text)))


async def _body(request: web.Request) -> object:
    try:
        async with asyncio.timeout(_BODY_S):
            content = await listening.content(request)
    except TimeoutError:
        raise web.HTTPRequestTimeout(reason=f"the body does not come within {_BODY_S:g} seconds") from None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Failure("invalid", f"the body is not JSON: {error}") from None


async def _answer(request: web.Request, asked: Asked) -> web.StreamResponse:
    app = request.app
    name = app[_WHO].models[0]
    if asked.model not in (*_ANY, name):
        raise Failure("invalid", f"model: {asked.model[:100]!r} is not served here, only {name}")
    app[METRICS].ask(asked.request.max_new_tokens)
    prefix = "chatcmpl" if asked.chat else "cmpl"
    fingerprint = (app[_WHO].digest or "")[:12]
    envelope = Envelope(f"{prefix}-{uuid.uuid4().hex}", int(time.time()), name, fingerprint, asked)
    try:
        async with aclosing(app[ENGINE].stream(asked.request)) as chunks:
            if asked.stream:
                return await _stream(request, envelope, chunks)
            async for chunk in chunks:
                if chunk.end is not None:
                    _count(app, chunk.end)
                    return web.json_response(body=orjson.dumps(envelope.whole(chunk.end)))
            raise Failure("failed", "the answer has no end")
    except (ConnectionError, asyncio.CancelledError):
        app[METRICS].fail("dropped")
        raise


async def _stream(request: web.Request, envelope: Envelope, chunks: AsyncGenerator[Chunk, None]) -> web.StreamResponse:
    # What is refused is refused with its status: the answer begins with its first piece.
    chunk = await anext(chunks)
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    try:
        documents = envelope.opening()
        while True:
            documents += envelope.piece(chunk)
            await response.write(b"".join(answers.event(document) for document in documents))
            documents = []
            if chunk.end is not None:
                _count(request.app, chunk.end)
                break
            chunk = await anext(chunks)
        await response.write(answers.DONE)
    except Failure as failure:
        await _fail(request, response, failure)
    except ConnectionError:
        raise
    except Exception:
        # Another answer must not be written into the one that has begun.
        _log.exception("engine  %s", request.path)
        await _fail(request, response, Failure("failed", "internal error"))
    with suppress(ConnectionError):
        await response.write_eof()
    return response


async def _fail(request: web.Request, response: web.StreamResponse, failure: Failure) -> None:
    request.app[METRICS].fail(str(answers.error(failure)["error_type"]))
    await response.write(answers.event(answers.stream_error(failure)))


def _count(app: web.Application, end: Completion) -> None:
    app[METRICS].answer(end.tokens_in or 0, end.tokens_out or 0, end.latency_ms / 1000)


async def _models(request: web.Request) -> web.Response:
    name = request.app[_WHO].models[0]
    model: JsonValue = {"id": name, "object": "model", "created": 0, "owned_by": "trunkline"}
    return web.json_response({"object": "list", "data": [model]})


async def _health(request: web.Request) -> web.Response:
    try:
        await request.app[ENGINE].health()
    except Failure as failure:
        return web.json_response({"error": failure.problem, "error_type": "healthcheck"}, status=503)
    return web.Response()


async def _info(request: web.Request) -> web.Response:
    app = request.app
    most = app[ENGINE].most_tokens
    return web.json_response(
        {
            "model_id": app[_WHO].models[0],
            "model_sha": app[_WHO].digest,
            "model_pipeline_tag": "text-generation",
            "max_concurrent_requests": app[_LIMITS].requests,
            "max_best_of": 1,
            "max_stop_sequences": openai.MOST_STOPS,
            "max_input_tokens": most - 1,
            "max_total_tokens": most,
            "validation_workers": 1,
            "max_client_batch_size": 1,
            "router": "trunkline",
            "version": app[_WHO].version,
            "sha": None,
            "docker_label": None,
        }
    )


async def _metrics(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    text = request.app[METRICS].text(engine.running - engine.waiting, engine.waiting)
    return web.Response(text=text, headers={"Content-Type": CONTENT_TYPE})
