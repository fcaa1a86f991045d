"""Where two JSON documents differ that should be the same, computed on two machines."""

import math
from collections.abc import Iterator

from pydantic import JsonValue

# Two processors may round the last digits of a sum or of a logarithm differently; no verdict hangs on them.
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12


def differences(one: JsonValue, other: JsonValue, place: str = "") -> Iterator[str]:
    """Each place at which the documents differ, with what is there in both, in order.

    Args:
        place: where the documents stand in a larger one, such as ``checks.0``.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            yield from _member(one.get(key, _Absent), other.get(key, _Absent), f"{place}.{key}".lstrip("."))
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield f"{place or 'the document'} has {len(one)} entries, not {len(other)}"
        for number, (mine, theirs) in enumerate(zip(one, other, strict=False)):
            yield from differences(mine, theirs, f"{place}.{number}".lstrip("."))
    elif not _same(one, other):
        yield f"{place or 'the document'} is {_shown(one)}, not {_shown(other)}"


class _Absent:
    """In the place of what one of the documents lacks."""


def _member(one: JsonValue | type[_Absent], other: JsonValue | type[_Absent], place: str) -> Iterator[str]:
    if isinstance(one, type) or isinstance(other, type):
        yield f"{place} is {'missing' if isinstance(one, type) else 'there, where the other has none'}"
    else:
        yield from differences(one, other, place)


def _same(one: JsonValue, other: JsonValue) -> bool:
    numbers = [value for value in (one, other) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == 2 and any(isinstance(value, float) for value in numbers):
        return math.isclose(*numbers, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return type(one) is type(other) and one == other


def _shown(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
