"""`/tokenize` as TGI has it, and `trunkline engine` too."""

from pydantic import BaseModel, TypeAdapter, ValidationError

from trunkline.clients.engines.http import Server
from trunkline.records.serving import Failure, Span


class _Token(BaseModel):
    id: int
    start: int
    stop: int


_TOKENS = TypeAdapter(list[_Token])


async def spans(server: Server, text: str) -> list[Span]:
    """The tokens of a text.

    Raises:
        Failure: the server does not tell them.
    """
    content, _ = await server.post("/tokenize", {"inputs": text})
    try:
        tokens = _TOKENS.validate_python(content)
    except ValidationError:
        raise Failure("garbage", "the engine answers what is no answer of TGI") from None
    return [Span(token.id, token.start, token.stop) for token in tokens]
