"""Text Generation Inference by its native routes for text, and by its OpenAI route for messages.

Its traps: a stream that fails has status 200 and tells so in an event; a parameter that it does not know is
ignored; the stop text stays in the answer; ``model`` names an adapter, and an unknown one is the base model.
"""

import re
from collections.abc import AsyncGenerator

import orjson
from pydantic import BaseModel, JsonValue

from trunkline.clients.engines.gathering import Gathering, Piece
from trunkline.clients.engines.openai import OpenAI
from trunkline.clients.engines.refusals import read
from trunkline.clients.engines.spans import spans
from trunkline.records.serving import Chunk, Completion, Failure, Identity, Request, Span, Token

_API = "TGI"
_GENERATE, _STREAM = "/generate", "/generate_stream"


class _Token(BaseModel):
    id: int
    text: str
    logprob: float | None
    special: bool


class _Details(BaseModel):
    finish_reason: str
    generated_tokens: int
    input_length: int | None = None
    tokens: list[_Token] = []


class _Generated(BaseModel):
    generated_text: str
    details: _Details


class _Event(BaseModel):
    token: _Token
    details: _Details | None = None


class _Info(BaseModel):
    model_id: str
    version: str | None = None


class TGI(OpenAI):
    """A TGI server; see Engine."""

    async def complete(self, request: Request) -> Completion:
        """See Engine."""
        if not isinstance(request.prompt, str):
            return await super().complete(request)
        gathering = Gathering(request, self._price)
        content, headers = await self._server.post(_GENERATE, _body(request))
        generated = read(_Generated, content, _API)
        counted = headers.get("x-prompt-tokens", "")
        tokens = tuple(_token(token) for token in generated.details.tokens) if request.details else ()
        tokens_in = int(counted) if counted.isdecimal() else None
        gathering.add(_ended(generated.details, tokens_in)._replace(text=generated.generated_text, tokens=tokens))
        return gathering.end(streamed=False)

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """See Engine."""
        if not isinstance(request.prompt, str):
            async for chunk in super().stream(request):
                yield chunk
            return
        gathering = Gathering(request, self._price)
        async with self._server.events(_STREAM, _body(request)) as events:
            while (data := await events.next()) is not None:
                event = read(_Event, orjson.loads(data), _API)
                events.written()
                piece = Piece() if event.details is None else _ended(event.details, event.details.input_length)
                text = "" if event.token.special else event.token.text
                tokens = (_token(event.token),) if request.details else ()
                chunk = gathering.add(piece._replace(text=text, tokens=tokens))
                # Its native stream does not say that it is over.
                events.done = gathering.finished
                if chunk.text or chunk.tokens:
                    yield chunk
        yield Chunk("", (), gathering.end(streamed=True))

    async def health(self) -> None:
        """See Engine."""
        await self._server.get("/health", self._server.timeouts.connect)

    async def identity(self) -> Identity:
        """See Engine; its ``model_sha`` is a commit of the Hub, or null, and tells nothing about the weights."""
        info = read(_Info, await self._server.get("/info", self._server.timeouts.first_token), _API)
        return Identity((info.model_id,), None, info.version)

    async def tokenize(self, text: str) -> list[Span] | None:
        """See Engine."""
        return await spans(self._server, text)

    async def _name(self) -> str:
        """Any other name would be an adapter's, and answered by the base model where there is none."""
        return "tgi"

    async def _asked(self, request: Request, stream: bool) -> tuple[str, dict[str, JsonValue]]:
        _refuse(top_k=request.top_k, repetition_penalty=None if request.repetition_penalty == 1 else 1)
        path, body = await super()._asked(request, stream)
        body.pop("structured_outputs", None)
        if request.choices is not None:
            body["response_format"] = _grammar(request.choices)
        return path, body


def _refuse(**parameters: object) -> None:
    """TGI would ignore these."""
    names = [name for name, value in parameters.items() if value is not None]
    if names:
        raise Failure("invalid", f"TGI's chat route does not know {', '.join(names)}")


def _body(request: Request) -> dict[str, JsonValue]:
    sampled: dict[str, JsonValue] = {}
    if request.temperature > 0:
        sampled = {"temperature": request.temperature, "top_p": request.top_p, "top_k": request.top_k}
    parameters: dict[str, JsonValue] = {
        "do_sample": request.temperature > 0,
        "max_new_tokens": request.max_new_tokens,
        "stop": list(request.stop),
        "seed": request.seed,
        "repetition_penalty": None if request.repetition_penalty == 1 else request.repetition_penalty,
        "grammar": None if request.choices is None else _grammar(request.choices),
        "details": True,
        "return_full_text": False,
        **sampled,
    }
    return {"inputs": request.prompt, "parameters": {n: v for n, v in parameters.items() if v is not None}}  # type: ignore[dict-item]


def _grammar(choices: tuple[str, ...]) -> dict[str, JsonValue]:
    return {"type": "regex", "value": f"({'|'.join(map(re.escape, choices))})"}


def _ended(details: _Details, tokens_in: int | None) -> Piece:
    return Piece(finish=details.finish_reason, tokens_in=tokens_in, tokens_out=details.generated_tokens)


def _token(token: _Token) -> Token:
    return Token(token.id, token.text, token.logprob, token.special)
