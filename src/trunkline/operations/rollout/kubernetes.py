"""The analysis that a Kubernetes Job runs: of a canary's release, without a rollout on the branch."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl

from trunkline import registry
from trunkline.clients import predictions
from trunkline.operations.rollout.reading import SETTLES_S
from trunkline.params import Params
from trunkline.records.prediction import Selection
from trunkline.records.rollout import Plan
from trunkline.rollout import requests, unhashed
from trunkline.verdict import Verdict


class Asked(NamedTuple):
    """What a Job asks about.

    Attributes:
        canary: ``v1.2.0`` or ``<model>@v1.2.0``.
        weight: of the step that is to be left; None asks only whether the canary is worse.
        environment: None takes that of the canary's last request.
    """

    canary: str
    weight: float | None
    environment: str | None


def analyse(params: Params, asked: Asked, now: float) -> tuple[str, Verdict]:
    """Judge a release that is served as canary by what the prediction log holds of it since its first request.

    Args:
        asked: by the Job.
        now: seconds since 1970.

    Returns:
        The decision as a line of JSON; and fail when the canary is worse, pass when every signal is within the
        margins of the step, and inconclusive otherwise.

    Raises:
        Error: this is no version, the plan asks for what is not logged, or the log does not answer.
    """
    requests.check(params.rollout, params.serve.guard, params.serve.log.output)
    windows = float(params.deploy.kubernetes.poll_seconds)
    plan = params.rollout.model_copy(update={"method": "counts", "salt": None, "poll_seconds": windows})
    release = f"{params.project.name}@{registry.release(asked.canary, params.project.name)}"
    selection = Selection(release=release, environment=asked.environment)
    until = now - SETTLES_S
    with predictions.reading(params.serve.log) as database:
        before, during = _logs(database, selection, plan, params.serve.timeouts.total, until)
    decision = unhashed.judge(plan, before, during, asked.weight, until)
    return decision.model_dump_json(), decision.verdict


def _logs(
    database: predictions.Database, canary: Selection, plan: Plan, timeout_s: float, until: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The logs of stable before the canary's first request, and of both since."""
    mine = database.window(canary).filter(pl.col("arm") == "canary").sort("time")
    if mine.is_empty():
        empty = requests.table(mine, database.feedback(canary).clear(), plan, timeout_s, until)
        return empty, empty
    first: datetime = mine["time"][0]
    selection = Selection(since=first - timedelta(minutes=plan.horizon_minutes), environment=mine["environment"][-1])
    window, feedback = database.window(selection), database.feedback(selection)
    stable = (pl.col("arm") == "stable") & (pl.col("release") != canary.release)
    arms = window.filter(stable | ((pl.col("arm") == "canary") & (pl.col("release") == canary.release)))
    earlier = arms.filter(pl.col("time") < first).with_columns(weight=pl.lit(0.0))
    since = unhashed.weighted(arms.filter(pl.col("time") >= first), plan.poll_seconds)
    begun = first.astimezone(UTC).timestamp()
    return (
        requests.table(earlier, feedback, plan, timeout_s, begun),
        requests.table(since, feedback, plan, timeout_s, until),
    )
