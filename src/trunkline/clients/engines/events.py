"""Server-sent events (WHATWG HTML, §9.2): only the data of each."""

import asyncio
from collections.abc import Callable

import aiohttp

from trunkline.params.serve import TimeoutParams

_END = b"[DONE]"


class Events:
    """The events of one stream, which must come in time.

    Attributes:
        done: whether the server said that the stream is over.
    """

    def __init__(
        self, content: aiohttp.StreamReader, timeouts: TimeoutParams, hidden: Callable[[bytes], bytes]
    ) -> None:
        """Read from a response's body; the clock of ``timeouts.total`` starts now.

        Args:
            hidden: takes secrets out of an event.
        """
        self._content, self._timeouts, self._hidden = content, timeouts, hidden
        now = asyncio.get_running_loop().time()
        self._over = now + timeouts.total
        self._due = now + timeouts.first_token
        self.done = False

    def written(self) -> None:
        """A token has come: from now on the next one must come within ``timeouts.next_token``.

        Events without one, such as those that keep a connection open, do not count.
        """
        self._due = asyncio.get_running_loop().time() + self._timeouts.next_token

    async def next(self) -> bytes | None:
        """The data of the next event; None at the end of the stream.

        Raises:
            TimeoutError: no token came in time.
            ValueError: a line is longer than any event's.
        """
        if self.done:
            return None
        data: list[bytes] = []
        async with asyncio.timeout_at(min(self._due, self._over)):
            while line := await self._content.readline():
                line = line.rstrip(b"\r\n")
                if line.startswith(b"data:"):
                    data.append(line[5:].removeprefix(b" "))
                elif not line and data:
                    break
        # A stream that was cut within an event: the event is not whole, and neither is the stream.
        if not line and not data:
            return None
        content = self._hidden(b"\n".join(data))
        if content == _END:
            self.done = True
            return None
        return content
