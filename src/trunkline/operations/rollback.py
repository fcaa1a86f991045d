"""Let an environment serve an earlier release again, with who decided and why; it pins, and ends a rollout there."""

from trunkline import registry
from trunkline.clients import actor
from trunkline.clients.git import branches, publishing, tags
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records.release import Change, Decision, Tag
from trunkline.records.rollout import Rollout
from trunkline.rollout import state as rollouts


def run(params: Params, to: str, reason: str, environment: str, by: str | None = None) -> str:
    """Assign a version that the environment has served before; from then on only a newer release is promoted.

    Args:
        to: ``v1.2.0`` or ``<model>@v1.2.0``.
        reason: why, in a sentence.
        environment: which environment.
        by: who decides; otherwise whoever GitHub Actions or Git's configuration names.

    Returns:
        What serves there now, where that was written, and the rollout that ended with it.

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
    branch, path = registry.branch(environment), registry.rollout_path(model)

    def decide(head: str | None, known: list[Tag]) -> Change:
        running = None if head is None else _running(branches.at(head, path), f"{path} of {branch}")
        if running is not None and running.stable == decision.version:
            _refuse_stable(running, registry.of(known, model))
        change = registry.rollback(registry.of(known, model), decision)
        return change if running is None else change._replace(files={**change.files, path: _ended(running, decision)})

    change = publishing.publish(branch, decide)
    told = registry.told(decision, change, tags.origin())
    ended = "\nit ended the rollout that ran there: see `trunkline rollout status`" if path in change.files else ""
    return f"{told}{ended}"


def _running(content: bytes | None, where: str) -> Rollout | None:
    """The rollout that is not over; what cannot be read must not stand in a rollback's way."""
    try:
        found = None if content is None else Rollout.parse(content, where)
    except Error:
        return None
    return None if found is None or found.over else found


def _refuse_stable(running: Rollout, state: registry.Model) -> None:
    serves = state.environments.get(running.environment)
    if serves is not None and str(serves.named) == running.stable:
        problem = f"{running.environment} already serves {running.stable}, and tries {running.canary}"
        raise Error(problem, "`trunkline rollout rollback --reason TEXT` ends that")


def _ended(running: Rollout, decision: Decision) -> bytes:
    return rollouts.by_human(running, "rollback", decision.reason, decision.by, decision.created).yaml().encode()
