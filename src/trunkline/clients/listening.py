"""A port that is taken before a server is ready to answer on it, and how the gateway and engines answer there."""

import asyncio
import socket
from collections.abc import Callable
from typing import NoReturn

from aiohttp import web

from trunkline.errors import Error
from trunkline.records.serving import Failure


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

    Args:
        place: from `listen`.
        drain: seconds that what was accepted gets.
        ready: called when it answers.
    """
    web.run_app(
        app,
        sock=place,
        print=lambda _: ready(),
        access_log=None,
        # aiohttp waits so long twice before it cancels what is left.
        shutdown_timeout=drain / 2,
        # A client that leaves ends its request.
        handler_cancellation=True,
    )


async def content(request: web.Request) -> bytes:
    """The body of a request.

    Raises:
        Failure: it is not encoded as its headers say, and the connection ends then.
        web.HTTPRequestEntityTooLarge: it is too large.
    """
    try:
        return await request.read()
    except web.RequestPayloadError:
        # aiohttp would try to read the rest, and take it for a fault that it cannot.
        request.content.feed_eof()
        request.protocol.close()
        raise Failure("invalid", "the body is not encoded as its headers say") from None


def give_up(request: web.Request) -> NoReturn:
    """End a request that nobody reads the answer of. aiohttp would take it for a fault, and keep what was not read.

    Raises:
        CancelledError: always; aiohttp then logs nothing.
    """
    if request.transport is not None:
        request.transport.abort()
    raise asyncio.CancelledError from None
