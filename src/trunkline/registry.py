"""The registry: Git tags are events, and what they say together is the state.

The grammar is that of GTO 1.x, so GTO reads our tags: ``<model>@v1.2.3`` registers a version,
``<model>@v1.2.3!`` deregisters it, ``<model>@deprecated`` retires the model, ``<model>#<environment>#<N>``
assigns a version to an environment and ``<model>#<environment>!#<N>`` takes it away. N is one counter for all
environments of a model. The counter decides what came last, never a clock: two machines' clocks differ.
"""

import re
from collections.abc import Iterable, Mapping
from functools import total_ordering
from typing import Literal, NamedTuple

from trunkline.errors import Error
from trunkline.records.release import Tag

_NAME = r"[a-z0-9][a-z0-9_-]*"
_NUMBER = r"(?:0|[1-9][0-9]*)"
_LABEL = rf"(?:{_NUMBER}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = (
    rf"(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER})"
    rf"(?:-(?P<pre>{_LABEL}(?:\.{_LABEL})*))?(?:\+(?P<build>[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)
_VERSION = re.compile(f"v{_SEMVER}", re.ASCII)
_TAG = re.compile(
    rf"(?P<model>{_NAME})(?:"
    rf"@(?P<deprecated>deprecated)"
    rf"|@(?P<version>v{_SEMVER})(?P<deregistered>!?)"
    rf"|#(?P<environment>{_NAME})(?P<unassigned>!?)#(?P<number>[1-9][0-9]*))",
    re.ASCII,
)
Part = Literal["major", "minor", "patch"]
PARTS: tuple[Part, ...] = ("major", "minor", "patch")


@total_ordering
class Version:
    """A semantic version, written with a ``v``; ordered as semver.org 2.0.0 says (§11), build metadata last.

    Args:
        text: such as ``v1.2.3`` or ``v1.0.0-rc.1``.

    Raises:
        Error: it is none.
    """

    __slots__ = ("_key", "_text")

    def __init__(self, text: str) -> None:
        match = _VERSION.fullmatch(text)
        if match is None:
            raise Error(f"{text!r} is not a version", "write it like v1.2.3")
        core = tuple(int(match[part]) for part in PARTS)
        # A release is newer than its pre-releases; numeric labels are older than words.
        labels = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in (match["pre"] or "").split(".") if p)
        self._key = (core, not labels, labels, match["build"] or "")
        self._text = text

    def bumped(self, part: Part) -> "Version":
        """The next final version: of a pre-release, the version that it leads to."""
        (major, minor, patch), final, *_ = self._key
        if part == "major":
            return Version(f"v{major + 1}.0.0")
        if part == "minor":
            return Version(f"v{major}.{minor + 1}.0")
        return Version(f"v{major}.{minor}.{patch + 1 if final else patch}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key == other._key

    def __lt__(self, other: "Version") -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Version({self._text!r})"


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


class Assigned(NamedTuple):
    """What an environment serves, by one assignment.

    Attributes:
        version: None where the assigned commit has no registered version.
        tag: the assignment's tag.
    """

    version: Version | None
    number: int
    tag: Tag


class Model(NamedTuple):
    """One model's state.

    Attributes:
        versions: the tag of each version that stands, the oldest version first.
        environments: what each environment serves now; one that was emptied is absent.
        assignments: every assignment and withdrawal in the order of their numbers.
        deprecated: whether the model was retired.
    """

    versions: Mapping[Version, Tag]
    environments: Mapping[str, Assigned]
    assignments: tuple[tuple[Assignment, Assigned], ...]
    deprecated: bool

    @property
    def latest(self) -> Version | None:
        """The newest version that stands; None before the first."""
        return max(self.versions, default=None)

    @property
    def next_number(self) -> int:
        """The counter of the next assignment."""
        return self.assignments[-1][0].number + 1 if self.assignments else 1

    def next_version(self, part: Part) -> Version:
        """The version of the next release; v0.1.0 for the first by minor, v1.0.0 and v0.0.1 alike."""
        return (self.latest or Version("v0.0.0")).bumped(part)


EMPTY = Model({}, {}, (), deprecated=False)


def fold(tags: Iterable[Tag]) -> dict[str, Model]:
    """The state of every model that the tags speak of; tags of other grammars are passed over.

    Args:
        tags: in any order.
    """
    events: dict[str, list[tuple[Event, Tag]]] = {}
    for tag in tags:
        event = parse(tag.name)
        if event is not None:
            events.setdefault(event.model, []).append((event, tag))
    return {model: _fold(found) for model, found in sorted(events.items())}


def of(tags: Iterable[Tag], model: str) -> Model:
    """One model's state; `EMPTY` when no tag speaks of it."""
    return fold(tag for tag in tags if tag.name.startswith(model)).get(model, EMPTY)


def _fold(events: list[tuple[Event, Tag]]) -> Model:
    registered = {
        event.version: tag for event, tag in events if isinstance(event, Registration) and not event.withdrawn
    }
    withdrawn = {event.version for event, _ in events if isinstance(event, Registration) and event.withdrawn}
    versions = {version: registered[version] for version in sorted(registered.keys() - withdrawn)}
    # Of two versions on one commit the newer one is assigned, unless the message names the other.
    by_commit = {tag.commit: version for version, tag in versions.items()}
    assigned = sorted(
        ((event, tag) for event, tag in events if isinstance(event, Assignment)), key=lambda pair: pair[0].number
    )
    environments: dict[str, Assigned] = {}
    history = []
    for event, tag in assigned:
        state = Assigned(_version(tag, by_commit, versions), event.number, tag)
        history.append((event, state))
        if event.withdrawn:
            environments.pop(event.environment, None)
        else:
            environments[event.environment] = state
    deprecated = any(isinstance(event, Deprecation) for event, _ in events)
    return Model(versions, environments, tuple(history), deprecated)


def _version(tag: Tag, by_commit: Mapping[str, Version], versions: Mapping[Version, Tag]) -> Version | None:
    for word in tag.message.partition("\n")[0].split():
        if _VERSION.fullmatch(word) and Version(word) in versions and versions[Version(word)].commit == tag.commit:
            return Version(word)
    return by_commit.get(tag.commit)
