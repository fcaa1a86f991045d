"""What every engine can do."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from trunkline.records.serving import Chunk, Completion, Failure, Identity, Request, Span


class Engine(Protocol):
    """One server, or one model in this process."""

    async def complete(self, request: Request) -> Completion:
        """The whole answer.

        Raises:
            Failure: there is none.
        """

    def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """The answer as it is written; the last chunk alone has its `Completion`.

        Closing it early tells the engine to stop.

        Raises:
            Failure: it ends before it is whole.
        """

    async def health(self) -> None:
        """Return if the engine takes requests.

        Raises:
            Failure: it does not.
        """

    async def identity(self) -> Identity:
        """What it says that it is.

        Raises:
            Failure: it does not say.
        """

    async def tokenize(self, text: str) -> list[Span] | None:
        """The tokens of a text as it is; None where it cannot tell them.

        Raises:
            Failure: it does not answer.
        """

    async def close(self) -> None:
        """Give up its connections."""


async def whole(chunks: AsyncGenerator[Chunk, None]) -> Completion:
    """The answer at the end of a stream.

    Raises:
        Failure: the stream ends without it.
    """
    async with aclosing(chunks):
        async for chunk in chunks:
            if chunk.end is not None:
                return chunk.end
    raise Failure("garbage", "the stream ends without an answer")
