"""Serve releases over HTTP: assign, guard, render, forward, log, and tell what was answered.

Stateless: run as many as are needed. What serves is a `Traffic` in a file that may change at any moment, or one
release alone, as beside its engine in a pod.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web
from pydantic import ValidationError

from trunkline.clients import engines, files, listening, project, tracing
from trunkline.clients.engines import pins
from trunkline.clients.predictions import Log
from trunkline.errors import Error
from trunkline.operations.serve import release, routing, server
from trunkline.operations.serve.admission import Admission
from trunkline.operations.serve.gateway import Gateway
from trunkline.operations.serve.metrics import Metrics
from trunkline.operations.serve.mirroring import Mirrors
from trunkline.operations.serve.routing import Routing, Source
from trunkline.params import Params
from trunkline.params.serve import ServeParams
from trunkline.records.serving import Failure
from trunkline.records.traffic import Served
from trunkline.wire import tgi_metrics

# Records that the database does not take in this time stay in the spool.
CLOSE_S = 10.0
# Spans that the collector does not take in this time are lost.
FLUSH_S = 3.0

_log = logging.getLogger(__name__)


def run(params: Params, traffic: Path | None, bundle: Path | None, listen: str | None, pin: str | None) -> str:
    """Answer requests until SIGTERM or SIGINT, then answer what was accepted and return.

    Args:
        traffic: a file that says which release answers which share of the units; followed while it changes.
        bundle: the folder of one release, where there is no rollout; the environment's TRUNKLINE_BUNDLE in a pod.
        listen: ``HOST:PORT``; None: TRUNKLINE_LISTEN, or ``serve.gateway.listen``.
        pin: a customer's message: write down what the engine of the one release answers to it, and serve nothing.

    Raises:
        Error: the address is taken, what serves cannot be read, or the prediction log cannot be opened.
    """
    if pin is not None:
        project.load(params.project.module)
        return asyncio.run(_pin(_placed(params), _source(params, traffic, bundle), pin))
    settings = params.serve.gateway
    host, _, port = (listen or os.environ.get("TRUNKLINE_LISTEN") or settings.listen).rpartition(":")
    if not host or not port.isdecimal():
        raise Error(f"{listen!r} is no address to listen on", "write HOST:PORT, such as 127.0.0.1:8080")
    with listening.listen(host.strip("[]"), int(port)) as place:
        project.load(params.project.module)
        app = application(_placed(params), traffic, bundle)
        address = "{}:{}".format(*place.getsockname()[:2])
        listening.answer(app, place, settings.drain, lambda: _log.info("serve  answers on http://%s", address))
    return f"{app[server.GATEWAY].metrics.ended:,} predictions were made"


def application(params: Params, traffic: Path | None, bundle: Path | None) -> web.Application:
    """The gateway, whose life begins when it is started; see `run`."""
    source = _source(params, traffic, bundle)
    admission = Admission(params.serve.gateway)
    app = server.application(params.serve.gateway.request_bytes)
    app.cleanup_ctx.append(lambda app: _serving(app, params, source, admission))
    return app


async def _serving(app: web.Application, params: Params, source: Source, admission: Admission) -> AsyncIterator[None]:
    """The gateway's life: engines are asked who they are before anybody can ask them anything else."""
    log = await asyncio.to_thread(Log, params.serve.log)
    arms = Routing(params, source)
    tracer = None
    try:
        tracer = await asyncio.to_thread(tracing.connect)
        await arms.start()
        metrics = Metrics()
        mirrors = Mirrors(arms, log, metrics, params.serve.gateway.max_concurrent)
        tgi = tgi_metrics.Metrics(params.serve.gateway.max_input_chars, steps=True)
        app[server.GATEWAY] = Gateway(arms, admission, log, metrics, tgi, params.serve, tracer, mirrors)
        yield
        await arms.close()
    finally:
        if not await asyncio.to_thread(log.close, CLOSE_S):
            _log.warning("serve  %d records wait in %s", log.status.waiting, params.serve.log.spool)
        if tracer is not None:
            await asyncio.to_thread(tracer.close, FLUSH_S)


async def _pin(params: Params, source: Source, message: str) -> str:
    """Write down what the engine answers now, to know it by later: whoever does this vouches for the engine."""
    if source.served is None:
        raise Error("a pin is of one release", "trunkline serve --bundle FOLDER --pin MESSAGE")
    found = release.read(Path(source.served.bundle), params)
    if found.provider is not None:
        raise Error(f"{found.name} is a provider's model, which its own pinned answers tell", "serve it without --pin")
    prompt = tuple(dict(turn) for turn in found.conversation(message))
    engine = engines.connect(routing.settings_of(params, "stable", source.served.url), params.serve.timeouts)
    try:
        pinned = await engines.record(engine, prompt, found.max_new_tokens)
    except Failure as failure:
        raise Error(f"{source.served.url} gives no answer to pin: {failure.problem}", failure.hint) from None
    finally:
        await engine.close()
    path = pins.path_of(found.name, Path(params.serve.gateway.pins))
    files.write_text(path, pinned.text())
    return f"{path}: {found.name} answers {pinned.output!r}\nnext: commit it"


def _source(params: Params, traffic: Path | None, bundle: Path | None) -> Source:
    """Where it is said what serves: the arguments, or what a pod's environment says."""
    told = os.environ.get("TRUNKLINE_BUNDLE")
    folder = bundle or (Path(told) if told and traffic is None else None)
    if (traffic is None) == (folder is None):
        hint = "trunkline serve --traffic FILE, or for one release --bundle FOLDER"
        raise Error("what is to be served is said not at all or twice", hint)
    if folder is None:
        return Source(traffic)
    found = release.read(folder, params)
    named = os.environ.get("TRUNKLINE_RELEASE", found.name)
    url = os.environ.get("TRUNKLINE_ENGINE_URL") or routing.url_of(found, params)
    arm = os.environ.get("TRUNKLINE_ARM_FILE")
    return Source(None, Served(release=named, bundle=str(folder), url=url), Path(arm) if arm else None)


def _placed(params: Params) -> Params:
    """params.yaml with the kind of engine that is in this pod."""
    kind = os.environ.get("TRUNKLINE_ENGINE_KIND")
    if kind is None:
        return params
    engines = {arm: engine.model_dump() | {"kind": kind} for arm, engine in params.serve.engines.items()}
    try:
        serve = ServeParams.model_validate({**params.serve.model_dump(), "engines": engines})
    except ValidationError:
        raise Error(f"TRUNKLINE_ENGINE_KIND is {kind!r}", "set it to embedded, tgi or openai") from None
    return params.model_copy(update={"serve": serve})
