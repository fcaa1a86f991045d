"""What the tags say together: one model's versions, and what each environment serves."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from trunkline.records.release import Tag
from trunkline.registry.grammar import Assignment, Deprecation, Event, Registration, parse
from trunkline.registry.versions import Part, Version, is_version


class Assigned(NamedTuple):
    """What one assignment makes an environment serve.

    Attributes:
        version: None where the assigned commit has no version that stands.
        tag: the assignment's tag.
        named: as `version`, but also one that was withdrawn since.
    """

    version: Version | None
    number: int
    tag: Tag
    named: Version | None


class Model(NamedTuple):
    """One model's state.

    Attributes:
        versions: the tag of each version that stands, the oldest version first.
        environments: what each environment serves now; one that was emptied is absent.
        assignments: every assignment and withdrawal in the order of their numbers.
        deprecated: whether the model was retired.
        withdrawn: the tag of each version that was taken back, the oldest version first.
    """

    versions: Mapping[Version, Tag]
    environments: Mapping[str, Assigned]
    assignments: tuple[tuple[Assignment, Assigned], ...]
    deprecated: bool
    withdrawn: Mapping[Version, Tag]

    @property
    def latest(self) -> Version | None:
        """The newest version that stands; None before the first."""
        return max(self.versions, default=None)

    @property
    def next_number(self) -> int:
        """The counter of the next assignment."""
        return self.assignments[-1][0].number + 1 if self.assignments else 1

    def next_version(self, part: Part) -> Version:
        """The version of the next release: v0.1.0 for the first by minor, v1.0.0 and v0.0.1 alike.

        A withdrawn version is never given again: its tag is taken, and somebody may have its weights.
        """
        newest = max([*self.versions, *self.withdrawn], default=None)
        return (newest or Version("v0.0.0")).bumped(part)

    def served(self, environment: str) -> tuple[Version, ...]:
        """Every version that an environment has served, in order, withdrawn ones too; none twice in a row."""
        found: list[Version] = []
        for event, assigned in self.assignments:
            mine = event.environment == environment and not event.withdrawn
            if mine and assigned.named is not None and found[-1:] != [assigned.named]:
                found.append(assigned.named)
        return tuple(found)


EMPTY = Model({}, {}, (), deprecated=False, withdrawn={})


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
    gone = {event.version for event, _ in events if isinstance(event, Registration) and event.withdrawn}
    versions = {version: registered[version] for version in sorted(registered.keys() - gone)}
    withdrawn = {version: registered[version] for version in sorted(registered.keys() & gone)}
    # Of two versions on one commit the newer one that stands is assigned, unless the message names another.
    by_commit = {tag.commit: version for version, tag in [*withdrawn.items(), *versions.items()]}
    assignments = []
    environments: dict[str, Assigned] = {}
    for event, tag in sorted(_assignments(events), key=lambda pair: _order(pair[0])):
        named = _named(tag, registered) or by_commit.get(tag.commit)
        assigned = Assigned(named if named in versions else None, event.number, tag, named)
        assignments.append((event, assigned))
        if event.withdrawn:
            environments.pop(event.environment, None)
        else:
            environments[event.environment] = assigned
    deprecated = any(isinstance(event, Deprecation) for event, _ in events)
    return Model(versions, environments, tuple(assignments), deprecated, withdrawn)


def _assignments(events: list[tuple[Event, Tag]]) -> list[tuple[Assignment, Tag]]:
    return [(event, tag) for event, tag in events if isinstance(event, Assignment)]


def _order(event: Assignment) -> tuple[int, str, bool]:
    # Numbers tie when two machines assign in two environments at once, which no ref forbids.
    return event.number, event.environment, event.withdrawn


def _named(tag: Tag, registered: Mapping[Version, Tag]) -> Version | None:
    """The version that the first line of an assignment's message names, if it is one of that very commit."""
    for word in tag.message.partition("\n")[0].split():
        if is_version(word):
            version = Version(word)
            if version in registered and registered[version].commit == tag.commit:
                return version
    return None
