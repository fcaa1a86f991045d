"""What the commit of a step says: first for whoever looks at the branch, then the whole decision as JSON."""

from trunkline.operations.rollout import tables
from trunkline.operations.rollout.reading import Seen
from trunkline.records.rollout import Rollout
from trunkline.rollout import shadow, state
from trunkline.rollout.evidence import ratio_level
from trunkline.sequential import spent
from trunkline.words import number, share, unlinked


def message(rollout: Rollout, seen: Seen | None) -> str:
    """A commit's message.

    Args:
        rollout: as it becomes.
        seen: what it was decided by; None where a human decided, or another tool.
    """
    said = [unlinked(rollout.reason), "", f"by {unlinked(rollout.by)}, because: {rollout.because}"]
    evidence = [] if seen is None else _evidence(rollout, seen)
    whole = "" if seen is None else f"\n{seen.decision.text()}"
    lines = [state.line(rollout), "", *said, *evidence, f"share from now on: {share(rollout.weight)} of the units"]
    return "\n".join([*lines, f"next: {_next(rollout)}\n"]) + whole


def _evidence(rollout: Rollout, seen: Seen) -> list[str]:
    """By what it was decided, each against its limit."""
    decision, plan = seen.decision, rollout.plan
    planned = f" of {plan.horizon_minutes:g}" if decision.weight > 0 else ""
    said = [f"verdict: {decision.verdict}, after {decision.minutes:.3g}{planned} minutes", "", *tables.lines(seen), ""]
    if decision.weight > 0:
        said += [f"e-value of wrong shares: {number(decision.e_ratio)}, limit {number(1 / ratio_level(plan))}"]
    if decision.worse_than is not None:
        worst = number(100 * spent(plan.alpha.planned, decision.minutes, plan.horizon_minutes))
        said += [f"looks worse than {share(decision.worse_than)} of the canaries that were not deployed,"]
        said += [f"of which the worst {worst} % would have been rolled back so far"]
    return said


def _next(rollout: Rollout) -> str:
    """What is waited for from here on."""
    plan = rollout.plan
    if rollout.over:
        return "nothing more is decided"
    if rollout.state == "held":
        return "a human decides: `trunkline rollout resume`, `promote` or `rollback`"
    proof = f"an e-value of {1 / plan.beta:g} for every signal that it is no worse than its margin"
    if plan.shadow is not None and shadow.runs(rollout):
        return f"{plan.shadow.minutes:g} minutes of shadow, or {proof}"
    if plan.ab:
        return f"the A/B test lasts {plan.horizon_minutes:g} minutes, then a human decides"
    step = next((step for step in reversed(plan.steps) if step.weight <= rollout.weight), plan.steps[0])
    return f"at least {step.minutes:g} minutes, and {proof}"
