"""Serve a model over HTTP from this process: the embedded engine, for a laptop and for CI.

The weights are the very ones that were evaluated, verified by hash, in the precision of the evaluation.
"""

import gc
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from trunkline import identity
from trunkline.clients import embedded, listening
from trunkline.clients.embedded import Embedded, Limits
from trunkline.clients.model import BASE_RECORD, BUNDLE_RECORD, LoadedModel, load
from trunkline.errors import Error
from trunkline.operations.engine import server
from trunkline.params import Params
from trunkline.records import Base, Bundle
from trunkline.records.serving import Failure, Identity, Request

HOST = "127.0.0.1"

_log = logging.getLogger(__name__)


def run(params: Params, model: Path, base: Path, port: int, threads: int | None) -> str:
    """Answer requests until SIGTERM or SIGINT, then answer what was accepted and return.

    Args:
        model: a folder with bundle.json (an adapter, or the base alone), or with base.json (whole weights).
        base: the base model's folder, for an adapter.
        port: on the loopback interface; 0 takes a free one and says which.
        threads: that compute; None takes all cores. Engines that share a machine must share its cores.

    Raises:
        Error: the port is taken, the model is not the recorded one or cannot be served, or generating broke down.
    """
    settings = params.serve.embedded
    with listening.listen(HOST, port) as place:
        loaded, who = _load(params, model, base, _cores() if threads is None else threads)
        limits = Limits(settings.max_concurrent_requests, settings.max_batch_tokens, settings.cache_tokens)
        app = server.application(who, limits, params.evaluate.max_new_tokens)
        app.cleanup_ctx.append(lambda app: _serving(app, loaded, limits, who))
        address = f"http://{HOST}:{place.getsockname()[1]}"
        listening.answer(
            app,
            place,
            settings.drain,
            lambda: _log.info("engine  %s answers on %s", who.models[0], address),
        )
    if app[server.BROKEN]:
        raise Error(app[server.BROKEN][0], "start it again; if it happens again, lower serve.embedded.cache_tokens")
    return f"{who.models[0]} answered {app[server.METRICS].answered:,} requests"


async def _serving(app: web.Application, loaded: LoadedModel, limits: Limits, who: Identity) -> AsyncIterator[None]:
    """The engine's life: it generates a token before anybody can ask it."""
    engine = Embedded(loaded, limits, who)
    try:
        await engine.complete(Request(prompt=({"role": "user", "content": "?"},), max_new_tokens=1, temperature=0))
    except Failure as failure:
        await engine.close()
        raise Error(f"the model does not generate: {failure.problem}", "serve it with vLLM or TGI") from None
    app[server.ENGINE] = engine
    # What was loaded stays: looking through it for garbage stops all answers for a second.
    gc.freeze()
    async with server.watched(app):
        yield
    await engine.close()


def _load(params: Params, folder: Path, base: Path, threads: int) -> tuple[LoadedModel, Identity]:
    if threads < 1:
        raise Error(f"cannot compute with {threads} threads", "choose --threads of at least 1")
    embedded.use_threads(threads)
    precision, attention = params.evaluate.precision, params.evaluate.attention
    release: str | None = None
    if (folder / BUNDLE_RECORD).is_file():
        loaded = load(base, folder, precision, attention)
        bundle = Bundle.read(folder / BUNDLE_RECORD)
        digest, release = identity.digest(bundle.weights, bundle.base, bundle.configuration), bundle.release
    elif (folder / BASE_RECORD).is_file():
        loaded = load(folder, None, precision, attention)
        record = Base.read(folder / BASE_RECORD)
        digest = identity.digest(record.weights, None, record.configuration)
    else:
        problem = f"{folder} holds neither {BUNDLE_RECORD} nor {BASE_RECORD}"
        raise Error(problem, "name a folder such as models/candidate, or one that was exported")
    name = release or f"{params.project.name}@{digest[:12]}"
    return loaded, Identity((name,), digest, server.VERSION)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
