"""Whether a canary that is heard of too little still serves: by what its gateway, which probes it, says of it."""

from trunkline import exposition
from trunkline.clients import gateway
from trunkline.params import Params
from trunkline.records.rollout import Rollout

_UP = "trunkline_engine_up_ratio"


def probe(params: Params, rollout: Rollout) -> bool | None:
    """Whether the canary's engine proves its release to the gateway of this machine.

    The gateway asks its engines again and again what they are, and has them generate. Only where stable proves
    itself there too does this say something of the canary.

    Returns:
        None where it cannot be told: no gateway answers at ``serve.gateway.listen``, it serves something else, or
        stable does not prove itself either.
    """
    settings = params.serve
    text = gateway.metrics(gateway.url_of(settings.gateway.listen), settings.timeouts.connect)
    lines = (text or "").splitlines()
    stable = f"{rollout.model}@{rollout.stable}"
    if _line(stable, "stable", up=True) not in lines:
        return None
    canary = f"{rollout.model}@{rollout.canary}"
    told = [up for up in (True, False) if _line(canary, "canary", up) in lines]
    return told[0] if told else None


def _line(release: str, arm: str, up: bool) -> str:
    return exposition.sample(_UP, {"release": release, "arm": arm}, float(up))
