"""Decide again on a recorded log, and write the live one down as such a log."""

from pathlib import Path

from trunkline import params as settings
from trunkline import rollout
from trunkline.clients import files
from trunkline.operations.rollout.branch import Branch
from trunkline.operations.rollout.reading import Reader
from trunkline.params import Params
from trunkline.records.rollout import Plan
from trunkline.verdict import Verdict


def replay(params: Params, log: Path, plan: Path | None) -> tuple[str, Verdict]:
    """Decide as if the rows of a log were just coming in.

    Args:
        log: Parquet with time, unit, arm, weight and the plan's columns, one row a request, by time.
        plan: the plan's file; None takes the section of params.yaml.

    Returns:
        A line of JSON for each decision that differs from the one before, the final one last; and its verdict.

    Raises:
        Error: the log or the plan cannot be read, or do not fit each other.
    """
    chosen: Plan = params.rollout if plan is None else settings.load_plan(plan)
    table = files.read_parquet(log, "give a Parquet file with one row a request")
    decisions = list(rollout.changes(chosen, rollout.from_table(table, chosen)))
    return "\n".join(decision.model_dump_json() for decision in decisions), decisions[-1].verdict


def export(params: Params, environment: str, out: Path, now: float) -> tuple[str, Verdict]:
    """Write the log of an environment's last rollout, with stable's rows before it, and its plan beside it.

    Raises:
        Error: there was no rollout, or the prediction log does not answer.
    """
    branch = Branch(params.project.name, environment)
    last = branch.known(branch.head())
    table = Reader(params, last).whole(now)
    files.write_table(out, table)
    plan = out.with_suffix(".plan.yaml")
    files.write_text(plan, last.plan.yaml())
    text = f"{table.height:,} rows of {last.name} written to {out}, its plan to {plan}"
    return f"{text}\nnext: `trunkline rollout replay {out} --plan {plan}`", Verdict.PASS
