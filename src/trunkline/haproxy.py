"""HAProxy's configuration for machines without Kubernetes: the very assignment of `trunkline.assignment`.

HAProxy hashes as we do (the first 8 bytes of SHA-256 of the unit, XXH64 with the salt's seed, modulo 2^53), so
it, a gateway and the analysis agree on every unit's arm. A request without a unit gets one of its own, a random
UUID. What changes during a rollout is one entry of a map file, which the runtime API sets without a reload.
"""

import math

from trunkline import assignment, templating
from trunkline.errors import Error
from trunkline.params.deploy import HAProxyParams

# The map's only entry: its key, and how many of the 2^53 positions are the canary's, with the weight they make.
KEY = "canary"


def render(salt: str, params: HAProxyParams) -> str:
    """The configuration file of a rollout; it is the same for all of its weights."""
    return templating.fill(
        "haproxy.cfg.j2",
        params=params,
        backends={"stable": params.stable, "canary": params.canary},
        seed=assignment.seed_of(salt),
        most=assignment.POSITIONS - 1,
        key=KEY,
    )


def entry(weight: float) -> str:
    """The map's entry for a weight: whoever stands below ``ceil(weight * 2^53)`` is on the canary.

    Raises:
        Error: the weight is not from 0 to 1.
    """
    if not 0 <= weight <= 1:
        raise Error(f"{weight} is not a weight", "give the canary's share of the units, from 0 to 1")
    return f"{math.ceil(weight * assignment.POSITIONS)}:{weight!r}"


def map_file(weight: float) -> str:
    """The map file: what HAProxy starts with, so that a weight outlives it.

    Raises:
        Error: the weight is not from 0 to 1.
    """
    return f"{KEY} {entry(weight)}\n"
