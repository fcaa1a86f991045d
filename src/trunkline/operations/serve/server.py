"""The gateway's routes: TGI's and OpenAI's, and feedback."""

import logging
import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web
from pydantic import JsonValue, ValidationError

from trunkline import __version__
from trunkline.clients import listening, predictions
from trunkline.clients.predictions import Full
from trunkline.exposition import CONTENT_TYPE
from trunkline.operations.serve import dialects, gateway, requests
from trunkline.operations.serve.dialects import Read
from trunkline.operations.serve.gateway import HEADERS, Gateway
from trunkline.operations.serve.refusals import Refused, from_failure
from trunkline.records.judgement import JUDGES
from trunkline.records.prediction import Feedback
from trunkline.records.serving import Failure
from trunkline.wire import openai, tgi
from trunkline.wire.strict import mistakes

VERSION = f"trunkline/{__version__}"
GATEWAY = web.AppKey("gateway", Gateway)
# Refused before there was an arm, by what the gateway's metrics call it.
_REASONS = ("key", "size", "rate", "overload", "log", "invalid", "slow")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)


def application(request_bytes: int) -> web.Application:
    """The routes; ``app[GATEWAY]`` must be set before the first request."""
    app = web.Application(middlewares=[_errors], client_max_size=request_bytes)
    app[gateway.ENDING] = []
    app.on_response_prepare.append(_tell)
    app.on_shutdown.append(_end)
    app.add_routes(
        [
            web.post("/", _answers(dialects.generate(None))),
            web.post("/generate", _answers(dialects.generate(False))),
            web.post("/generate_stream", _answers(dialects.generate(True))),
            web.post("/v1/chat/completions", _answers(dialects.chat)),
            web.post("/v1/completions", _answers(dialects.text)),
            web.post("/v1/feedback", _feedback),
            web.post("/tokenize", _tokenize),
            web.get("/v1/models", _models),
            web.get("/info", _info),
            web.get("/metrics", _metrics),
            *(web.get(path, _health) for path in ("/", "/health", "/ping")),
        ]
    )
    return app


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[HEADERS] = {requests.REQUEST_ID: requests.identifier(request.headers)}
    try:
        return await handler(request)
    except Refused as refused:
        return _refusal(request, refused)
    except Failure as failure:
        return _refusal(request, from_failure(failure))
    except web.HTTPException as error:
        if error.status == 413:
            request.app[GATEWAY].metrics.refuse("size")
        headers = {name: value for name, value in error.headers.items() if name == "Allow"}
        document = {"error": error.reason, "error_type": "validation"}
        return web.json_response(document, status=error.status, headers=headers)
    except ConnectionError:
        listening.give_up(request)
    except Exception:
        _log.exception("serve  %s %s", request.method, request.path)
        return web.json_response({"error": "internal error", "error_type": "generation"}, status=500)


def _refusal(request: web.Request, refused: Refused) -> web.Response:
    if gateway.RECEIPT not in request[HEADERS] and refused.error in _REASONS:
        here = request.app[GATEWAY]
        here.metrics.refuse(refused.error)
        if refused.error in gateway.TGI_ERRORS:
            here.tgi.fail(gateway.TGI_ERRORS[refused.error])
    headers = {} if refused.retry_after is None else {"Retry-After": str(max(math.ceil(refused.retry_after), 1))}
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.json_response(refused.document, status=refused.status, headers=headers)


async def _tell(request: web.Request, response: web.StreamResponse) -> None:
    """Every answer says which request and which prediction it is of, and which release gave it."""
    response.headers.update(request.get(HEADERS, {}))


async def _end(app: web.Application) -> None:
    app[gateway.ENDING].append(time.monotonic() + app[GATEWAY].settings.gateway.drain)
    await app[GATEWAY].mirrors.close()


def _answers(read: Read) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await gateway.answer(request.app[GATEWAY], request, read)

    return handle


async def _feedback(request: web.Request) -> web.Response:
    here = request.app[GATEWAY]
    body = await requests.body(request, here.admission)
    unknown = sorted(set(body) - {"prediction", "source", "label", "score", "comment"})
    if unknown:
        raise Failure("invalid", f"{', '.join(unknown)}: is not supported")
    said = {"label": None, "score": None, "comment": None, **body}
    try:
        feedback = Feedback.model_validate({**said, "id": predictions.new_id(), "time": datetime.now(UTC)})
    except ValidationError as error:
        raise Failure("invalid", mistakes(error)) from None
    if feedback.source.startswith(JUDGES):
        raise Failure("invalid", f"source: {JUDGES}... is the monitor's own")
    try:
        here.log.record(feedback)
    except Full:
        raise Refused(503, "unavailable", gateway.LOG_FULL, "log", gateway.LOG_RETRY_S) from None
    return web.json_response({"id": feedback.id, "prediction": feedback.prediction})


async def _tokenize(request: web.Request) -> web.Response:
    here = request.app[GATEWAY]
    text = tgi.read_text(await requests.body(request, here.admission))
    if len(text) > here.settings.gateway.max_input_chars:
        raise Failure("invalid", f"inputs: has more than {here.settings.gateway.max_input_chars} characters")
    backend = here.routing.front
    request[HEADERS][gateway.RELEASE] = backend.release.name
    async with backend.slot():
        tokens = await backend.engine.tokenize(text)
    if tokens is None:
        raise Refused(501, "validation", f"the engine of {backend.release.name} does not tell tokens", "invalid")
    return web.json_response(tgi.spans(text, tokens))


async def _models(request: web.Request) -> web.Response:
    name = request.app[GATEWAY].routing.front.release.model
    model: JsonValue = {"id": name, "object": "model", "created": 0, "owned_by": "trunkline"}
    return web.json_response({"object": "list", "data": [model]})


async def _health(request: web.Request) -> web.Response:
    problem = request.app[GATEWAY].routing.front.problem
    if problem is not None or request.app[gateway.ENDING]:
        return web.json_response({"error": "unhealthy", "error_type": "healthcheck"}, status=503)
    return web.Response()


async def _info(request: web.Request) -> web.Response:
    here = request.app[GATEWAY]
    limits, served = here.settings.gateway, here.routing.front.release
    return web.json_response(
        {
            "model_id": served.name,
            "model_sha": served.digest,
            "model_pipeline_tag": "text-generation",
            "max_concurrent_requests": limits.max_concurrent + limits.queue,
            "max_best_of": 1,
            "max_stop_sequences": openai.MOST_STOPS,
            # A gateway has no tokenizer: no message that it takes has more tokens than characters, nearly always.
            "max_input_tokens": limits.max_input_chars,
            "max_total_tokens": limits.max_input_chars + limits.max_new_tokens,
            "validation_workers": 1,
            "max_client_batch_size": 1,
            "router": "trunkline",
            "version": VERSION,
            "sha": None,
            "docker_label": None,
        }
    )


async def _metrics(request: web.Request) -> web.Response:
    here = request.app[GATEWAY]
    routing = here.routing
    text = here.metrics.text(routing.arms.items(), routing.traffic.weight, here.log.status)
    backends = {*routing.arms.values()}
    text += here.tgi.text(sum(one.running for one in backends), sum(one.waiting for one in backends))
    return web.Response(text=text, headers={"Content-Type": CONTENT_TYPE})
