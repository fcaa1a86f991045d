"""Recorded rollouts for tests: seeded traffic on the arms that the salt gives."""

from pathlib import Path

import numpy as np
import polars as pl

from trunkline import assignment, params
from trunkline.params import Params
from trunkline.records.rollout import Plan, Rollout

SALT = "0123456789abcdef"
START = np.datetime64("2026-11-01T12:00:00", "us")


def plan_of(settings: Params, **changes: object) -> Plan:
    """The plan of params.yaml with a salt, few placebos, and other changes."""
    content = settings.rollout.model_dump() | {"salt": SALT, "placebos": 199} | changes
    return Plan.model_validate(content)


def rollout(model: str, stable: str, canary: str, weight: float, state: str = "running") -> Rollout:
    """One that was started in production a while ago."""
    started = f"{START.astype('datetime64[s]')}+00:00"
    return Rollout(
        name=f"{model}#production#{canary}#1",
        model=model,
        environment="production",
        stable=stable,
        canary=canary,
        state=state,
        weight=weight,
        plan=plan_of(settings()),
        started=started,
        since=started,
        action="start",
        because="human",
        reason="to try it",
        by="ann",
        assigned=f"{model}#production#{stable}",
    )


def log(
    weights: dict[float, float],
    seed: int = 0,
    before: float = 2,
    users: int = 0,
    rate: int = 600,
    **canary: float,
) -> pl.DataFrame:
    """A log.

    Args:
        weights: minutes that the ramp stays at each weight.
        before: minutes of production alone before it.
        rate: requests a minute.
        users: how many users there are; 0 makes every request a unit of its own.
        canary: what is worse on it: `error` (rate), `slow` (factor on the upper half of latencies), `score` (loss).
    """
    rng = np.random.default_rng(seed)
    minutes = np.array([before, *weights.values()])
    n = int(rate * minutes.sum())
    time = np.sort(60 * minutes.sum() * rng.random(n))
    weight = np.array([0.0, *weights])[np.searchsorted(60 * np.cumsum(minutes)[:-1], time, side="right")]
    unit = [f"unit-{k}" for k in (rng.integers(0, users, n) if users else np.arange(n))]
    on_canary = assignment.canaries(assignment.seeds_of([SALT]), assignment.digests_of(unit), weight)[0]
    error = rng.random(n) < np.where(on_canary, canary.get("error", 0.01), 0.01)
    latency = np.exp(6 + 0.6 * rng.standard_normal(n))
    slow = on_canary & (latency > np.exp(6))
    latency = np.where(slow, latency * canary.get("slow", 1.0), latency)
    score = np.clip(0.8 - canary.get("score", 0.0) * on_canary + 0.2 * rng.standard_normal(n), 0, 1)
    scored = (rng.random(n) < 0.2) & ~error
    return pl.DataFrame(
        {
            "time": START + (1e6 * time).astype("timedelta64[us]"),
            "unit": unit,
            "arm": np.where(on_canary, "canary", "stable"),
            "weight": weight,
            "error": error,
            "latency_ms": pl.Series(np.where(error, np.nan, latency)).fill_nan(None),
            "score": pl.Series(np.where(scored, score, np.nan)).fill_nan(None),
        }
    )


def settings() -> Params:
    """This project's own params.yaml."""
    return params.load(Path(__file__).parent.parent / "params.yaml")
