"""Let an environment serve an earlier release again, with who decided and why; it pins."""

from trunkline import registry
from trunkline.clients import actor
from trunkline.clients.git import publishing, tags
from trunkline.errors import Error
from trunkline.params import Params


def run(params: Params, to: str, reason: str, environment: str, by: str | None = None) -> str:
    """Assign a version that the environment has served before; from then on only a newer release is promoted.

    Args:
        to: ``v1.2.0`` or ``<model>@v1.2.0``.
        reason: why, in a sentence.
        environment: which environment.
        by: who decides; otherwise whoever GitHub Actions or Git's configuration names.

    Returns:
        What serves there now, and where that was written.

    Raises:
        Error: there is no reason, the version never served there or does so now, nobody is named, or the remote
            did not take it.
    """
    model = params.project.name
    why = " ".join(reason.split())
    if not why:
        raise Error("a rollback needs a reason", "say it with --reason, for those who will ask later")
    said = {"model": model, "environment": environment, "version": str(registry.release(to, model))}
    decision = actor.decision({**said, "action": "rollback", "reason": why}, by)
    change = publishing.publish(lambda known: registry.rollback(registry.of(known, model), decision))
    return registry.told(decision, change, tags.origin())
