"""Asks an engine who it is, and has it generate; `trunkline.identity` judges what came."""

from typing import NamedTuple

from trunkline.clients.engines.protocol import Engine
from trunkline.records.serving import Completion, Identity, Pin, Request

_ANY = Pin(prompt=({"role": "user", "content": "Hello"},), max_new_tokens=1, output="")


class Probed(NamedTuple):
    """What an engine said that it is, and what it answered."""

    identity: Identity
    completion: Completion


async def probe(engine: Engine, pin: Pin | None) -> Probed:
    """Ask for the identity and for the pinned answer, or for one token where nothing is pinned.

    Raises:
        Failure: it does not say, or does not answer.
    """
    return Probed(await engine.identity(), await engine.complete(_request(pin or _ANY)))


async def record(engine: Engine, prompt: tuple[dict[str, str], ...], max_new_tokens: int) -> Pin:
    """Pin what an engine answers now.

    Raises:
        Failure: it does not answer.
    """
    asked = Pin(prompt=prompt, max_new_tokens=max_new_tokens, output="")
    completion = await engine.complete(_request(asked))
    return asked.model_copy(update={"output": completion.text})


def _request(pin: Pin) -> Request:
    return Request(prompt=pin.prompt, max_new_tokens=pin.max_new_tokens, temperature=0)
