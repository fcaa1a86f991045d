"""HTTP to one engine: connections kept, tried again only before the first byte, every fault one `Failure`."""

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import JsonValue

from trunkline.clients.engines import proxy
from trunkline.clients.engines.events import Events
from trunkline.clients.engines.refusals import MOST_SAID, from_status
from trunkline.errors import Error
from trunkline.params.serve import EngineParams, TimeoutParams
from trunkline.records.serving import Failure

# Of a whole answer; a server that sends more is not an engine.
_MOST_BYTES = 16 * 2**20
_END_S = 0.1
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 10.0


class Server:
    """One server and our connections to it.

    Attributes:
        timeouts: what it may take.
    """

    def __init__(self, settings: EngineParams, timeouts: TimeoutParams, proxied: bool) -> None:
        """Connect on the first request, on that request's event loop.

        Raises:
            Error: the environment variable of the key is not set, or holds what no key has, or one names no proxy.
        """
        self.timeouts = timeouts
        self._url, self._retries = settings.url, settings.retries
        self._host = urlsplit(settings.url).netloc
        self._key = None if settings.key is None else _secret(settings.key)
        # Not `trust_env`, which would send the passwords of ~/.netrc too.
        self._proxy = proxy.named(settings.url) if proxied else None
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, seconds: float) -> object:
        """The JSON at a path; None where there is no content.

        Raises:
            Failure: there is none within ``seconds``.
        """
        with self._typed():
            async with asyncio.timeout(seconds), self._asked("GET", path, None) as response:
                return await self._content(response)

    async def post(self, path: str, body: JsonValue) -> tuple[object, Mapping[str, str]]:
        """The JSON that answers a body, and the answer's headers.

        Raises:
            Failure: there is none within ``timeouts.total``.
        """
        with self._typed():
            async with asyncio.timeout(self.timeouts.total), self._asked("POST", path, body) as response:
                return await self._content(response), response.headers

    @asynccontextmanager
    async def events(self, path: str, body: JsonValue) -> AsyncIterator[Events]:
        """The server-sent events that answer a body.

        Raises:
            Failure: the stream does not begin within ``timeouts.first_token``, or its use meets a fault.
        """
        with self._typed():
            async with asyncio.timeout(self.timeouts.first_token):
                response = await self._open("POST", path, body)
            try:
                if response.content_type != "text/event-stream":
                    raise Failure("garbage", f"{self._host} answers a stream with {response.content_type}")
                events = Events(response.content, self.timeouts, self._hidden)
                yield events
                if events.done:
                    # Behind the last event comes the end, and the connection can be used again.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_END_S):
                            await response.content.read(1)
            finally:
                # Does nothing at the end of the stream; before it, this tells the server to stop.
                response.close()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def _asked(self, method: str, path: str, body: JsonValue) -> AsyncIterator[aiohttp.ClientResponse]:
        async with await self._open(method, path, body) as response:
            yield response

    async def _open(self, method: str, path: str, body: JsonValue) -> aiohttp.ClientResponse:
        """A response with status 2xx whose body is not read yet; asks again while that can help."""
        for trial in range(self._retries + 1):
            try:
                return await self._once(method, path, body)
            except Failure as failure:
                last = trial == self._retries
                if last or failure.kind not in ("overloaded", "failed", "disconnected"):
                    raise
                pause = failure.retry_after
            if pause is None:
                pause = _FIRST_PAUSE_S * 2**trial * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
            await asyncio.sleep(min(pause, _LONGEST_PAUSE_S))
        raise AssertionError("unreachable")

    async def _once(self, method: str, path: str, body: JsonValue) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = self._connect()
        data = None if body is None else orjson.dumps(body)
        with self._typed():
            # A redirect could lead the key elsewhere.
            response = await self._session.request(method, self._url + path, data=data, allow_redirects=False)
        if 200 <= response.status < 300:
            return response
        with self._typed():
            async with response:
                said = await response.content.read(MOST_SAID)
        raise from_status(response.status, self._hidden(said), response.headers.get("Retry-After"), self._host)

    async def _content(self, response: aiohttp.ClientResponse) -> object:
        content = b""
        async for part in response.content.iter_any():
            content += part
            if len(content) > _MOST_BYTES:
                raise ValueError(f"more than {_MOST_BYTES:,} bytes")
        return orjson.loads(self._hidden(content)) if content else None

    def _connect(self) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        return aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect),
            connector=aiohttp.TCPConnector(limit=0),
            proxy=self._proxy,
        )

    def _hidden(self, said: bytes) -> bytes:
        """What a server says is logged and passed on: never the key, should it repeat it."""
        return said if self._key is None else said.replace(self._key.encode(), b"***")

    @contextmanager
    def _typed(self) -> Iterator[None]:
        """Turn whatever a connection and a parser raise into one `Failure`."""
        try:
            yield
        except aiohttp.ClientHttpProxyError as error:
            # What it says of itself holds the proxy's password.
            raise Failure("disconnected", f"the proxy on the way to {self._host} answers {error.status}") from None
        except aiohttp.ClientProxyConnectionError as error:
            problem = f"cannot reach the proxy on the way to {self._host}: {error.strerror}"
            raise Failure("disconnected", problem) from None
        except aiohttp.ConnectionTimeoutError:
            raise Failure("disconnected", f"{self._host} accepts no connection in time") from None
        except TimeoutError:
            raise Failure("timeout", f"{self._host} does not answer in time") from None
        except (aiohttp.ClientConnectorError, aiohttp.ClientOSError) as error:
            raise Failure("disconnected", f"cannot reach {self._host}: {error.strerror or error}") from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError):
            raise Failure("disconnected", f"{self._host} broke the connection") from None
        except (aiohttp.ClientError, HttpProcessingError, ValueError) as error:
            problem = f"{self._host} answers what is no answer: {_first_line(error)}"
            raise Failure("garbage", problem) from None


def _secret(name: str) -> str:
    key = os.environ.get(name, "")
    if not re.fullmatch(r"[!-~]+", key):
        problem = f"the environment variable {name} is not set, or holds what no key has"
        raise Error(problem, "set it to the API key; params.yaml, or a hosted release's provider.json, names it")
    return key


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
