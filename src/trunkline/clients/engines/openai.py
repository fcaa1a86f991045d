"""OpenAI's API as vLLM, SGLang, hosted providers and `trunkline engine` speak it."""

from collections.abc import AsyncGenerator

import orjson
from pydantic import BaseModel, JsonValue

from trunkline.clients.engines.gathering import Gathering, Piece
from trunkline.clients.engines.http import Server
from trunkline.clients.engines.refusals import read
from trunkline.params.serve import EngineParams, TimeoutParams
from trunkline.records.serving import Chunk, Completion, Failure, Identity, Request, Span, Token

_API = "OpenAI's API"


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Said(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Logprob(BaseModel):
    token: str
    logprob: float | None
    special: bool = False  # `trunkline engine` alone says so


class _Logprobs(BaseModel):
    content: list[_Logprob] | None = None
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    special: list[bool] = []


class _Choice(BaseModel):
    message: _Said | None = None
    delta: _Said | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    logprobs: _Logprobs | None = None
    token_ids: list[int] | None = None


class _Document(BaseModel):
    model: str | None = None
    system_fingerprint: str | None = None
    choices: list[_Choice]
    usage: _Usage | None = None


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


class OpenAI:
    """A server with OpenAI's API; see Engine."""

    def __init__(self, settings: EngineParams, timeouts: TimeoutParams, proxied: bool) -> None:
        """Name a server; nothing is sent yet. See `engines.connect`.

        Raises:
            Error: the environment variable of the key is not set, or names a proxy that is none.
        """
        self._server = Server(settings, timeouts, proxied)
        self._price, self._model = settings.usd_per_million, settings.model
        self._only_model: str | None = None
        # OpenAI's newest models refuse the parameter that all other servers know.
        self._limit = "max_tokens"

    async def complete(self, request: Request) -> Completion:
        """See Engine."""
        gathering = Gathering(request, self._price)
        path, body = await self._asked(request, stream=False)
        try:
            content, _ = await self._server.post(path, body)
        except Failure as failure:
            if not self._learns(failure):
                raise
            return await self.complete(request)
        gathering.add(_piece(read(_Document, content, _API), "message"))
        return gathering.end(streamed=False)

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """See Engine."""
        gathering = Gathering(request, self._price)
        while True:
            path, body = await self._asked(request, stream=True)
            try:
                async with self._server.events(path, body) as events:
                    while (data := await events.next()) is not None:
                        chunk = gathering.add(_piece(read(_Document, orjson.loads(data), _API), "delta"))
                        if chunk.text or chunk.tokens:
                            events.written()
                            yield chunk
                break
            except Failure as failure:
                if not self._learns(failure):
                    raise
        yield Chunk("", (), gathering.end(streamed=True))

    async def health(self) -> None:
        """See Engine; a hosted provider has no route for it, and is well if it names its models."""
        try:
            await self._server.get("/health", self._server.timeouts.connect)
        except Failure as failure:
            if failure.kind not in ("refused", "garbage"):
                raise
            await self._models()

    async def identity(self) -> Identity:
        """See Engine."""
        return Identity(await self._models(), None, None)

    async def tokenize(self, text: str) -> list[Span] | None:
        """See Engine; OpenAI's API has no words for it."""
        return None

    async def close(self) -> None:
        """See Engine."""
        await self._server.close()

    async def _models(self) -> tuple[str, ...]:
        content = await self._server.get("/v1/models", self._server.timeouts.first_token)
        return tuple(model.id for model in read(_Models, content, _API).data)

    async def _name(self) -> str:
        """The model to ask for."""
        if self._model is not None:
            return self._model
        if self._only_model is None:
            models = await self._models()
            if len(models) != 1:
                problem = f"the engine has {len(models)} models, and params.yaml does not say which: {models[:5]}"
                raise Failure("refused", problem)
            (self._only_model,) = models
        return self._only_model

    async def _asked(self, request: Request, stream: bool) -> tuple[str, dict[str, JsonValue]]:
        """Where to post what."""
        chat = not isinstance(request.prompt, str)
        body: dict[str, JsonValue] = {
            "model": await self._name(),
            self._limit if chat else "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "stream": stream,
            **_chosen(request),
            **self._details(request, chat),
        }
        if stream:
            body["stream_options"] = {"include_usage": True}
        if isinstance(request.prompt, str):
            return "/v1/completions", {**body, "prompt": request.prompt}
        return "/v1/chat/completions", {**body, "messages": [dict(message) for message in request.prompt]}

    def _details(self, request: Request, chat: bool) -> dict[str, JsonValue]:
        if not request.details:
            return {}
        return {"logprobs": True} if chat else {"logprobs": 1}

    def _learns(self, failure: Failure) -> bool:
        """Whether another try may do better, by what the refusal tells."""
        if failure.kind == "refused":
            # A server that was started again may have another model.
            self._only_model = None
        if failure.kind != "invalid" or self._limit != "max_tokens" or "max_completion_tokens" not in failure.problem:
            return False
        self._limit = "max_completion_tokens"
        return True


def _chosen(request: Request) -> dict[str, JsonValue]:
    """Parameters that are only sent where they change something: not every server knows each."""
    found: dict[str, JsonValue] = {
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "repetition_penalty": None if request.repetition_penalty == 1 else request.repetition_penalty,
        "structured_outputs": None if request.choices is None else {"choice": list(request.choices)},
    }
    return {name: value for name, value in found.items() if value is not None}


def _piece(document: _Document, field: str) -> Piece:
    usage = document.usage or _Usage()
    known = Piece(
        tokens_in=usage.prompt_tokens,
        tokens_out=usage.completion_tokens,
        model=document.model,
        fingerprint=document.system_fingerprint or None,
    )
    if not document.choices and field == "delta":
        return known
    if len(document.choices) != 1:
        raise Failure("garbage", f"the engine answers with {len(document.choices)} choices instead of one")
    choice = document.choices[0]
    said = choice.message or choice.delta or _Said()
    return known._replace(
        text=choice.text or said.content or said.refusal or "",
        tokens=_tokens(choice),
        # TGI's completions say "" until the end.
        finish=choice.finish_reason or None,
        stopped_by=choice.stop_reason if isinstance(choice.stop_reason, str) else None,
    )


def _tokens(choice: _Choice) -> tuple[Token, ...]:
    if choice.logprobs is None:
        return ()
    found = [Token(None, entry.token, entry.logprob, entry.special) for entry in choice.logprobs.content or ()]
    texts, logprobs = choice.logprobs.tokens, choice.logprobs.token_logprobs
    marks = choice.logprobs.special or [False] * len(texts)
    found += [Token(None, *known) for known in zip(texts, logprobs, marks, strict=False)]
    numbers = choice.token_ids or []
    if len(numbers) != len(found):
        return tuple(found)
    return tuple(token._replace(id=number) for token, number in zip(found, numbers, strict=True))
