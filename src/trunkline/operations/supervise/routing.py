"""Which engine answers which units: decided by what is asked for, what was proved, and what served until now."""

from collections.abc import Mapping
from typing import NamedTuple

from trunkline.operations.supervise.desired import Desired
from trunkline.records.traffic import Served, Traffic


class Place(NamedTuple):
    """For what the traffic is."""

    model: str
    environment: str


def route(place: Place, desired: Desired, proved: Mapping[str, Served], before: Traffic | None) -> Traffic | None:
    """What the gateway shall do now; None before the first engine was proved.

    An arm changes its release only to one whose engine was proved; until then the old one goes on. What a rollout
    no longer asks for ends at once, without waiting for anything. An engine that has an arm and is down keeps it: its
    requests fail, and count; it gets no other before it is proved again.

    Args:
        place: whose.
        desired: what is asked for.
        proved: by version: the engines that were proved since they were last started.
        before: what the gateway does until now.
    """
    served = _known(place, before) | dict(proved)
    stable = served.get(desired.stable) or (before.stable if before is not None else None)
    if stable is None:
        return None
    arrived = stable.release == f"{place.model}@{desired.stable}"
    asked = desired.canary
    canary = served.get(asked.version) if arrived and asked is not None else None
    if asked is None or canary is None:
        return Traffic(environment=place.environment, rollout=None, salt=None, weight=0, stable=stable, canary=None)
    return Traffic(
        environment=place.environment,
        rollout=asked.rollout,
        salt=asked.salt,
        weight=asked.weight,
        stable=stable,
        canary=canary,
        shadow=asked.shadow,
    )


def told(traffic: Traffic) -> str:
    """Who answers what, in words."""
    if traffic.canary is None:
        return f"{traffic.stable.release} answers everything"
    if traffic.shadow is not None:
        asked = f"{traffic.shadow.share:.4g} of the requests, as a shadow ({traffic.rollout})"
        return f"{traffic.stable.release} answers everything, and {traffic.canary.release} is asked {asked}"
    return (
        f"{traffic.stable.release} answers {1 - traffic.weight:.4g} of the units, {traffic.canary.release} "
        f"{traffic.weight:.4g} ({traffic.rollout})"
    )


def versions(place: Place, traffic: Traffic | None) -> list[str]:
    """The versions that traffic goes to, stable first."""
    return [*_known(place, traffic)]


def _known(place: Place, traffic: Traffic | None) -> dict[str, Served]:
    """The engines that traffic goes to already, by version."""
    if traffic is None:
        return {}
    arms = [traffic.stable] if traffic.canary is None else [traffic.stable, traffic.canary]
    return {arm.release.removeprefix(f"{place.model}@"): arm for arm in arms}
