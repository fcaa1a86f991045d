"""Ports for programs that are told at which one to listen, and begin to do so later."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept() -> Iterator[int]:
    """A port of this machine that the system gives to nobody else in the block, whether or not anybody listens at it.

    A port that was only found to be free is somebody else's as soon as they are given any. Bound here and not listened
    at, it is refused to who connects; who binds it by its number, with SO_REUSEADDR as servers do, may listen at it.
    """
    with socket.socket() as keeping:
        keeping.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeping.bind(("127.0.0.1", 0))
        yield keeping.getsockname()[1]
