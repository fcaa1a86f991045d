"""What a rollout becomes: by its start, by a decision of the analysis, or by a human's.

Pure, so that whoever lost a race decides anew by what the winner wrote: a decision that was carried out already
changes nothing.
"""

from collections.abc import Sequence
from typing import Literal

from trunkline import registry
from trunkline.errors import Error
from trunkline.records.release import Decision as Assigned
from trunkline.records.rollout import Plan, Rollout
from trunkline.registry import Model, Version
from trunkline.rollout import shadow, started
from trunkline.rollout.decision import Decision

STATISTICS = "trunkline"
HUMAN = "human"
# What a human may be asked about, and answer with `resume`.
QUESTIONS = ("sample ratio", "horizon", "pairs")
By = Literal["promote", "hold", "resume", "rollback"]
BY_HUMAN: tuple[By, ...] = ("promote", "hold", "resume", "rollback")


def past(contents: Sequence[bytes], where: str) -> list[Rollout]:
    """All that the branch's history says, the oldest first, each held against its start.

    What was no rollout and was mended since is passed over.

    Raises:
        Error: the last one is no rollout.
    """
    found: list[Rollout] = []
    starts: dict[str, Rollout] = {}
    for number, content in enumerate(contents, start=1):
        try:
            each = Rollout.parse(content, where)
        except Error:
            if number == len(contents):
                raise
            continue
        found.append(started.against(each, starts.setdefault(each.name, each)).rollout)
    return found


def rejected(history: Sequence[Rollout]) -> Version | None:
    """The newest version that a rollout was rolled back from; None where there is none."""
    return max((Version(each.canary) for each in history if each.state == "rolled_back"), default=None)


def trial(state: Model, environment: str, history: Sequence[Rollout]) -> Rollout | None:
    """The rollout that runs or is held in an environment; None where it is over, or something else was assigned."""
    last, serves = history[-1] if history else None, state.environments.get(environment)
    if last is None or last.over or serves is None or last.assigned != serves.tag.name:
        return None
    return last


def check_promotion(wanted: Assigned, state: Model, history: Sequence[Rollout]) -> None:
    """Refuse to promote past a rollout; what serves already may be promoted again, as that changes nothing.

    Args:
        wanted: the promotion.
        state: of the registry.
        history: of the environment's branch.

    Raises:
        Error: a rollout runs there, or one was rolled back from this version or a newer one.
    """
    serves = state.environments.get(wanted.environment)
    if serves is not None and str(serves.named) == wanted.version:
        return
    where = "" if wanted.environment == registry.PRODUCTION else f" --environment {wanted.environment}"
    if (runs := trial(state, wanted.environment, history)) is not None:
        problem = f"{wanted.environment} is trying {runs.canary}, since {runs.started}"
        hint = f"end it: `trunkline rollout promote{where} --reason TEXT` once it is held, or `rollback`"
        raise Error(problem, hint)
    bad = rejected(history)
    if bad is not None and Version(wanted.version) <= bad:
        problem = f"{wanted.version} is not promoted to {wanted.environment}: a rollout of {bad} was rolled back there"
        hint = f"promote a newer one; to try it again: `trunkline rollout start {wanted.version}{where} --reason TEXT`"
        raise Error(problem, hint)


def start(wanted: Assigned, plan: Plan, state: Model, history: Sequence[Rollout], again: bool) -> Rollout:
    """A rollout in its shadow, or at its first step where its plan has none.

    Args:
        wanted: the promotion that it may lead to; its time, reason and author are the start's.
        plan: with a salt.
        state: of the registry.
        history: of the environment's branch.
        again: whether a human said why, so that a version may be tried that was rolled back, or was not compared with
            what serves.

    Raises:
        Error: the version may not be promoted, or not be tried; another rollout runs; or nothing serves.
    """
    _check_free(wanted, state, history)
    registry.promote(state, wanted)
    wanted = registry.admitted(wanted, state, said=again)
    bad = rejected(history)
    if bad is not None and Version(wanted.version) <= bad and not again:
        problem = f"{wanted.version} is not tried in {wanted.environment}: {bad} was rolled back there"
        raise Error(problem, "only a newer release starts by itself; to try it all the same, say why with --reason")
    before = {each.name for each in history if each.canary == wanted.version}
    step = plan.steps[0].weight if plan.shadow is None else 0.0
    return Rollout(
        name=f"{wanted.model}#{wanted.environment}#{wanted.version}#{len(before) + 1}",
        model=wanted.model,
        environment=wanted.environment,
        stable=str(state.environments[wanted.environment].named),
        canary=wanted.version,
        state="running",
        weight=step,
        plan=plan,
        started=wanted.created,
        since=wanted.created,
        action="start",
        because=HUMAN if again else "start",
        reason=wanted.reason,
        by=wanted.by,
        assigned=state.environments[wanted.environment].tag.name,
    )


