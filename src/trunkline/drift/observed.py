"""A window of the prediction log in numbers: what all predictions come to, and one row a conversation."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from trunkline import faults
from trunkline.drift.exact import Floats
from trunkline.drift.watched import GUARD
from trunkline.drift.windows import Window
from trunkline.records.monitoring import Counted

# The last digits of an id are drawn at random; the first ones are the time.
_RANDOM_DIGITS = 12


class Totals(NamedTuple):
    """All predictions of a window; None where nothing was measured.

    Attributes:
        failed: share of the predictions.
        latency_ms: quantiles 0.5 and 0.95 of the answers' latency.
        ttft_ms: quantile 0.95 of the time to the first token.
        tokens_in, tokens_out: a prediction on average.
        usd_per_1000: predictions.
        usd_per_million: tokens of prompts and answers.
        guards: share of the predictions that each guard objected to.
    """

    predictions: int
    conversations: int
    failed: float | None
    latency_ms: tuple[float, float] | None
    ttft_ms: float | None
    tokens_in: float | None
    tokens_out: float | None
    usd_per_1000: float | None
    usd_per_million: float | None
    guards: Mapping[str, float]


_TOTALS = TypeAdapter(Totals)


class Seen(NamedTuple):
    """A window and what was seen in it.

    Attributes:
        totals: of all predictions.
        conversations: one row each: ``prediction``, what is measured of it, and its features.
        engines: ids of predictions by (model, fingerprint) of the engine, the first ones.
        losses: (n,) 1 - score of labelled predictions, one a conversation.
        wrong: ids of those with the largest losses.
    """

    window: Window
    totals: Totals
    conversations: pl.DataFrame
    engines: Mapping[tuple[str, str], tuple[str, ...]]
    losses: Floats
    wrong: tuple[str, ...]


def kept(one: Seen, columns: Iterable[str]) -> Counted:
    """A window in numbers, to be kept for longer than its predictions are.

    Args:
        columns: of its conversations; those that it does not have are left out.
    """
    frame = one.conversations
    return Counted(
        since=one.window.since.isoformat(),
        until=one.window.until.isoformat(),
        totals=_TOTALS.dump_python(one.totals, mode="json"),
        conversations={name: tuple(frame[name]) for name in columns if name in frame.columns},
        engines=tuple(sorted(one.engines)),
        losses=tuple(one.losses.tolist()),
    )


def restored(one: Counted, window: Window) -> Seen:
    """A window of which only numbers are left; its conversations have names of their own.

    Raises:
        ValidationError: another version of Trunkline kept them.
    """
    frame = pl.DataFrame({name: pl.Series(values) for name, values in one.conversations.items()})
    names = pl.Series([f"{window.number}-{row}" for row in range(frame.height)], dtype=pl.String)
    return Seen(
        window=window,
        totals=_TOTALS.validate_python(one.totals),
        conversations=frame.with_columns(names.alias("prediction"), names.alias("unit")),
        engines=dict.fromkeys(one.engines, ()),
        losses=np.array(one.losses, dtype=np.float64),
        wrong=(),
    )


def measured(frame: pl.DataFrame, guards: Iterable[str]) -> pl.DataFrame:
    """Rows of the log with what is watched of serving.

    Args:
        frame: the log's columns ``status error latency_ms ttft_ms tokens_out engine_model findings`` among others.
        guards: ``name@version`` each.

    Returns:
        The frame with ``failed``, ``guard:<name>``, and latencies of answers only.
    """
    failed = pl.col("status").is_null() | (pl.col("status") >= 500) | faults.failed()
    answered = ~failed & (pl.col("status") < 400)
    found = pl.col("findings").list.eval(pl.element().str.split(":").list.first())
    return frame.with_columns(
        failed.alias("failed"),
        *(pl.when(answered).then(pl.col(name)).alias(name) for name in ("latency_ms", "ttft_ms")),
        *(found.list.contains(name).alias(GUARD + name) for name in guards),
    )


def conversations(frame: pl.DataFrame) -> pl.DataFrame:
    """One row a conversation, drawn by the prediction's random digits, in the order of predictions.

    Rows of one conversation resemble each other; with one row each they are independent of each other, and a window
    is comparable with a reference whose conversations are longer or shorter.
    """
    ordered = frame.sort(pl.col("prediction").str.slice(-_RANDOM_DIGITS), "prediction")
    return ordered.unique("unit", keep="first", maintain_order=True).sort("prediction")
