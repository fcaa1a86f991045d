"""A window of the prediction log in numbers: what all predictions come to, and one row a conversation."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import polars as pl

from trunkline import faults
from trunkline.drift.exact import Floats
from trunkline.drift.watched import GUARD
from trunkline.drift.windows import Window

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


def totals(frame: pl.DataFrame, guards: Iterable[str]) -> Totals:
    """What the rows of `measured` come to."""
    known = frame.filter(pl.col("usd").is_not_null())
    usd, *tokens = (_sum(known[name]) for name in ("usd", "tokens_in", "tokens_out"))
    times = [frame["latency_ms"].quantile(part, "linear") for part in (0.5, 0.95)]
    return Totals(
        predictions=frame.height,
        conversations=frame["unit"].n_unique(),
        failed=_mean(frame["failed"]),
        latency_ms=None if times[0] is None or times[1] is None else (times[0], times[1]),
        ttft_ms=frame["ttft_ms"].quantile(0.95, "linear"),
        tokens_in=_mean(frame["tokens_in"]),
        tokens_out=_mean(frame["tokens_out"]),
        usd_per_1000=1000 * usd / known.height if known.height else None,
        usd_per_million=1e6 * usd / sum(tokens) if sum(tokens) else None,
        guards={name: _mean(frame[GUARD + name]) or 0.0 for name in guards},
    )


def _mean(values: pl.Series) -> float | None:
    known = values.drop_nulls().cast(pl.Float64).to_numpy()
    return float(known.mean()) if known.size else None


def _sum(values: pl.Series) -> float:
    return float(values.drop_nulls().cast(pl.Float64).to_numpy().sum())


def conversations(frame: pl.DataFrame, most: int) -> pl.DataFrame:
    """One row a conversation, drawn by the prediction's random digits, and at most so many, drawn by their hash.

    Rows of one conversation resemble each other; with one row each they are independent of each other, and a window
    is comparable with a reference whose conversations are longer or shorter.
    """
    drawn = frame.sort(pl.col("prediction").str.slice(-_RANDOM_DIGITS)).unique(
        "unit", keep="first", maintain_order=True
    )
    if drawn.height > most:
        digests = [hashlib.blake2b(unit.encode(), digest_size=8).hexdigest() for unit in drawn["unit"]]
        drawn = drawn.with_columns(pl.Series("order", digests)).sort("order").head(most).drop("order")
    return drawn.sort("prediction")


def engines(frame: pl.DataFrame, examples: int) -> dict[tuple[str, str], tuple[str, ...]]:
    """Who answered, as the engines said: model and fingerprint, each with its first predictions."""
    known = frame.filter(pl.col("engine_model").is_not_null()).select(
        "prediction", "engine_model", pl.col("engine_fingerprint").fill_null("")
    )
    ids = pl.col("prediction").sort().head(examples)
    grouped = known.group_by("engine_model", "engine_fingerprint").agg(ids).sort("engine_model", "engine_fingerprint")
    return {(model, fingerprint): tuple(found) for model, fingerprint, found in grouped.iter_rows()}
