"""A window's predictions, counted piece by piece: what is kept are the conversations drawn, and a few numbers a row.

Of a prediction that is not drawn, its latency, the time to its first token, its cost and eight bytes of its
conversation's hash stay until the window is counted: quantiles and sums are exact, and in whatever order pieces come
they are the same. Two of ten million conversations have the same hash, and count as one, about once in 400,000 windows.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trunkline.drift import observed
from trunkline.drift.exact import Floats
from trunkline.drift.observed import Totals
from trunkline.drift.watched import GUARD

_KEPT = ("latency_ms", "ttft_ms", "usd")
_COUNTED = ("tokens_in", "tokens_out")


class Tally:
    """The count of one window.

    Args:
        guards: ``name@version`` each.
        most: conversations that are drawn, those with the smallest hashes.
        examples: predictions that are named of each engine.
    """

    def __init__(self, guards: Sequence[str], most: int, examples: int) -> None:
        self._guards, self._most, self._examples = tuple(guards), most, examples
        self._predictions = 0
        self._sums = {name: _Sum() for name in ("failed", *_COUNTED, *(GUARD + name for name in guards))}
        self._tokens_paid = 0
        self._kept: dict[str, list[Floats]] = {name: [] for name in _KEPT}
        self._hashes: list[NDArray[np.uint64]] = []
        self._largest = 2**64 - 1
        self._drawn: pl.DataFrame | None = None
        self._engines: dict[tuple[str, str], list[str]] = {}

    def add(self, piece: pl.DataFrame) -> None:
        """Count rows of the log in; one prediction must not come twice.

        Args:
            piece: the columns of `clients.predictions.pieces`.
        """
        frame = observed.measured(piece, self._guards)
        self._predictions += frame.height
        for name, total in self._sums.items():
            total.add(frame[name])
        for name in _KEPT:
            self._kept[name].append(frame[name].drop_nulls().to_numpy())
        paid = frame.filter(pl.col("usd").is_not_null())
        self._tokens_paid += sum(int(paid[name].sum()) for name in _COUNTED)
        self._name_engines(frame)
        self._draw(frame)

    def totals(self) -> Totals:
        """What all predictions come to."""
        kept = {name: pl.Series(np.concatenate(parts) if parts else []) for name, parts in self._kept.items()}
        # Exactly rounded, so that no order of the rows shows in the last digit.
        usd, paid = math.fsum(kept["usd"]), kept["usd"].len()
        times = [kept["latency_ms"].quantile(part, "linear") for part in (0.5, 0.95)]
        return Totals(
            predictions=self._predictions,
            conversations=int(np.unique(np.concatenate(self._hashes)).size) if self._hashes else 0,
            failed=self._sums["failed"].mean,
            latency_ms=None if times[0] is None or times[1] is None else (times[0], times[1]),
            ttft_ms=kept["ttft_ms"].quantile(0.95, "linear"),
            tokens_in=self._sums["tokens_in"].mean,
            tokens_out=self._sums["tokens_out"].mean,
            usd_per_1000=1000 * usd / paid if paid else None,
            usd_per_million=1e6 * usd / self._tokens_paid if self._tokens_paid else None,
            guards={name: self._sums[GUARD + name].mean or 0.0 for name in self._guards},
        )

    def conversations(self) -> pl.DataFrame:
        """The conversations drawn, one row each, in the order of their predictions."""
        return pl.DataFrame(self._drawn).drop("hash").sort("prediction")

    def engines(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Who answered, as the engines said: model and fingerprint, each with its first predictions."""
        return {name: tuple(self._engines[name]) for name in sorted(self._engines)}

    def _name_engines(self, frame: pl.DataFrame) -> None:
        known = frame.filter(pl.col("engine_model").is_not_null())
        names = ("engine_model", pl.col("engine_fingerprint").fill_null(""))
        first = known.group_by(*names).agg(pl.col("prediction").bottom_k(self._examples))
        for model, fingerprint, ids in first.iter_rows():
            before = self._engines.get((model, fingerprint), [])
            self._engines[model, fingerprint] = sorted([*before, *ids])[: self._examples]

    def _draw(self, frame: pl.DataFrame) -> None:
        """Keep the rows of the conversations with the smallest hashes.

        The largest hash kept never grows, so all rows of a conversation that is kept to the end were looked at.
        """
        units = frame["unit"].unique()
        digests = b"".join(hashlib.blake2b(unit.encode(), digest_size=8).digest() for unit in units)
        hashes = np.frombuffer(digests, dtype=">u8").astype(np.uint64)
        self._hashes.append(hashes)
        small = pl.DataFrame({"unit": units, "hash": hashes}).filter(pl.col("hash") <= self._largest)
        rows = frame.join(small, on="unit", how="inner")
        drawn = observed.conversations(rows if self._drawn is None else pl.concat([self._drawn, rows]))
        if drawn.height > self._most:
            drawn = drawn.bottom_k(self._most, by="hash")
            self._largest = int(drawn["hash"].to_numpy().max())
        # Written anew: texts of a frame that was filtered keep all those alive that they once stood among.
        self._drawn = pl.DataFrame(drawn.rows(), schema=drawn.schema, orient="row")


class _Sum:
    """A sum of whole numbers or of truths, of rows that have one."""

    def __init__(self) -> None:
        self._sum, self._count = 0, 0

    def add(self, values: pl.Series) -> None:
        self._sum += int(values.sum())
        self._count += values.len() - values.null_count()

    @property
    def mean(self) -> float | None:
        return self._sum / self._count if self._count else None
