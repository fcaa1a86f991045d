"""What an environment served at a moment, by the registry's tags."""

from datetime import datetime
from typing import NamedTuple

from trunkline import moments, registry
from trunkline.clients.git import tags
from trunkline.errors import Error
from trunkline.records.release import Manifest
from trunkline.registry import Entry, Version


class Served(NamedTuple):
    """A release that serves.

    Attributes:
        name: as the prediction log has it, ``<model>@v1.2.0``.
        since: when it began to serve, UTC.
        before: the version that served before it; None for the first.
        history: every assignment of the environment up to then.
    """

    name: str
    manifest: Manifest
    since: datetime
    before: str | None
    history: tuple[Entry, ...]


def find(model: str, environment: str, until: datetime) -> Served:
    """The release that served at a moment.

    Raises:
        Error: none did, or nobody knows what it was made from.
    """
    state = registry.of(tags.known(), model)
    known = [one for one in registry.history(state, environment) if moments.parse(one.time) <= until]
    # What was decided later had not ended anything then.
    entries = [one._replace(until=None) if _later(one, until) else one for one in known]
    if not entries or entries[-1].action == "empty":
        hint = f"`trunkline promote VERSION --to {environment}` lets one serve; see `trunkline history`"
        raise Error(f"no release of {model} serves in {environment}", hint)
    last = entries[-1]
    if last.version is None:
        raise Error(f"{last.tag} assigns a commit that is no release", "release it, and promote that release")
    place = len(entries) - 1
    while place > 0 and entries[place - 1].version == last.version:
        place -= 1
    tag = {**state.withdrawn, **state.versions}[Version(last.version)]
    return Served(
        name=tag.name,
        manifest=Manifest.of(tag),
        since=moments.parse(entries[place].time),
        before=entries[place - 1].version if place else None,
        history=tuple(entries),
    )


def _later(entry: Entry, until: datetime) -> bool:
    return entry.until is not None and moments.parse(entry.until) > until
