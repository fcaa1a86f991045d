"""OpenAI's answers, whole and in pieces, as vLLM writes them, and the framing of server-sent events."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import orjson
from pydantic import JsonValue

from trunkline.records.serving import Chunk, Completion, Failure, FailureKind, Finish, Token
from trunkline.wire.openai import Asked

DONE = b"data: [DONE]\n\n"
# A client must see its request refused where asking again cannot help, and may ask again where it can.
STATUSES: dict[FailureKind, int] = {
    "invalid": 422,
    "overloaded": 429,
    "failed": 424,
    "garbage": 502,
    "refused": 502,
    "disconnected": 503,
    "timeout": 504,
}
# TGI's words.
_TYPES: dict[FailureKind, str] = {
    "invalid": "validation",
    "overloaded": "overloaded",
    "failed": "generation",
    "garbage": "incomplete_generation",
    "refused": "generation",
    "disconnected": "incomplete_generation",
    "timeout": "incomplete_generation",
}
_FINISHES: dict[Finish, str] = {
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "content_filter": "content_filter",
}


class Envelope(NamedTuple):
    """What an answer's documents say besides the answer.

    Attributes:
        id: of the answer.
        created: seconds since 1970.
        model: the name that answers.
        fingerprint: ``system_fingerprint``.
        asked: what is answered.
    """

    id: str
    created: int
    model: str
    fingerprint: str | None
    asked: Asked

    def whole(self, completion: Completion) -> dict[str, JsonValue]:
        """The answer in one document."""
        if self.asked.chat:
            said: dict[str, JsonValue] = {"message": {"role": "assistant", "content": completion.text}}
        else:
            said = {"text": completion.text}
        choice = {"index": 0, **said, **self._details(completion.tokens), **_finish(completion)}
        kind = "chat.completion" if self.asked.chat else "text_completion"
        return {**self._head(kind), "choices": [choice], "usage": usage(completion)}

    def opening(self) -> list[dict[str, JsonValue]]:
        """What a stream begins with."""
        if not self.asked.chat:
            return []
        return [self._piece({"delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None})]

    def piece(self, chunk: Chunk) -> list[dict[str, JsonValue]]:
        """The documents of a chunk: one of its text, or those that end the stream."""
        said: dict[str, JsonValue] = {"delta": {"content": chunk.text}} if self.asked.chat else {"text": chunk.text}
        if chunk.end is None:
            return [self._piece({**said, **self._details(chunk.tokens), "finish_reason": None})]
        said = {"delta": {}} if self.asked.chat else {"text": ""}
        last = self._piece({**said, "logprobs": None, **_finish(chunk.end)})
        if not self.asked.include_usage:
            return [last]
        return [last, {**self._head(self._kind()), "choices": [], "usage": usage(chunk.end)}]

    def _kind(self) -> str:
        return "chat.completion.chunk" if self.asked.chat else "text_completion"

    def _piece(self, choice: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return {**self._head(self._kind()), "choices": [{"index": 0, **choice}]}

    def _head(self, kind: str) -> dict[str, JsonValue]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def _details(self, tokens: Sequence[Token]) -> dict[str, JsonValue]:
        found: dict[str, JsonValue] = {"logprobs": None}
        if self.asked.logprobs:
            found["logprobs"] = _chat_logprobs(tokens) if self.asked.chat else _text_logprobs(tokens)
        if self.asked.token_ids:
            found["token_ids"] = [token.id for token in tokens]
        return found


def usage(completion: Completion) -> JsonValue:
    """The numbers of tokens; None where they are not known."""
    if completion.tokens_in is None or completion.tokens_out is None:
        return None
    return {
        "prompt_tokens": completion.tokens_in,
        "completion_tokens": completion.tokens_out,
        "total_tokens": completion.tokens_in + completion.tokens_out,
    }


def error(failure: Failure) -> dict[str, JsonValue]:
    """An error's document, as TGI writes it."""
    return {"error": failure.problem, "error_type": _TYPES[failure.kind]}


def stream_error(failure: Failure) -> dict[str, JsonValue]:
    """An error's document within a stream that has begun with status 200, as TGI writes it on OpenAI's routes."""
    return {"error": {"message": failure.problem, "http_status_code": STATUSES[failure.kind]}, **_type(failure)}


def event(document: JsonValue) -> bytes:
    """A server-sent event."""
    return b"data: " + orjson.dumps(document) + b"\n\n"


def _type(failure: Failure) -> dict[str, JsonValue]:
    return {"error_type": _TYPES[failure.kind]}


def _finish(completion: Completion) -> dict[str, JsonValue]:
    return {"finish_reason": _FINISHES[completion.finish], "stop_reason": completion.stopped_by}


def _chat_logprobs(tokens: Sequence[Token]) -> JsonValue:
    content: list[JsonValue] = []
    for token in tokens:
        spelled: list[JsonValue] = list(token.text.encode(errors="replace"))
        content.append(
            {
                "token": token.text,
                "logprob": token.logprob,
                "bytes": spelled,
                "top_logprobs": [],
                "special": token.special,
            }
        )
    return {"content": content}


def _text_logprobs(tokens: Sequence[Token]) -> JsonValue:
    offsets: list[JsonValue] = [*accumulate((len(token.text) for token in tokens), initial=0)]
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": None,
        "text_offset": offsets[: len(tokens)],
        "special": [token.special for token in tokens],
    }
