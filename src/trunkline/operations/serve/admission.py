"""Who may ask, how often, and how much at once: decided before anything is read or assigned."""

import asyncio
import hmac
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from trunkline.errors import Error
from trunkline.operations.serve.refusals import RETRY_S, Refused
from trunkline.params.serve import GatewayParams


class Admission:
    """Knows the keys, how often each has asked, whose bodies are coming, and how many requests are open."""

    def __init__(self, settings: GatewayParams) -> None:
        """Read the accepted keys from the environment.

        Raises:
            Error: the variable that params.yaml names holds none.
        """
        self._keys = None if settings.keys is None else _keys(settings.keys)
        self._rate = settings.requests_per_minute
        self._room = settings.max_concurrent + settings.queue
        self._seconds = settings.body_seconds
        # By key: the bodies that are coming, the oldest first.
        self._coming: defaultdict[str, dict[asyncio.Timeout, None]] = defaultdict(dict)
        # By key: requests that it may still make, and when that was so.
        self._left: dict[str, tuple[float, float]] = {}
        self._open = 0

    def admit(self, authorization: str) -> str:
        """Let a request in by its header ``Authorization``; its key, which is nobody's where none is needed.

        Raises:
            Refused: 401 without an accepted key, 429 for more than the key may ask.
        """
        key = "" if self._keys is None else self._known(authorization)
        if self._rate is None:
            return key
        left, then = self._left.get(key, (float(self._rate), 0.0))
        now = time.monotonic()
        left = min(float(self._rate), left + (now - then) * self._rate / 60)
        if left < 1:
            problem = f"more than {self._rate} requests a minute"
            raise Refused(429, "overloaded", problem, "rate", (1 - left) * 60 / self._rate)
        self._left[key] = (left - 1, now)
        return key

    @asynccontextmanager
    async def coming(self, key: str) -> AsyncIterator[None]:
        """While the body of a request comes, which takes no place from one that is here already.

        Of more than may be open, the one that has come for longest is given up for the next: bodies that never come
        keep out nobody with another key, and without keys nobody whose body comes sooner than so many others begin.

        Raises:
            Refused: 408, it does not come in time, or 429, too many others of the key are coming.
        """
        coming = self._coming[key]
        if len(coming) >= self._room:
            oldest = next(iter(coming))
            del coming[oldest]
            # One whose time is over at this very moment ends by itself.
            if not oldest.expired():
                oldest.reschedule(0)
        given_up = False
        try:
            async with asyncio.timeout(self._seconds) as limit:
                coming[limit] = None
                try:
                    yield
                finally:
                    given_up = limit not in coming
                    coming.pop(limit, None)
        except TimeoutError:
            if given_up:
                raise Refused(429, "overloaded", "too many bodies come slowly", "overload", RETRY_S) from None
            problem = f"the body does not come within {self._seconds:g} seconds"
            raise Refused(408, "validation", problem, "slow") from None

    def check(self, arms: int) -> None:
        """Refuse what cannot even wait for an engine; asked before its body is read, which would be for nothing.

        Args:
            arms: so many engines may work and be waited for.

        Raises:
            Refused: 429, too many are open.
        """
        if self._open >= self._room * arms:
            raise Refused(429, "overloaded", f"{self._open} requests are open", "overload", RETRY_S)

    @contextmanager
    def opened(self, arms: int) -> Iterator[None]:
        """Count a request as open; see `check`."""
        self.check(arms)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def _known(self, authorization: str) -> str:
        scheme, _, key = authorization.partition(" ")
        given = key.strip().encode(errors="replace")
        # All are compared, and each in the same time: how long it takes tells nothing about a key.
        matching = [key for key in self._keys or () if hmac.compare_digest(given, key.encode())]
        if not matching or scheme.lower() != "bearer":
            raise Refused(401, "unauthorized", "no accepted API key in `Authorization: Bearer`", "key")
        return matching[0]


def _keys(name: str) -> tuple[str, ...]:
    keys = tuple(os.environ.get(name, "").split())
    if not keys:
        raise Error(f"the environment variable {name} holds no API key", "set it to the accepted keys, blanks between")
    return keys
