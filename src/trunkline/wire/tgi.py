"""Text Generation Inference's routes: what is asked, read strictly, and the answers as TGI 3.3.7 writes them.

TGI ignores what it does not know and serves the base model for an adapter that it does not have; here both are
refused. Null stands for a parameter that is not there.
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple, TypeVar

from pydantic import Field, JsonValue, ValidationError

from trunkline.records.serving import Chunk, Completion, Failure, Request, Span, Token
from trunkline.wire.openai import MOST_STOPS
from trunkline.wire.strict import Off, One, Strict, mistakes, present

_LONGEST_STOP = 256
_UNKNOWN = Token(None, "", None, False)
Kind = TypeVar("Kind", bound=Strict)


class Asked(NamedTuple):
    """A body that was read.

    Attributes:
        request: its prompt is ``inputs`` as they came.
        adapter: the adapter that was asked for; None: none.
        stream: whether the answer is sent as it is written; only ``/`` asks for it in the body.
        details: whether the answer tells its tokens and why it ended.
    """

    request: Request
    adapter: str | None
    stream: bool
    details: bool


class Waits(NamedTuple):
    """What a request waited for before its engine was asked, in milliseconds.

    Attributes:
        validation: until it was read and put as the release does.
        queue: until the engine could take it.
    """

    validation: float
    queue: float


_Stop = Annotated[str, Field(min_length=1, max_length=_LONGEST_STOP)]


class _Parameters(Strict):
    adapter_id: str | None = None
    do_sample: bool = False
    temperature: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10, allow_inf_nan=False)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = None
    stop: Annotated[list[_Stop], Field(max_length=MOST_STOPS)] | None = None
    details: bool = False
    # Understood only at the value that changes nothing.
    best_of: One = 1
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] = 0.0
    typical_p: Annotated[float, Field(ge=1, le=1)] = 1.0
    top_n_tokens: Annotated[int, Field(ge=0, le=0)] = 0
    decoder_input_details: Off = False
    return_full_text: Off = False
    watermark: Off = False


class _Body(Strict):
    inputs: str
    parameters: _Parameters = _Parameters()
    stream: bool = False


class _Text(Strict):
    inputs: str


def read(body: object, max_new_tokens: int) -> Asked:
    """Read the body of ``/``, ``/generate`` or ``/generate_stream``.

    As in TGI, a temperature, ``top_k`` or ``top_p`` samples, and ``do_sample`` alone does so at temperature 1;
    unlike in TGI, a body without parameters asks for the likeliest tokens.

    Args:
        body: parsed JSON.
        max_new_tokens: where the body does not say.

    Raises:
        Failure: ``invalid``; all that is wrong is named.
    """
    found = _validated(_Body, body)
    asked = found.parameters
    top_p = None if asked.top_p == 1 else asked.top_p
    samples = asked.do_sample or asked.temperature not in (None, 1) or asked.top_k is not None or top_p is not None
    request = Request(
        prompt=found.inputs,
        max_new_tokens=asked.max_new_tokens or max_new_tokens,
        temperature=(asked.temperature or 1.0) if samples else 0.0,
        top_p=top_p,
        top_k=asked.top_k,
        stop=tuple(asked.stop or ()),
        seed=asked.seed,
        repetition_penalty=asked.repetition_penalty,
        details=asked.details,
    )
    return Asked(request, asked.adapter_id, found.stream, asked.details)


def read_text(body: object) -> str:
    """Read the body of ``/tokenize``: the text.

    Raises:
        Failure: ``invalid``.
    """
    return _validated(_Text, body).inputs


def _validated(kind: type[Kind], body: object) -> Kind:
    if not isinstance(body, dict):
        raise Failure("invalid", "the body is not a JSON object")
    try:
        return kind.model_validate(present(body, depth=2))
    except ValidationError as error:
        raise Failure("invalid", mistakes(error)) from None


class Writing:
    """One answer in TGI's words, whole or token by token."""

    def __init__(self, asked: Asked) -> None:
        """Begin an answer to what was asked."""
        self._asked = asked
        self._index = 0
        # The last event carries the whole answer, so each waits for the next.
        self._held: dict[str, JsonValue] | None = None

    def whole(self, completion: Completion) -> dict[str, JsonValue]:
        """The answer in one document."""
        document: dict[str, JsonValue] = {"generated_text": _text(completion)}
        if self._asked.details:
            document["details"] = {
                **self._ended(completion),
                "prefill": [],
                "tokens": [_token(token, token.text) for token in completion.tokens],
            }
        return document

    def piece(self, chunk: Chunk) -> list[dict[str, JsonValue]]:
        """The events that a chunk adds, one a token; the last one of the stream has the whole answer."""
        said: list[dict[str, JsonValue]] = []
        for token in _spelled(chunk):
            if self._held is not None:
                said.append(self._event(self._held, None, None))
            self._held = token
        if chunk.end is None:
            return said
        last = self._held or _token(Token(None, "", None, True), "")
        last["text"] = f"{last['text']}{chunk.end.stopped_by or ''}"
        details: dict[str, JsonValue] = {**self._ended(chunk.end), "input_length": chunk.end.tokens_in or 0}
        return [*said, self._event(last, _text(chunk.end), details if self._asked.details else None)]

    def _ended(self, completion: Completion) -> dict[str, JsonValue]:
        return {
            "finish_reason": "length" if completion.finish == "content_filter" else completion.finish,
            "generated_tokens": completion.tokens_out or 0,
            "seed": self._asked.request.seed,
        }

    def _event(self, token: JsonValue, text: str | None, details: JsonValue) -> dict[str, JsonValue]:
        self._index += 1
        return {"index": self._index, "token": token, "generated_text": text, "details": details}


