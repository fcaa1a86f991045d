"""Functions that params.yaml calls ``name@version``, identified by a hash of their source.

To change what one does, register the next version: a release then says exactly what was done to its inputs.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

from trunkline.errors import Error

Value = TypeVar("Value")


class Registered(NamedTuple, Generic[Value]):
    """What was registered, and its id ``name@version:hash``."""

    id: str
    value: Value


class Registration(Generic[Value]):
    """All functions of one kind.

    Args:
        kind: what they are called in messages, such as ``transform``.
        section: where params.yaml names them.
    """

    def __init__(self, kind: str, section: str) -> None:
        self._kind, self._section = kind, section
        self._known: dict[str, Registered[Value]] = {}

    def add(self, key: str, value: Value, source: Callable[..., Any], uses: tuple[ModuleType, ...]) -> None:
        """Register ``name@version``; again is allowed for the same source, as when a module is imported again.

        Args:
            key: ``name@version``.
            source: the function whose source makes the id.
            uses: modules whose source decides what it does; their text is part of the id.

        Raises:
            Error: another function is registered under that name and version.
        """
        text = "".join([inspect.getsource(source), *map(inspect.getsource, uses)])
        identity = f"{key}:{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        if key in self._known and self._known[key].id != identity:
            raise Error(f"{self._kind} {key} is registered twice", "raise the version of one of them")
        self._known[key] = Registered(identity, value)

    def find(self, name: str) -> Registered[Value]:
        """The one of this name or id.

        Raises:
            Error: it is not registered.
        """
        key = name.partition(":")[0]
        if key not in self._known:
            known = ", ".join(sorted(self._known))
            problem = f"{self._kind} {key} is not registered; known: {known}"
            raise Error(problem, f"correct {self._section} in params.yaml")
        return self._known[key]

    def identify(self, names: Iterable[str]) -> tuple[str, ...]:
        """The ids of these names; raises as ``find``."""
        return tuple(self.find(name).id for name in names)
