"""Ports of this machine for programs that are told at which one to listen, and begin to do so later."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from trunkline.clients import listening


@contextmanager
def kept() -> Iterator[int]:
    """A port that the system gives to nobody else in the block, whether or not anybody listens at it.

    A port that was only found to be free is somebody else's as soon as they are given any. Bound here and not listened
    at, it is refused to who connects; who binds it by its number, with SO_REUSEADDR as servers do, may listen at it.
    """
    with socket.socket() as keeping:
        keeping.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeping.bind(("127.0.0.1", 0))
        yield keeping.getsockname()[1]


def free_ports() -> int:
    """The first of ten ports that nobody listens at, below those that the system gives to whoever connects."""
    for first in range(20_000 + os.getpid() % 1000 * 10, 60_000, 10):
        if all(listening.is_free("127.0.0.1", first + number) for number in range(10)):
            return first
    raise AssertionError("no ports")