def _text(completion: Completion) -> str:
    """The answer; TGI leaves the stop text in it."""
    return completion.text + (completion.stopped_by or "")


def _spelled(chunk: Chunk) -> list[dict[str, JsonValue]]:
    """A chunk's tokens with what each adds to the text; one without a number where the engine tells none."""
    known = [(token, "" if token.special else token.text) for token in chunk.tokens]
    if "".join(text for _, text in known) != chunk.text:
        # Text may be held back while it could begin a stop text or is half a character; it is said when it may be.
        known = [(token, "") for token in chunk.tokens if not token.special]
        known = [*known[:-1], (known[-1][0] if known else _UNKNOWN, chunk.text)]
        known += [(token, "") for token in chunk.tokens if token.special]
    return [_token(token, token.text if token.special else text) for token, text in known]


def _token(token: Token, text: str) -> dict[str, JsonValue]:
    return {"id": token.id or 0, "text": text, "logprob": token.logprob, "special": token.special}


def headers(asked: Asked, completion: Completion, waits: Waits) -> dict[str, str]:
    """What TGI tells of a whole answer in its headers: times in milliseconds, ``x-compute-time`` in seconds."""
    inference = completion.latency_ms
    total = waits.validation + waits.queue + inference
    counted = completion.tokens_out or 0
    return {
        "x-compute-type": "gateway",
        "x-compute-time": f"{total / 1000:.6f}",
        "x-compute-characters": str(len(asked.request.prompt)),
        "x-total-time": f"{total:.0f}",
        "x-validation-time": f"{waits.validation:.0f}",
        "x-queue-time": f"{waits.queue:.0f}",
        "x-inference-time": f"{inference:.0f}",
        "x-time-per-token": f"{inference / max(counted, 1):.0f}",
        "x-prompt-tokens": str(completion.tokens_in or 0),
        "x-generated-tokens": str(counted),
    }


def spans(text: str, tokens: Sequence[Span]) -> list[JsonValue]:
    """The answer of ``/tokenize`` about a text."""
    return [{"id": number, "text": text[start:stop], "start": start, "stop": stop} for number, start, stop in tokens]
