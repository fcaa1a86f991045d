"""What is asked of an engine and what comes back, the same for every kind of engine."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from trunkline.errors import Error
from trunkline.records import Record

Finish = Literal["eos_token", "stop_sequence", "length", "content_filter"]
FailureKind = Literal["timeout", "overloaded", "refused", "invalid", "garbage", "disconnected", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an engine is to answer, and how it chooses tokens.

    Attributes:
        prompt: text to go on from as it is, or chat messages ``{"role", "content"}`` for the model's template.
        max_new_tokens: the answer is cut here.
        temperature: 0 takes the likeliest token each time.
        top_p: sample only from the likeliest tokens that together have this probability; None: from all.
        top_k: sample only from this many likeliest tokens; None: from all.
        stop: texts that end the answer; the answer does not contain them.
        seed: the same seed gives the same answer; None: another one each time.
        repetition_penalty: above 1, tokens that are already there become less likely (arXiv:1909.05858).
        choices: the only answers there may be; None: any.
        details: tell the answer's tokens.
    """

    prompt: str | tuple[Mapping[str, str], ...]
    max_new_tokens: int
    temperature: float
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    repetition_penalty: float = 1.0
    choices: tuple[str, ...] | None = None
    details: bool = False

    @property
    def greedy(self) -> bool:
        """Whether the model's likeliest token is taken each time, of those that are allowed."""
        return self.temperature == 0 and self.repetition_penalty == 1


class Token(NamedTuple):
    """A token of an answer; None for what the engine does not tell.

    Attributes:
        id: in the model's vocabulary.
        text: of this token alone.
        logprob: natural logarithm of its probability.
        special: whether it is a mark of the model and no text, such as the end of the answer.
    """

    id: int | None
    text: str
    logprob: float | None
    special: bool


class Span(NamedTuple):
    """A token of a text that was given.

    Attributes:
        id: in the model's vocabulary.
        start: of its first character.
        stop: of the character after its last.
    """

    id: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer; None for what the engine does not tell.

    Attributes:
        text: without the token or the stop text that ended it.
        finish: what ended it.
        stopped_by: the stop text that ended it.
        tokens_in: of the prompt.
        tokens_out: of the answer, with the token that ends it.
        tokens: of the answer, where ``Request.details`` asked for them.
        ttft_ms: from asking to the first token; None where the answer came in one piece.
        latency_ms: from asking to the end.
        model: what the engine says that it is.
        fingerprint: the engine's ``system_fingerprint``.
        usd: by the engine's price of tokens; None where the engine does not count them.
    """

    text: str
    finish: Finish
    stopped_by: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens: tuple[Token, ...] = ()
    ttft_ms: float | None = None
    latency_ms: float
    model: str | None = None
    fingerprint: str | None = None
    usd: float | None = None

    @property
    def confidence(self) -> float | None:
        """Mean log-probability of the answer's tokens; None unless the engine tells that of every one."""
        told = [token.logprob for token in self.tokens if token.logprob is not None]
        if not told or len(told) != self.tokens_out:
            return None
        mean = math.fsum(told) / len(told)
        return mean if math.isfinite(mean) else None


class Chunk(NamedTuple):
    """A piece of an answer as it is written.

    Attributes:
        text: what follows the text of the chunks before; may be empty.
        tokens: its tokens, where ``Request.details`` asked for them.
        end: the whole answer, in the last chunk and only there.
    """

    text: str
    tokens: tuple[Token, ...] = ()
    end: Completion | None = None


class Identity(NamedTuple):
    """What a server says that it is.

    Attributes:
        models: the names that it answers to.
        digest: of what it serves, as `trunkline.identity.digest` defines it; None where it cannot tell.
        version: of the server's own software.
    """

    models: tuple[str, ...]
    digest: str | None
    version: str | None


class Pin(Record):
    """What a release must answer, recorded when it was released: identifies servers that tell no digest.

    Attributes:
        prompt: chat messages ``{"role", "content"}``.
        max_new_tokens: the answer is cut here.
        output: the answer, greedy.
    """

    prompt: tuple[dict[str, str], ...]
    max_new_tokens: int
    output: str


class Provider(Record):
    """A provider's model: how it is asked, and how it is known again.

    ``provider.json`` beside ``base.json``, without pins, and beside the ``bundle.json`` of a hosted candidate.

    Attributes:
        model: the name it is asked by.
        url: without /v1.
        key: the environment variable that holds the API key; None: it wants none.
        usd_input: price in US dollars of a million tokens in.
        usd_output: and out.
        retries: of a request that it refuses for now, or fails.
        timeout: seconds for one answer, all tries together.
        concurrent: requests at once.
        messages: whose answers are to be pinned.
        pinned_tokens: a pinned answer is cut here.
        said: what it said that it is.
        fingerprint: its ``system_fingerprint``.
        pins: what it answered, as often as it was asked.
        repeats: how often that was, each.
    """

    model: str
    url: str
    key: str | None
    usd_input: float
    usd_output: float
    retries: int
    timeout: float
    concurrent: int
    messages: tuple[str, ...]
    pinned_tokens: int
    said: str | None
    fingerprint: str | None
    pins: tuple[Pin, ...]
    repeats: Annotated[int, Field(ge=1)] = 2


_HINTS: dict[FailureKind, str] = {
    "timeout": "look at the engine's load, or raise serve.timeouts in params.yaml",
    "overloaded": "ask again later, or start more engines",
    "refused": "check the engine's key, model and url in params.yaml serve.engines",
    "invalid": "change the request",
    "garbage": "check that the engine's kind and url in params.yaml serve.engines are right",
    "disconnected": "check that the engine runs, and its url in params.yaml serve.engines",
    "failed": "look at the engine's log",
}


class Failure(Error):
    """An engine did not give a whole answer; the only exception that an engine raises for a request.

    Attributes:
        kind: ``timeout``: no token in time. ``overloaded``: it takes no more requests now. ``refused``: it does
            not let us. ``invalid``: it cannot do what is asked. ``garbage``: what came is no answer.
            ``disconnected``: not reached, or cut off. ``failed``: it says that it failed.
        retry_after: seconds after which the engine wants to be asked again; None where it does not say.
    """

    def __init__(self, kind: FailureKind, problem: str, retry_after: float | None = None) -> None:
        super().__init__(problem, _HINTS[kind])
        self.kind = kind
        self.retry_after = retry_after
