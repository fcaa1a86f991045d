"""A provider's model over HTTP: for a gateway a connection to it, for stages, which do one thing at a time, many
requests, a bounded number at once.

What one request may meet, and which faults are tried again, is in `clients/engines`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from trunkline.clients import engines, files
from trunkline.clients.engines import Engine
from trunkline.errors import Error
from trunkline.params.serve import EngineParams, PriceParams, TimeoutParams
from trunkline.records import PROVIDER_RECORD
from trunkline.records.serving import Completion, Failure, FailureKind, Pin, Provider, Request

_HELLO = Request(prompt=({"role": "user", "content": "Hello"},), max_new_tokens=1, temperature=0)
# How often a message is asked before its answer is pinned: so many tell a changed model from a changing answer later.
_REPEATS = 10
_HINTS: dict[FailureKind, str] = {
    "timeout": "raise hosted.timeout in params.yaml, or lower hosted.concurrent",
    "overloaded": "run this again later, raise hosted.retries in params.yaml, or lower hosted.concurrent",
    "refused": "check base.model, hosted.url and hosted.key in params.yaml, and the account behind the key",
    "invalid": "change what it cannot do: evaluate.decoding and max_new_tokens, or the prompt",
    "garbage": "check that hosted.url in params.yaml is of a server with OpenAI's API",
    "disconnected": "check hosted.url in params.yaml and the network, and run this again",
    "failed": "run this again later, or raise hosted.retries in params.yaml",
}

Found = TypeVar("Found")


def read(folder: Path, expected: str | None) -> Provider:
    """A folder's record of its provider.

    Args:
        folder: of a base model or a bundle.
        expected: SHA-256 of the record.

    Raises:
        Error: it is missing, or is not the one that was recorded.
    """
    path = folder / PROVIDER_RECORD
    found = Provider.read(path)
    if files.sha256(path) != expected:
        hint = f"remove {folder}, and run `dvc repro`, or fetch the release anew"
        raise Error(f"{path} is not the one that was recorded", hint)
    return found


def identified(provider: Provider) -> Provider:
    """The same with what the model says that it is.

    Raises:
        Error: it does not answer.
    """
    (answer,) = ask(provider, [_HELLO])
    return provider.model_copy(update={"said": answer.model, "fingerprint": answer.fingerprint})


def ask(
    provider: Provider,
    requests: Sequence[Request],
    show: Callable[[int], None] = lambda done: None,
    proxied: bool = True,
) -> list[Completion]:
    """Every answer, in the order of the requests.

    Args:
        provider: asked.
        requests: to it.
        show: called with the number of answers after each.
        proxied: see `engines.connect`.

    Raises:
        Error: there is no key in the environment, or one request got no answer; then the others are given up.
    """
    return _together(provider, [partial(_complete, request) for request in requests], show, proxied)


def pin(provider: Provider, prompts: Sequence[tuple[dict[str, str], ...]]) -> Provider:
    """The same with its answers pinned, greedy: those that it gives each time, as no other tells it from another model.

    Raises:
        Error: it does not answer.
    """
    calls = [partial(_record, prompt, provider.pinned_tokens) for prompt in prompts]
    found = _together(provider, [*calls * _REPEATS])
    again = [found[place :: len(prompts)] for place in range(len(prompts))]
    pins = tuple(answers[0] for answers in again if answers[0].output and answers.count(answers[0]) == _REPEATS)
    return provider.model_copy(update={"pins": pins, "repeats": _REPEATS})


def repeat(provider: Provider) -> list[Completion]:
    """Its answers to the pinned prompts now; to a greeting where nothing is pinned.

    Raises:
        Error: it does not answer.
    """
    return ask(provider, pinned(provider))


async def repeated(provider: Provider, engine: Engine) -> list[Completion]:
    """The same by a connection that is there already.

    Raises:
        Failure: it does not answer.
    """
    free = asyncio.Semaphore(provider.concurrent)

    async def one(request: Request) -> Completion:
        async with free:
            return await engine.complete(request)

    asked = [asyncio.create_task(one(request)) for request in pinned(provider)]
    try:
        return await asyncio.gather(*asked)
    finally:
        for task in asked:
            task.cancel()


def settings(provider: Provider) -> EngineParams:
    """How it is asked, as of an engine."""
    return EngineParams(
        kind="openai",
        url=provider.url,
        model=provider.model,
        key=provider.key,
        usd_per_million=PriceParams(input=provider.usd_input, output=provider.usd_output),
        retries=provider.retries,
    )


def connect(provider: Provider, most: float, proxied: bool = True) -> Engine:
    """A connection to it; nothing is sent before the first request.

    Args:
        provider: asked.
        most: seconds that an answer may take, where the provider's record allows more.
        proxied: see `engines.connect`.

    Raises:
        Error: there is no key in the environment, or what it names as a proxy is none.
    """
    seconds = min(provider.timeout, most)
    return engines.connect(settings(provider), TimeoutParams.of(seconds), proxied)


def pinned(provider: Provider) -> list[Request]:
    """The pinned requests, byte for byte; a greeting where nothing is pinned."""
    asked = [Request(prompt=one.prompt, max_new_tokens=one.max_new_tokens, temperature=0) for one in provider.pins]
    return asked or [_HELLO]


async def _complete(request: Request, engine: Engine) -> Completion:
    return await engine.complete(request)


async def _record(prompt: tuple[dict[str, str], ...], tokens: int, engine: Engine) -> Pin:
    return await engines.record(engine, prompt, tokens)


def _together(
    provider: Provider,
    calls: Sequence[Callable[[Engine], Awaitable[Found]]],
    show: Callable[[int], None] = lambda done: None,
    proxied: bool = True,
) -> list[Found]:
    engine = connect(provider, provider.timeout, proxied)
    try:
        return asyncio.run(_bounded(engine, provider.concurrent, calls, show))
    except ExceptionGroup as group:
        _explain(provider, group)


async def _bounded(
    engine: Engine, most: int, calls: Sequence[Callable[[Engine], Awaitable[Found]]], show: Callable[[int], None]
) -> list[Found]:
    free, done = asyncio.Semaphore(most), 0

    async def one(call: Callable[[Engine], Awaitable[Found]]) -> Found:
        nonlocal done
        async with free:
            found = await call(engine)
        done += 1
        show(done)
        return found

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(call)) for call in calls]
    finally:
        await engine.close()
    return [task.result() for task in tasks]


def _explain(provider: Provider, group: ExceptionGroup[Exception]) -> NoReturn:
    """The first fault in our words; what is no fault of the provider keeps its traceback."""
    failure = next(_leaves(group))
    if not isinstance(failure, Failure):
        raise failure
    raise Error(f"{provider.model} gives no answer: {failure.problem}", _HINTS[failure.kind]) from None


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
