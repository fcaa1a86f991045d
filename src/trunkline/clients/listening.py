"""A port that is taken before a server is ready to answer on it, and how the gateway and engines answer there."""

import asyncio
import logging
import resource
import signal
import socket
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from trunkline.errors import Error
from trunkline.records.serving import Failure

# Without a whole head of a request for so long, a connection is closed. Proxies, which keep theirs for a minute or
# less, must not meet one that is being closed.
IDLE_S = 75.0
# Who is answered before the whole body has come may send so long on, and reads its answer; then the connection ends.
LINGER_S = 2.0
_LOOK_S = 0.1
# zlib's words for the encodings that are understood.
_FORMS = {"gzip": 31, "deflate": 15, "bare deflate": -15}


def listen(host: str, port: int) -> socket.socket:
    """A socket that has the port but does not answer yet: a taken port is told before anything slow begins.

    Args:
        host: a name or address of this machine.
        port: 0 takes a free one.

    Raises:
        Error: somebody has the port, it is none, or the host is not this machine.
    """
    place = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        place = socket.socket(family, kind, protocol)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Not by getaddrinfo: it would take 99999 for another port.
        place.bind((address[0], port, *address[2:]))
    except (OSError, OverflowError) as error:
        if place is not None:
            place.close()
        problem = f"cannot listen on port {port}: {getattr(error, 'strerror', None) or error}"
        raise Error(problem, "choose another port or address, or end what listens there") from None
    return place


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there."""
    try:
        listen(host, port).close()
    except Error:
        return False
    return True


def answer(app: web.Application, place: socket.socket, drain: float, ready: Callable[[], None]) -> None:
    """Answer on a port until SIGTERM or SIGINT; then no more is accepted, and what was is answered.

    SIGTERM may come again, as from whoever signals a process and then its group, and changes nothing; SIGINT then
    ends it at once.

    Args:
        place: from `listen`.
        drain: seconds that what was accepted gets.
        ready: called when it answers.
    """
    # Every connection is a file, and the limit that is common is lower than what a machine can hold.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    app.on_startup.insert(0, _Ending().heed)
    web.run_app(app, sock=place, print=lambda _: ready(), **manners(drain))


def manners(drain: float) -> dict[str, Any]:
    """How connections are treated, in the words of aiohttp's runner."""
    return {
        "access_log": None,
        "logger": _heard,
        # aiohttp waits so long twice before it cancels what is left.
        "shutdown_timeout": drain / 2,
        "keepalive_timeout": IDLE_S,
        "lingering_time": LINGER_S,
        # A client that leaves ends its request.
        "handler_cancellation": True,
        # `content` does it, and says what is wrong.
        "auto_decompress": False,
    }


async def content(request: web.Request) -> bytes:
    """The body of a request.

    Raises:
        Failure: it is not encoded as its headers say, or so that it is not understood.
        web.HTTPBadRequest: its chunks are not HTTP's; the connection ends then.
        web.HTTPRequestEntityTooLarge: it is too large.
    """
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise Failure("invalid", f"content-encoding: {encoding[:40]!r} is not understood, only gzip and deflate")
    found = await (request.read() if request.content.is_eof() else _whole(request))
    return found if encoding == "identity" else _unpacked(found, encoding, request.client_max_size)


def give_up(request: web.Request) -> NoReturn:
    """End a request that nobody reads the answer of. aiohttp would take it for a fault, and keep what was not read.

    Raises:
        CancelledError: always; aiohttp then logs nothing.
    """
    if request.transport is not None:
        request.transport.abort()
    raise asyncio.CancelledError from None


class _Faults(logging.Filter):
    """Passes over what is no HTTP: its sender is told, and the record would hold messages and keys."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is ours."""
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_heard = logging.getLogger(__name__)
_heard.addFilter(_Faults())


class _Ending:
    """Heeds signals as `answer` says. aiohttp's own handler cuts all answers if SIGTERM comes twice at once."""

    def __init__(self) -> None:
        self._begun = False

    async def heed(self, _: web.Application) -> None:
        """Take the place of aiohttp's handlers."""
        with suppress(NotImplementedError):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, self._terminate)
            loop.add_signal_handler(signal.SIGINT, self._interrupt)

    def _terminate(self) -> None:
        if not self._begun:
            self._interrupt()

    def _interrupt(self) -> None:
        self._begun = True
        raise web.GracefulExit


async def _whole(request: web.Request) -> bytes:
    """A body that is still coming."""
    reading = asyncio.create_task(request.read())
    try:
        while not (await asyncio.wait({reading}, timeout=_LOOK_S))[0]:
            # aiohttp tells nobody who waits for a body that its chunks make no sense, it only queues an answer to it.
            if request.protocol._messages:
                request.content.feed_eof()
                request.protocol.close()
                raise web.HTTPBadRequest(reason="the chunks of the body are not framed as HTTP says")
        return reading.result()
    finally:
        reading.cancel()


def _unpacked(packed: bytes, encoding: str, most: int) -> bytes:
    if encoding == "deflate" and packed and packed[0] & 0x0F != zlib.DEFLATED:
        # Many clients leave out the head and the checksum.
        encoding = "bare deflate"
    unpacker = zlib.decompressobj(_FORMS[encoding])
    try:
        found = unpacker.decompress(packed, most + 1)
    except zlib.error:
        raise Failure("invalid", f"the body is not {encoding}, as its headers say") from None
    if len(found) > most:
        raise web.HTTPRequestEntityTooLarge(most, len(found))
    if not unpacker.eof or unpacker.unused_data:
        raise Failure("invalid", f"the body is not one whole {encoding}: it is cut off, or something follows")
    return found