def _check_free(wanted: Assigned, state: Model, history: Sequence[Rollout]) -> None:
    serves = state.environments.get(wanted.environment)
    if serves is None or serves.named is None:
        problem = f"{wanted.environment} serves no release yet that {wanted.version} could be compared with"
        raise Error(problem, f"`trunkline promote {wanted.version} --to {wanted.environment}`")
    if str(serves.named) == wanted.version:
        raise Error(f"{wanted.environment} serves {wanted.version} already", "see `trunkline status`")
    if (runs := trial(state, wanted.environment, history)) is not None:
        problem = f"{wanted.environment} is trying {runs.canary} already, since {runs.started}"
        raise Error(problem, "wait for it, or `trunkline rollout rollback --reason TEXT`")


def after(rollout: Rollout, decision: Decision, now: str) -> Rollout | None:
    """What a rollout becomes by a decision of the analysis; None where it stays as it is.

    A rollout that is held for a human still ends by what is shown to be worse, and by nothing else.

    Args:
        now: UTC time, ISO 8601.
    """
    said = {
        "since": now,
        "action": decision.action,
        "because": decision.because,
        "reason": decision.reason,
        "by": STATISTICS,
    }
    if rollout.over:
        return None
    if decision.action in ("rollback", "stop"):
        return rollout.model_copy(update={**said, "state": "rolled_back", "weight": 0.0})
    if rollout.state == "held":
        return None
    if decision.action == "advance" and decision.to is not None and decision.to > rollout.weight:
        return rollout.model_copy(update={**said, "weight": decision.to})
    if decision.action == "promote":
        return rollout.model_copy(update={**said, "state": "promoted", "weight": 1.0})
    # Two may look at once: what one asks about the shadow, the other may have found already.
    if decision.human and (decision.because != "pairs" or shadow.runs(rollout)):
        return rollout.model_copy(update={**said, "state": "held"})
    return None


def overtaken(rollout: Rollout, serves: str, tag: str, now: str) -> Rollout | None:
    """What becomes of a rollout when something was assigned to the environment meanwhile; None while nothing was.

    Args:
        serves: the version that the environment's branch says.
        tag: the assignment's, there.
        now: UTC time, ISO 8601.
    """
    if rollout.over or tag == rollout.assigned:
        return None
    arrived = serves == rollout.canary
    said = {
        "state": "promoted" if arrived else "rolled_back",
        "weight": 1.0 if arrived else 0.0,
        "since": now,
        "action": "promote" if arrived else "rollback",
        "because": "overtaken",
        "reason": f"{rollout.environment} was given {serves} by {tag} meanwhile",
        "by": STATISTICS,
    }
    return rollout.model_copy(update=said)


def by_human(rollout: Rollout, action: By, reason: str, by: str, now: str) -> Rollout:
    """What a rollout becomes by a human's decision.

    Raises:
        Error: it is over, or is not where this can be decided.
    """
    if rollout.over:
        what = "promoted" if rollout.state == "promoted" else "rolled back"
        served = what == "promoted" and action == "rollback"
        raise Error(
            f"nothing runs: {rollout.canary} was {what} at {rollout.since} by {rollout.by}",
            "`trunkline rollback --to VERSION --reason TEXT` lets an earlier release serve again"
            if served
            else "`trunkline rollout start VERSION` begins another",
        )
    said = {"since": now, "action": action, "because": HUMAN, "reason": reason, "by": by}
    match action:
        case "rollback":
            return rollout.model_copy(update={**said, "state": "rolled_back", "weight": 0.0})
        case "hold":
            _check_state(rollout, "running", "it is held already")
            return rollout.model_copy(update={**said, "state": "held"})
        case "resume":
            _check_state(rollout, "held", "it runs")
            answered = {rollout.because} & set(QUESTIONS)
            accepted = tuple(dict.fromkeys((*rollout.accepted, *sorted(answered))))
            return rollout.model_copy(update={**said, "state": "running", "accepted": accepted})
        case "promote":
            _check_state(rollout, "held", "it still runs: first `trunkline rollout hold --reason TEXT`")
            return rollout.model_copy(update={**said, "state": "promoted", "weight": 1.0})


def _check_state(rollout: Rollout, wanted: str, otherwise: str) -> None:
    if rollout.state != wanted:
        problem = f"{rollout.canary} in {rollout.environment} cannot: {otherwise}"
        raise Error(problem, f"since {rollout.since} by {rollout.by}: {rollout.reason}")


def line(rollout: Rollout) -> str:
    """What was done last, in a line: the first of its commit's message."""
    share = "" if rollout.over else " as a shadow" if shadow.runs(rollout) else f" at {rollout.weight:.4g}"
    return f"{rollout.model} {rollout.canary} in {rollout.environment}: {rollout.action}{share}"
