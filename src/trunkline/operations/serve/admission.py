"""Who may ask, how often, and how much at once: decided before anything is read or assigned."""

import hmac
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from trunkline.errors import Error
from trunkline.operations.serve.refusals import RETRY_S, Refused
from trunkline.params.serve import GatewayParams


class Admission:
    """Knows the keys, how often each has asked, and how many requests are open."""

    def __init__(self, settings: GatewayParams) -> None:
        """Read the accepted keys from the environment.

        Raises:
            Error: the variable that params.yaml names holds none.
        """
        self._keys = None if settings.keys is None else _keys(settings.keys)
        self._rate = settings.requests_per_minute
        self._room = settings.max_concurrent + settings.queue
        # By key: requests that it may still make, and when that was so.
        self._left: dict[str, tuple[float, float]] = {}
        self._open = 0

    def admit(self, authorization: str) -> None:
        """Let a request in by its header ``Authorization``.

        Raises:
            Refused: 401 without an accepted key, 429 for more than the key may ask.
        """
        key = "" if self._keys is None else self._known(authorization)
        if self._rate is None:
            return
        left, then = self._left.get(key, (float(self._rate), 0.0))
        now = time.monotonic()
        left = min(float(self._rate), left + (now - then) * self._rate / 60)
        if left < 1:
            problem = f"more than {self._rate} requests a minute"
            raise Refused(429, "overloaded", problem, "rate", (1 - left) * 60 / self._rate)
        self._left[key] = (left - 1, now)

    @contextmanager
    def opened(self, arms: int) -> Iterator[None]:
        """Count a request as open; what cannot even wait for an engine is refused before its body is read.

        Args:
            arms: so many engines may work and be waited for.

        Raises:
            Refused: 429, too many are open.
        """
        if self._open >= self._room * arms:
            raise Refused(429, "overloaded", f"{self._open} requests are open", "overload", RETRY_S)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def _known(self, authorization: str) -> str:
        given = authorization.removeprefix("Bearer ").strip().encode(errors="replace")
        # All are compared, and each in the same time: how long it takes tells nothing about a key.
        matching = [key for key in self._keys or () if hmac.compare_digest(given, key.encode())]
        if not matching or not authorization.startswith("Bearer "):
            raise Refused(401, "unauthorized", "no accepted API key in `Authorization: Bearer`", "key")
        return matching[0]


def _keys(name: str) -> tuple[str, ...]:
    keys = tuple(os.environ.get(name, "").split())
    if not keys:
        raise Error(f"the environment variable {name} holds no API key", "set it to the accepted keys, blanks between")
    return keys
