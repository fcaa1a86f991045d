"""Ports of this machine that nobody has, for servers that must know theirs before they start."""

import os

from trunkline.clients import listening


def free_ports() -> int:
    """The first of ten ports that nobody listens at, below those that the system gives to whoever connects."""
    for first in range(20_000 + os.getpid() % 1000 * 10, 60_000, 10):
        if all(listening.is_free("127.0.0.1", first + number) for number in range(10)):
            return first
    raise AssertionError("no ports")
