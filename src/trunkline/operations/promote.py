"""Let an environment serve a release: its tag and the environment's branch, in one push."""

from trunkline import registry
from trunkline.clients import actor
from trunkline.clients.git import publishing, tags
from trunkline.params import Params


def run(params: Params, version: str, to: str, reason: str | None = None, by: str | None = None) -> str:
    """Assign a version to the environment ``to``; promoting what serves there already changes nothing.

    Args:
        version: ``v1.2.0`` or ``<model>@v1.2.0``.
        reason: why, in a sentence.
        by: who decides; otherwise whoever GitHub Actions or Git's configuration names.

    Returns:
        What serves there now, and where that was written.

    Raises:
        Error: the version may not be promoted there, nobody is named, or the remote did not take it.
    """
    model = params.project.name
    why = " ".join((reason or "").split()) or "no reason given"
    said = {"model": model, "environment": to, "version": str(registry.release(version, model))}
    decision = actor.decision({**said, "action": "promote", "reason": why}, by)
    change = publishing.publish(lambda known: registry.promote(registry.of(known, model), decision))
    return registry.told(decision, change, tags.origin())
