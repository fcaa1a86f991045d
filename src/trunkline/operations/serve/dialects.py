"""The routes that answer, each in its own words: how a body is read, and how an answer is written."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol

from pydantic import JsonValue

from trunkline.operations.serve.release import Release
from trunkline.records.serving import Chunk, Completion, Failure, Request
from trunkline.wire import answers, openai, tgi
from trunkline.wire.answers import Envelope
from trunkline.wire.tgi import Waits

# Names that clients send where none is meant.
_ANY = ("tgi", "dummy")
# As evaluated: the likeliest tokens, where a request does not say otherwise.
_GREEDY = 0.0

Document = dict[str, JsonValue]


class Writer(Protocol):
    """Writes one answer."""

    def whole(self, completion: Completion) -> JsonValue:
        """The answer in one document."""

    def headers(self, completion: Completion, waits: Waits) -> dict[str, str]:
        """What the headers of a whole answer tell besides."""

    def opening(self) -> list[Document]:
        """What a stream begins with."""

    def piece(self, chunk: Chunk) -> list[Document]:
        """The events of a chunk."""

    def error(self, problem: str, kind: str, status: int) -> Document:
        """The event that tells, within a stream, that it failed."""

    def done(self) -> bytes:
        """What a whole stream ends with."""


class Question(NamedTuple):
    """What a body asks.

    Attributes:
        message: the customer's.
        request: how the answer is to be generated; its prompt is not looked at.
        stream: whether the answer is sent as it is written.
        writer: of the answer.
    """

    message: str
    request: Request
    stream: bool
    writer: Writer


# Reads a body for a release and a prediction; raises Failure.
Read = Callable[[Mapping[str, object], Release, str], Question]


def chat(body: Mapping[str, object], release: Release, prediction: str) -> Question:
    """``/v1/chat/completions``: the customer's message is the only message.

    The release's own prompt goes around it, as in training: no other system message, and no history that the
    release was never evaluated with.
    """
    asked = openai.read_chat(body, release.max_new_tokens, _GREEDY)
    messages = asked.request.prompt
    if len(messages) != 1 or isinstance(messages, str) or messages[0]["role"] != "user":
        problem = "messages: send the customer's message alone, as one of the role user: the release has its own prompt"
        raise Failure("invalid", problem)
    return _openai(asked, messages[0]["content"], release, f"chatcmpl-{prediction}")


def text(body: Mapping[str, object], release: Release, prediction: str) -> Question:
    """``/v1/completions``: ``prompt`` is the customer's message."""
    asked = openai.read_text(body, release.max_new_tokens, _GREEDY)
    return _openai(asked, str(asked.request.prompt), release, f"cmpl-{prediction}")


def generate(stream: bool | None) -> Read:
    """TGI's routes: ``inputs`` is the customer's message.

    Args:
        stream: whether the answer is sent as it is written; None: the body says it, and a whole answer is a list.
    """

    def read(body: Mapping[str, object], release: Release, prediction: str) -> Question:
        asked = tgi.read(body, release.max_new_tokens)
        _check_name("adapter_id", asked.adapter, release)
        streams = asked.stream if stream is None else stream
        if stream is not None and "stream" in body:
            raise Failure("invalid", "stream: is not supported, the route says it")
        request = replace(asked.request, details=True) if streams else asked.request
        return Question(str(asked.request.prompt), request, streams, _TGI(asked, stream is None))

    return read


def _openai(asked: openai.Asked, message: str, release: Release, name: str) -> Question:
    _check_name("model", asked.model, release)
    envelope = Envelope(name, int(time.time()), release.name, release.digest[:12], asked)
    return Question(message, asked.request, asked.stream, _OpenAI(envelope))


def _check_name(field: str, name: str | None, release: Release) -> None:
    if name not in (None, *_ANY, release.model):
        problem = f"{field}: {name[:100]!r} is not served here, only {release.model}, and no release by its version"
        raise Failure("invalid", problem)


class _OpenAI:
    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self.whole, self.opening, self.piece = envelope.whole, envelope.opening, envelope.piece

    def headers(self, completion: Completion, waits: Waits) -> dict[str, str]:
        return {}

    def error(self, problem: str, kind: str, status: int) -> Document:
        return {"error": {"message": problem, "http_status_code": status}, "error_type": kind}

    def done(self) -> bytes:
        return answers.DONE


class _TGI:
    def __init__(self, asked: tgi.Asked, listed: bool) -> None:
        self._asked, self._listed = asked, listed
        self._writing = tgi.Writing(asked)
        self.piece = self._writing.piece

    def whole(self, completion: Completion) -> JsonValue:
        document = self._writing.whole(completion)
        return [document] if self._listed else document

    def headers(self, completion: Completion, waits: Waits) -> dict[str, str]:
        return tgi.headers(self._asked, completion, waits)

    def opening(self) -> list[Document]:
        return []

    def error(self, problem: str, kind: str, status: int) -> Document:
        return {"error": problem, "error_type": kind}

    def done(self) -> bytes:
        return b""
