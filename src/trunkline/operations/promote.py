"""Let an environment serve a release: its tag and the environment's branch, in one push."""

from trunkline import registry
from trunkline.clients import actor
from trunkline.clients.git import branches, publishing, tags
from trunkline.params import Params
from trunkline.records.release import Change, Tag
from trunkline.rollout import state as rollouts


def run(params: Params, version: str, to: str, reason: str | None = None, by: str | None = None) -> str:
    """Assign a version to the environment ``to``; promoting what serves there already changes nothing.

    Args:
        version: ``v1.2.0`` or ``<model>@v1.2.0``.
        reason: why, in a sentence; asked for where the release was not compared with what serves.
        by: who decides; otherwise whoever GitHub Actions or Git's configuration names.

    Returns:
        What serves there now, and where that was written.

    Raises:
        Error: the version may not be promoted there, or was not compared with what serves, a rollout runs there or was
            rolled back from it, nobody is named, or the remote did not take it.
    """
    model = params.project.name
    why = " ".join((reason or "").split()) or "no reason given"
    said = {"model": model, "environment": to, "version": str(registry.release(version, model))}
    wanted = decided = actor.decision({**said, "action": "promote", "reason": why}, by)
    branch, path = registry.branch(to), registry.rollout_path(model)

    def decide(head: str | None, known: list[Tag]) -> Change:
        nonlocal decided
        contents = [] if head is None else branches.versions(head, path)
        there = registry.of(known, model)
        rollouts.check_promotion(wanted, there, rollouts.past(contents, f"{path} of {branch}"))
        registry.promote(there, wanted)
        decided = registry.admitted(wanted, there, said=bool(reason))
        return registry.promote(there, decided)

    change = publishing.publish(branch, decide)
    told = registry.told(decided, change, tags.origin())
    return told if decided == wanted else f"{told}\nnote: {decided.reason}"
