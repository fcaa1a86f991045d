"""Judge a canary by its log; so far a recorded one."""

from pathlib import Path

from trunkline import params as settings
from trunkline import rollout
from trunkline.clients import files
from trunkline.params import Params
from trunkline.records.rollout import Plan
from trunkline.verdict import Verdict


def run(params: Params, action: str, log: Path, plan: Path | None) -> tuple[str, Verdict]:
    """Replay a recorded log: decide as if its rows were just coming in.

    Args:
        action: ``replay``.
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
