"""Which failed answers are the fault of who should have given them: one definition, for monitors and rollouts.

A client that left has judged nothing, and a guard that refuses what was asked does so before any engine is asked. What
a guard refuses of an answer, the release has said.
"""

import polars as pl

_CLIENT_LEFT, _GUARD = "client_left", "guard"


def left() -> pl.Expr:
    """Whether the client had left before the answer ended; null without an error."""
    return pl.col("error") == _CLIENT_LEFT


def blocked() -> pl.Expr:
    """Whether a guard refused what the engine had answered; null without an error."""
    return (pl.col("error") == _GUARD) & _asked()


def failed() -> pl.Expr:
    """Whether an answer failed by the fault of its release or engine, of rows of the prediction log.

    Uses the columns ``error engine_model tokens_out ttft_ms``.
    """
    excused = left() | ((pl.col("error") == _GUARD) & ~_asked())
    return pl.col("error").is_not_null() & ~excused.fill_null(False)


def _asked() -> pl.Expr:
    return pl.any_horizontal(pl.col("engine_model", "tokens_out", "ttft_ms").is_not_null())
