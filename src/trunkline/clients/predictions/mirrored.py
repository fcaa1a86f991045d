"""The shadows of a rollout beside what was served: pairs of answers to the same request."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import sqlalchemy as sa

from trunkline.clients.predictions import connection
from trunkline.clients.predictions.database import Database
from trunkline.clients.predictions.tables import assignments, outcomes

_TIME = pl.Datetime("us", "UTC")
_ASSIGNED = {"prediction": pl.String, "unit": pl.String, "time": _TIME}
_MEASURED: dict[str, Any] = {
    "ended": _TIME,
    "error": pl.String,
    "latency_ms": pl.Float64,
    "ttft_ms": pl.Float64,
    "tokens_out": pl.Int64,
    "engine_model": pl.String,
    "format_ok": pl.Boolean,
}
# What each arm made of the request, by the arm's name.
PAIRS: Mapping[str, Any] = {
    **_ASSIGNED,
    **{f"{arm}_{name}": kind for arm in ("canary", "stable") for name, kind in _MEASURED.items()},
    "agree": pl.Boolean,
}


def pairs(database: Database, rollout: str) -> pl.DataFrame:
    """Every mirrored request of a rollout, in the order in which the canary was asked.

    Args:
        rollout: its name.

    Returns:
        The columns of ``PAIRS``: id, unit and time of the shadow; of each arm, what its outcome says, null where there
        is none; and whether both said the same, null where either's output is not kept.
    """
    shadow, canary, stable = assignments.alias("shadow"), outcomes.alias("canary"), outcomes.alias("stable")
    source = shadow.outerjoin(canary, canary.c.prediction == shadow.c.prediction)
    source = source.outerjoin(stable, stable.c.prediction == shadow.c.shadow_of)
    arms = {"canary": canary.c, "stable": stable.c}
    columns = [shadow.c[name] for name in _ASSIGNED]
    columns += [column["time" if name == "ended" else name] for column in arms.values() for name in _MEASURED]
    query = sa.select(*columns, canary.c.output == stable.c.output).select_from(source)
    query = query.where(shadow.c.rollout == rollout, shadow.c.shadow_of.is_not(None))
    with connection.transaction(database.engine, reads=True) as open_:
        rows = [tuple(row) for row in open_.execute(query.order_by(shadow.c.prediction))]
    raw = {name: pl.Int64 if kind == _TIME else kind for name, kind in PAIRS.items()}
    frame = pl.DataFrame(rows, schema=raw, orient="row")
    return frame.with_columns(pl.col(name).cast(_TIME) for name, kind in PAIRS.items() if kind == _TIME)
