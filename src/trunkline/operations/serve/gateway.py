"""All that a gateway is made of, and how it answers one request."""

import asyncio
import logging
import time
from contextlib import aclosing, suppress
from typing import NamedTuple

import orjson
from aiohttp import web

from trunkline.clients import predictions
from trunkline.clients.predictions import Full, Log
from trunkline.clients.tracing import Tracer
from trunkline.operations.serve import requests
from trunkline.operations.serve.admission import Admission
from trunkline.operations.serve.dialects import Question, Read
from trunkline.operations.serve.exchange import Exchange
from trunkline.operations.serve.metrics import Metrics
from trunkline.operations.serve.mirroring import Mirrors, Served
from trunkline.operations.serve.refusals import Refused, from_failure
from trunkline.operations.serve.routing import Routing
from trunkline.params.serve import ServeParams
from trunkline.records.prediction import Outcome
from trunkline.records.serving import Failure
from trunkline.wire import answers, tgi_metrics

RECEIPT = "x-trunkline-prediction"
RELEASE = "x-trunkline-release"
# Nginx's word for a client that closed its connection; nobody gets it.
CLIENT_LEFT = 499
LOG_FULL = "the prediction log is full, and nothing is answered that cannot be logged"
LOG_RETRY_S = 5.0
# TGI's words for what the log calls otherwise; for all else it has "generation".
TGI_ERRORS = {
    "invalid": "validation",
    **dict.fromkeys(("overloaded", "overload", "rate"), "overloaded"),
    **dict.fromkeys(("disconnected", "garbage", "timeout"), "incomplete"),
    **dict.fromkeys(("client_left", "shutdown"), "dropped"),
}
# When the gateway, once it ends, waits no longer for answers.
ENDING = web.AppKey("ending", list[float])
# Where a request keeps what its answer's headers must tell.
HEADERS = web.RequestKey("headers", dict[str, str])
_SSE = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

_log = logging.getLogger(__name__)


class Gateway(NamedTuple):
    """What answers requests; without a tracer, nobody wants spans."""

    routing: Routing
    admission: Admission
    log: Log
    metrics: Metrics
    tgi: tgi_metrics.Metrics
    settings: ServeParams
    tracer: Tracer | None
    mirrors: Mirrors


async def answer(gateway: Gateway, request: web.Request, read: Read) -> web.StreamResponse:
    """Answer one request; whatever was assigned gets an outcome.

    Args:
        read: reads the body of the route.

    Raises:
        Refused: it is not answered, and nothing has been sent.
    """
    start = time.perf_counter()
    settings, arms = gateway.settings.gateway, len(gateway.routing.arms)
    body = await requests.body(request, gateway.admission, arms)
    with gateway.admission.opened(arms):
        asker = requests.asker(request, body, settings)
        prediction = predictions.new_id()
        told = requests.told(request.headers) if settings.trust_proxy else None
        assigned = gateway.routing.assign(asker.unit or prediction, told)
        question = read(body, assigned.backend.release, prediction)
        _check(question, settings.max_input_chars, settings.max_new_tokens)
        exchange = Exchange(gateway.log, gateway.metrics, assigned, question.message, start)
        try:
            exchange.assign(prediction, asker)
        except Full:
            raise Refused(503, "unavailable", LOG_FULL, "log", LOG_RETRY_S) from None
        gateway.tgi.ask(question.request.max_new_tokens)
        request[HEADERS] |= {RECEIPT: prediction, RELEASE: assigned.backend.release.name}
        try:
            return await _Reply(gateway, request, question, exchange).send()
        finally:
            gateway.mirrors.offer(Served(prediction, asker, assigned, read, body))


def _check(question: Question, chars: int, tokens: int) -> None:
    if not question.message.strip():
        raise Failure("invalid", "the message is empty")
    if len(question.message) > chars:
        raise Failure("invalid", f"the message has {len(question.message)} characters, at most {chars} are taken")
    if question.request.max_new_tokens > tokens:
        problem = f"{question.request.max_new_tokens} tokens are asked for, at most {tokens} are given"
        raise Failure("invalid", problem)


