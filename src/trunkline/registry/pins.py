"""Which release a branch is compared with: what serves in production, or one that is named."""

from typing import NamedTuple

from trunkline.errors import Error
from trunkline.registry.rules import PRODUCTION
from trunkline.registry.state import Model
from trunkline.registry.versions import Version


class Pin(NamedTuple):
    """A release or revision by its name, and its commit."""

    name: str
    commit: str


def serving(state: Model) -> Pin | None:
    """What serves in production; None before anything does.

    Raises:
        Error: what serves is no release, or one that was withdrawn.
    """
    serves = state.environments.get(PRODUCTION)
    if serves is None:
        return None
    if serves.named is None:
        commit = serves.tag.commit
        raise Error(f"production serves {commit[:12]}, which is no release", f"pin it by `trunkline pin {commit}`")
    return pinnable(state, serves.named)


def pinnable(state: Model, version: Version) -> Pin:
    """A release that stands.

    Raises:
        Error: it was withdrawn, or there is none of this version.
    """
    if version in state.withdrawn:
        raise Error(f"{version} was withdrawn", "promote a newer release or roll back, then pin what serves")
    if version not in state.versions:
        known = ", ".join(map(str, [*state.versions][-5:])) or "none yet"
        raise Error(f"there is no release {version}", f"pin a release ({known}), a Git revision, or `base`")
    return Pin(str(version), state.versions[version].commit)
