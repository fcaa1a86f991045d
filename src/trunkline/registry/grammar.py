"""The grammar of the registry's tags, which is GTO's: what each tag's name says."""

import re
from typing import NamedTuple

from trunkline.errors import Error
from trunkline.registry.versions import SEMVER, Version

_NAME = r"[a-z0-9][a-z0-9_-]*"
_TAG = re.compile(
    rf"(?P<model>{_NAME})(?:"
    rf"@(?P<deprecated>deprecated)"
    rf"|@(?P<version>v{SEMVER})(?P<deregistered>!?)"
    rf"|#(?P<environment>{_NAME})(?P<unassigned>!?)#(?P<number>[1-9][0-9]*))",
    re.ASCII,
)


def is_name(text: str) -> bool:
    """Whether a text can name a model or an environment."""
    return re.fullmatch(_NAME, text, re.ASCII) is not None


class Registration(NamedTuple):
    """``model@v1.2.3``, or ``model@v1.2.3!`` which takes it back."""

    model: str
    version: Version
    withdrawn: bool = False


class Deprecation(NamedTuple):
    """``model@deprecated``: the model gets no further release."""

    model: str


class Assignment(NamedTuple):
    """``model#environment#N``, or ``model#environment!#N`` which takes it back."""

    model: str
    environment: str
    number: int
    withdrawn: bool = False


Event = Registration | Deprecation | Assignment


def parse(tag: str) -> Event | None:
    """The event that a tag's name says; None when it is no registry tag."""
    match = _TAG.fullmatch(tag)
    if match is None:
        return None
    model = match["model"]
    if match["deprecated"]:
        return Deprecation(model)
    if match["version"]:
        return Registration(model, Version(match["version"]), bool(match["deregistered"]))
    return Assignment(model, match["environment"], int(match["number"]), bool(match["unassigned"]))


def name(event: Event) -> str:
    """The tag that says an event: ``parse(name(event)) == event``."""
    match event:
        case Registration(model, version, withdrawn):
            return f"{model}@{version}{'!' if withdrawn else ''}"
        case Deprecation(model):
            return f"{model}@deprecated"
        case Assignment(model, environment, number, withdrawn):
            return f"{model}#{environment}{'!' if withdrawn else ''}#{number}"


def release(text: str, model: str) -> Version:
    """The version that a user means by ``v1.2.0`` or ``<model>@v1.2.0``.

    Raises:
        Error: it is neither, or another model's.
    """
    event = parse(text)
    if not isinstance(event, Registration):
        return Version(text)
    if event.model != model:
        raise Error(f"{text} is a release of {event.model}; this project is {model}", "give a version of this project")
    return event.version
