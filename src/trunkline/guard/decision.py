"""Guards are registered like transforms, asked in the order of params.yaml, and decide together.

A guard returns why it objects, or None. What then happens is not its business: ``flag`` serves and counts it,
``block`` refuses. A guard that fails objects, so that one that blocks never lets through what it could not judge.
A reason names kinds, never what it found: it is logged.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Literal, NamedTuple

from trunkline.errors import Error
from trunkline.records import Task
from trunkline.records.release import Manifest
from trunkline.registration import Registration

Side = Literal["input", "output"]


class Exchange(NamedTuple):
    """What a guard looks at.

    Attributes:
        input: as the customer wrote it, before any transform.
        output: as the model gave it; empty while only the input is checked.
        task: of the release that answers.
    """

    input: str
    output: str
    task: Task


GuardFunction = Callable[[Exchange], str | None]


class Guard(NamedTuple):
    """A registered check of one side."""

    on: Side
    function: GuardFunction


class Finding(NamedTuple):
    """What a guard objected to.

    Attributes:
        id: of the guard, ``name@version:hash``.
        action: what params.yaml wants done: ``flag`` or ``block``.
        reason: in words, without personal data.
    """

    id: str
    action: str
    reason: str


class Decision(NamedTuple):
    """What to do with an input or output.

    Attributes:
        action: ``allow``, ``flag`` or ``block``.
        findings: in the order of the guards; nothing was asked after one that blocks.
    """

    action: Literal["allow", "flag", "block"]
    findings: tuple[Finding, ...]


_GUARDS: Registration[Guard] = Registration("guard", "serve.guard")


def guard(
    name: str, version: int, on: Side, uses: tuple[ModuleType, ...] = ()
) -> Callable[[GuardFunction], GuardFunction]:
    """Register a pure function ``exchange -> reason or None`` as ``name@version``.

    Args:
        name: what params.yaml calls it.
        version: raised whenever what the function does changes.
        on: which side it checks; only a guard ``on="output"`` is given one.
        uses: modules whose source decides what the function does; their text is part of its id.

    Raises:
        Error: another function is registered under that name and version.
    """

    def register(function: GuardFunction) -> GuardFunction:
        _GUARDS.add(f"{name}@{version}", Guard(on, function), function, uses)
        return function

    return register


def decide(actions: Mapping[str, str], on: Side, exchange: Exchange) -> Decision:
    """Ask the guards of one side in order, up to the first that blocks.

    Args:
        actions: ``flag`` or ``block`` by guard: ``serve.guard`` of params.yaml.

    Raises:
        Error: a guard is not registered.
    """
    findings: list[Finding] = []
    for name, action in actions.items():
        known = _GUARDS.find(name)
        reason = _ask(known.value, exchange) if known.value.on == on else None
        if reason is not None:
            findings.append(Finding(known.id, action, reason))
            if action == "block":
                return Decision("block", tuple(findings))
    return Decision("flag" if findings else "allow", tuple(findings))


def _ask(known: Guard, exchange: Exchange) -> str | None:
    try:
        return known.function(exchange)
    except Exception as error:  # a user's guard may raise anything
        return f"the guard failed: {type(error).__name__}"


def blocks_output(actions: Mapping[str, str]) -> bool:
    """Whether an output may be refused: then no part of it may leave before the whole was checked."""
    return any(action == "block" and _GUARDS.find(name).value.on == "output" for name, action in actions.items())


def identify(actions: Mapping[str, str]) -> tuple[str, ...]:
    """The ids of the guards, in order.

    Raises:
        Error: one is not registered.
    """
    return _GUARDS.identify(actions)


def guard_id(actions: Mapping[str, str]) -> str:
    """One id for what guards a release: a hash of the guards' ids, their order and their actions."""
    content = json.dumps(list(zip(identify(actions), actions.values(), strict=True)))
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def released(manifest: Manifest) -> dict[str, str]:
    """The action of each guard that a release was evaluated with, in order.

    Raises:
        Error: the manifest does not say, or other guards are registered here by these names.
    """
    name = f"{manifest.model}@{manifest.version}"
    guards = named(manifest)
    if guards is None:
        raise Error(f"the manifest of {name} does not say what guards it", "release it again")
    if guard_id(guards) != manifest.guard:
        problem = f"{name} was released with other guards than those registered here: {', '.join(guards)}"
        raise Error(problem, "install the version of the code that it was released with")
    return guards


def named(manifest: Manifest) -> dict[str, str] | None:
    """The action of each guard that a manifest names, in order; None where it does not say."""
    serve = manifest.params.get("serve")
    actions = serve.get("guard") if isinstance(serve, dict) else None
    return {name: str(action) for name, action in actions.items()} if isinstance(actions, dict) else None
