"""Decide again on a recorded log, and write the live one down as such a log."""

import logging
from pathlib import Path

from trunkline import params as settings
from trunkline import rollout
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.operations.rollout.branch import Branch
from trunkline.operations.rollout.reading import Reader
from trunkline.params import Params
from trunkline.records.rollout import LOG_COLUMNS, Plan
from trunkline.verdict import Verdict

_log = logging.getLogger(__name__)


def replay(params: Params, log: Path, plan: Path | None, split: float | None) -> tuple[str, Verdict]:
    """Decide as if the rows of a log were just coming in.

    Args:
        log: Parquet with time, unit, arm, weight and the plan's columns, one row a request, by time.
        plan: the plan's file; None takes the section of params.yaml.
        split: the canary's share of the units, to judge the log as an A/B test; None judges as the plan says.

    Returns:
        A line of JSON for each decision that differs from the one before, the final one last; and its verdict.

    Raises:
        Error: the log or the plan cannot be read, or do not fit each other or the split.
    """
    chosen: Plan = params.rollout if plan is None else settings.load_plan(plan)
    chosen = chosen if split is None else chosen.tested_at(split)
    table = files.read_parquet(log, "give a Parquet file with one row a request")
    rows = rollout.from_table(table, chosen)
    if copies := table.height - table.select(*LOG_COLUMNS, *chosen.metrics).n_unique():
        text = "replay  %d of %d rows are copies of others: take them out if a join made them, as each counts"
        _log.warning(text, copies, table.height)
    if split is not None:
        _check_split(rows, split)
    decisions = list(rollout.changes(chosen, rows))
    return "\n".join(decision.model_dump_json() for decision in decisions), decisions[-1].verdict


def _check_split(rows: rollout.Rows, split: float) -> None:
    """An A/B test has one share from its first request to its last."""
    had = sorted({weight for weight in rows.weight.tolist() if weight > 0})
    if had not in ([], [split]):
        shares = ", ".join(f"{weight:g}" for weight in had)
        hint = f"give --split {shares}" if len(had) == 1 else "a ramp is no A/B test: leave --split out"
        raise Error(f"the log's canary had {shares} of the units, not the split {split:g}", hint)


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