class _Reply:
    """Sends an answer, and ends its exchange exactly once."""

    def __init__(self, gateway: Gateway, request: web.Request, question: Question, exchange: Exchange) -> None:
        self._gateway, self._request, self._question, self._exchange = gateway, request, question, exchange
        self._response: web.StreamResponse | None = None

    async def send(self) -> web.StreamResponse:
        """The answer, sent as far as it could be.

        Raises:
            Refused: nothing was sent.
        """
        status, error = 200, None
        try:
            return await (self._stream() if self._question.stream else self._whole())
        except (Failure, Refused) as problem:
            refused = self._refused(problem)
            error = refused.error
            if self._response is None:
                status = refused.status
                raise refused from None
            return await self._tell(self._response, refused)
        except (ConnectionError, asyncio.CancelledError) as end:
            status, error = (CLIENT_LEFT, "client_left") if self._has_left(end) else (503, "shutdown")
            raise
        except Exception:
            error = "internal"
            if self._response is None:
                status = 500
                raise
            # Another answer must not be written into the one that has begun.
            _log.exception("serve  %s", self._request.path)
            return await self._tell(self._response, Refused(500, "generation", "internal error", error))
        finally:
            outcome = self._exchange.end(status, error, self._question.stream)
            self._count(outcome)
            self._trace(outcome)

    def _count(self, outcome: Outcome) -> None:
        tgi = self._gateway.tgi
        if outcome.error is not None:
            tgi.fail(TGI_ERRORS.get(outcome.error, "generation"))
            return
        tokens = (outcome.tokens_in or 0, outcome.tokens_out or 0)
        tgi.answer(*tokens, outcome.latency_ms / 1000, self._exchange.waits)

    def _trace(self, outcome: Outcome) -> None:
        tracer, assigned = self._gateway.tracer, self._exchange.assigned
        if tracer is not None:
            tracer.record(self._request, assigned.backend.release.name, assigned.arm, outcome)

    async def _whole(self) -> web.Response:
        completion = await self._exchange.complete(self._question.request)
        writer = self._question.writer
        body = orjson.dumps(writer.whole(completion))
        return web.Response(
            body=body, content_type="application/json", headers=writer.headers(completion, self._exchange.waits)
        )

    async def _stream(self) -> web.StreamResponse:
        writer = self._question.writer
        documents = writer.opening()
        async with aclosing(self._exchange.stream(self._question.request)) as chunks:
            async for chunk in chunks:
                documents += writer.piece(chunk)
                if documents:
                    await self._write(b"".join(map(answers.event, documents)))
                documents = []
        response = await self._write(writer.done())
        with suppress(ConnectionError):
            await response.write_eof()
        return response

    async def _write(self, data: bytes) -> web.StreamResponse:
        """Send a part; what is refused is refused with its status, so the answer begins with its first part."""
        try:
            async with asyncio.timeout(self._gateway.settings.timeouts.total):
                if self._response is None:
                    self._response = web.StreamResponse(headers=_SSE)
                    await self._response.prepare(self._request)
                if data:
                    await self._response.write(data)
        except TimeoutError:
            raise ConnectionResetError("the client does not read its answer") from None
        return self._response

    async def _tell(self, response: web.StreamResponse, refused: Refused) -> web.StreamResponse:
        """Say within a stream that it failed."""
        document = self._question.writer.error(refused.problem, refused.kind, refused.status)
        with suppress(ConnectionError):
            await response.write(answers.event(document))
            await response.write_eof()
        return response

    def _refused(self, problem: Failure | Refused) -> Refused:
        if isinstance(problem, Refused):
            return problem
        self._exchange.doubt(problem)
        return from_failure(problem)

    def _has_left(self, end: BaseException) -> bool:
        """Whether the client closed its connection; otherwise it is the gateway that ends, and waits no longer."""
        interrupted = isinstance(end, asyncio.CancelledError) and self._request.transport is not None
        return not interrupted and not any(time.monotonic() >= moment for moment in self._request.app[ENDING])
