"""OpenAI's chat completions and completions: what is asked, read strictly.

A parameter that is not understood is refused, never ignored; null stands for a parameter that is not there.
``top_k``, ``repetition_penalty``, ``return_token_ids`` and ``structured_outputs`` are vLLM's additions.
"""

from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from trunkline.records.serving import Failure, Request
from trunkline.wire.strict import Off, One, Strict, mistakes, present

# Both OpenAI's and TGI's limit.
MOST_STOPS = 4
_LONGEST_STOP = 256
_MOST_CHOICES = 1024


class Asked(NamedTuple):
    """A body that was read.

    Attributes:
        model: the name that was asked for; None: any.
        chat: whether the answer is a chat completion.
        stream: whether the answer is sent as it is written.
        include_usage: whether a stream ends with the numbers of tokens.
        logprobs: whether the answer tells its tokens' probabilities.
        token_ids: whether the answer tells its tokens' numbers.
    """

    request: Request
    model: str | None
    chat: bool
    stream: bool
    include_usage: bool
    logprobs: bool
    token_ids: bool


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _text(value: object) -> object:
    """The text of a message's content, which may come in parts."""
    if not isinstance(value, list):
        return value
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in value]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("only parts of type text are understood")
    return "".join(str(text) for text in texts)


def _alone(value: object) -> object:
    """A list of one stands for its member."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


class _Message(Strict):
    role: Literal["system", "user", "assistant", "developer", "tool"]
    content: Annotated[str, BeforeValidator(_text)]


class _StreamOptions(Strict):
    include_usage: bool = False
    continuous_usage_stats: Off = False


class _StructuredOutputs(Strict):
    choice: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=_MOST_CHOICES)]


_Stop = Annotated[str, Field(min_length=1, max_length=_LONGEST_STOP)]


class _Body(Strict):
    model: str | None = None
    # 0 is greedy.
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    stop: Annotated[list[_Stop], BeforeValidator(_one_or_many), Field(max_length=MOST_STOPS)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10, allow_inf_nan=False)] = 1.0
    structured_outputs: _StructuredOutputs | None = None
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()
    return_token_ids: bool = False
    # Understood only at the value that changes nothing.
    n: One = 1
    presence_penalty: Annotated[float, Field(ge=0, le=0)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] = 0.0
    # About the client and not about the answer.
    user: str | None = None


class _Chat(_Body):
    messages: Annotated[list[_Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=0)] = 0

    @model_validator(mode="after")
    def _one_limit(self) -> "_Chat":
        limits = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(limits) > 1:
            raise ValueError("max_tokens and max_completion_tokens differ")
        return self


class _Plain(_Body):
    prompt: Annotated[str, BeforeValidator(_alone)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=1)] | None = None
    best_of: One = 1
    echo: Off = False


Kind = TypeVar("Kind", bound=_Body)


def read_chat(body: object, max_new_tokens: int, temperature: float = 1.0) -> Asked:
    """Read the body of ``POST /v1/chat/completions``.

    Args:
        body: parsed JSON.
        max_new_tokens: where the body does not say.
        temperature: where the body does not say; OpenAI's is 1.

    Raises:
        Failure: ``invalid``; all that is wrong is named.
    """
    chat = _validated(_Chat, body, temperature)
    messages = tuple({"role": message.role, "content": message.content} for message in chat.messages)
    limit = chat.max_completion_tokens or chat.max_tokens or max_new_tokens
    return _asked(chat, messages, limit, chat.logprobs)


def read_text(body: object, max_new_tokens: int, temperature: float = 1.0) -> Asked:
    """Read the body of ``POST /v1/completions``; see `read_chat`."""
    text = _validated(_Plain, body, temperature)
    limit = text.max_tokens or max_new_tokens
    return _asked(text, text.prompt, limit, text.logprobs is not None)


def _validated(kind: type[Kind], body: object, temperature: float) -> Kind:
    if not isinstance(body, dict):
        raise Failure("invalid", "the body is not a JSON object")
    try:
        return kind.model_validate({"temperature": temperature} | present(body, depth=3))
    except ValidationError as error:
        raise Failure("invalid", mistakes(error)) from None


def _asked(body: _Body, prompt: Any, limit: int, logprobs: bool) -> Asked:  # noqa: ANN401 (text or messages)
    top_k = body.top_k if body.top_k is not None and body.top_k > 0 else None
    request = Request(
        prompt=prompt,
        max_new_tokens=limit,
        temperature=body.temperature,
        top_p=None if body.top_p == 1 else body.top_p,
        top_k=top_k,
        stop=tuple(body.stop or ()),
        seed=body.seed,
        repetition_penalty=body.repetition_penalty,
        choices=None if body.structured_outputs is None else tuple(body.structured_outputs.choice),
        details=logprobs or body.return_token_ids,
    )
    return Asked(
        request=request,
        model=body.model,
        chat=isinstance(body, _Chat),
        stream=body.stream,
        include_usage=body.stream_options.include_usage,
        logprobs=logprobs,
        token_ids=body.return_token_ids,
    )
