"""Ids that sort by time: UUID version 7 (RFC 9562, section 5.7), which Python has from 3.14 on."""

import os
import threading
import time
import uuid

_COUNTER_BITS = 74  # 12 of rand_a and 62 of rand_b: one counter, seeded at random each millisecond
_LOCK = threading.Lock()
_last: tuple[int, int] = (0, 0)


def new() -> str:
    """A new UUIDv7; each is larger than every earlier one of this process (RFC 9562, section 6.2, method 2)."""
    global _last
    with _LOCK:
        milliseconds, counter = time.time_ns() // 10**6, _seed()
        if milliseconds <= _last[0]:
            # The clock stands still or went back: count on, and at the end of the counter borrow a millisecond.
            carry, counter = divmod(_last[1] + 1 + counter % 2**32, 2**_COUNTER_BITS)
            milliseconds = _last[0] + carry
        _last = (milliseconds, counter)
    high, low = divmod(counter, 2**62)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low))


def _seed() -> int:
    """Random bits below a first 0, so that a millisecond's counter has room to grow."""
    return int.from_bytes(os.urandom(10), "big") >> (80 - _COUNTER_BITS + 1)
