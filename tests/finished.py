"""A run that has finished, made up: what its stages would have written, without any model."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from trunkline import estimates, scoring
from trunkline.clients import files
from trunkline.records import Answer, Bundle, Report, Task
from trunkline.verdict import Check, Verdict

STEPS = ("base", "data", "features", "production", "train", "evaluate")
INTENTS = ("card_lost", "transfer_fee", "change_number")
MESSAGES = {
    "card_lost": "I have lost my card number {}, please block it",
    "transfer_fee": "why was I charged a fee for transfer {}?",
    "change_number": "my phone number is a new one since week {}",
}
TASK = Task(
    prompt_id="5d41402abc4b2a76",
    template="{{ message }}",
    variables={},
    transforms=("clean_text@1:0f343b09", "mask_pii@1:7d793037"),
    answer=Answer(
        format="json",
        fields=("intent", "urgency"),
        allowed={"intent": INTENTS, "urgency": ("low", "normal", "high")},
    ),
)


def holdout(folder: Path, count: int = 240, task: Task = TASK) -> pl.DataFrame:
    """Write data/holdout.parquet with three examples a conversation, and data/task.json."""
    intents = [INTENTS[number % 3] for number in range(count)]
    answers = [json.dumps({"intent": intent, "urgency": "normal"}) for intent in intents]
    if task.answer.format != "json":
        answers = intents
    messages = [MESSAGES[intent].format(number) for number, intent in enumerate(intents)]
    frame = pl.DataFrame(
        {
            "id": [f"m-{number:04d}" for number in range(count)],
            "partition": "2026-10",
            "customer": [f"c-{number // 6}" for number in range(count)],
            "conversation": [f"v-{number // 3}" for number in range(count)],
            "time": None,
            "message": messages,
            "answer": answers,
            "channel": [("app", "email")[number // 3 % 2] for number in range(count)],
            "language": ["en"] * count,
            "input": messages,
        },
        schema_overrides={"time": pl.Datetime},
    )
    files.write_table(folder / "data/holdout.parquet", frame)
    files.write_text(folder / "data/task.json", task.text())
    return frame


def predict(folder: Path, side: str, right: list[bool], wrong: str = "I am not sure.") -> pl.DataFrame:
    """Write a side's predictions: the reference answer where ``right``, else the text ``wrong``."""
    frame = pl.read_parquet(folder / "data/holdout.parquet")
    hits = pl.Series(right).cast(pl.Float64)
    json_task = frame["answer"][0].startswith("{")
    table = pl.DataFrame(
        {
            "id": frame["id"],
            "output": [answer if hit else wrong for answer, hit in zip(frame["answer"], right, strict=True)],
            "tokens_in": 80,
            "tokens_out": 14,
            "latency_ms": [10.0 + number % 7 for number in range(frame.height)],
            "usd": 2.1e-6,
            "score_exact_match": hits,
            "score_valid_json": hits if json_task else pl.Series([None] * frame.height, dtype=pl.Float64),
            "score_nll": 2.5 - 2.0 * hits + pl.Series(np.linspace(0, 0.2, frame.height)),
        }
    )
    files.write_table(folder / f"data/predictions/{side}.parquet", table)
    return table


def share(count: int, part: float, seed: int) -> list[bool]:
    """``count`` booleans, of which about ``part`` are true."""
    return (np.random.default_rng(seed).random(count) < part).tolist()


def bundle(folder: Path, side: str, task: Task = TASK, **changes: object) -> None:
    """Write a side's bundle.json: the base for production, an adapter for the candidate."""
    identity = Bundle(
        kind="base" if side == "production" else "lora",
        release=None,
        base="b" * 64,
        weights={} if side == "production" else {"adapter_model.safetensors": "a" * 64},
        task=task,
        partitions=() if side == "production" else ("2026-07", "2026-08"),
        trained_on=None if side == "production" else "d" * 64,
        params={} if side == "production" else {"r": 16, "learning_rate": 0.002, "epochs": 2},
    )
    files.write_text(folder / f"models/{side}/bundle.json", identity.model_copy(update=changes).text())


def reports(folder: Path, steps: Sequence[str] = STEPS) -> None:
    """Write reports, by default all but compare's, as the stages would, from the predictions that are there."""
    frame = pl.read_parquet(folder / "data/holdout.parquet")
    tables = {
        side: pl.read_parquet(folder / f"data/predictions/{side}.parquet") for side in ("production", "candidate")
    }
    losses = [2.4 * 0.97**step + 0.08 for step in range(120)]
    measured = {side: _measured(frame, table) for side, table in tables.items()}
    baseline = {"exact_match": estimates.mean([1.0, 1.0, 0.0, 1.0] * 60, range(240), 0.95).model_dump()}
    found: dict[str, tuple[dict, dict]] = {
        "base": ({"bytes": 538_000_000}, {"source": "path:models/small"}),
        "production": ({"release": None}, {}),
        "data": (_DATA_METRICS, _DATA_DETAILS),
        "features": ({"train": 640, "holdout": frame.height}, {}),
        "train": ({"loss": losses[-1], "steps": 120, "tokens_per_second": 5321}, {"loss": losses}),
        "evaluate": (measured | {"baseline": baseline}, {"confusion": _confusion(frame, tables)}),
    }
    for step in steps:
        _report(folder, step, *found[step])


_DATA_METRICS = {"rows": 1000, "rejected": 31, "examples": 880}
_DATA_DETAILS = {
    "partitions": [
        {"partition": "2026-07", "read": 480, "rejected": 11, "duplicates": 40, "conflicts": 9, "kept": 420},
        {"partition": "2026-08", "read": 520, "rejected": 20, "duplicates": 40, "conflicts": 0, "kept": 460},
    ],
    "rejected": {"message has 3 to 1000 characters": 21, "intent is one of its allowed values": 10},
    "shift": {
        "columns": [
            {"column": "channel", "effect": 0.031, "p": 0.4, "significant": False},
            {"column": "message length", "effect": 0.162, "p": 0.002, "significant": True},
        ]
    },
}


def _report(folder: Path, step: str, metrics: dict, details: dict) -> None:
    check = Check(name=f"{step}.limit", verdict=Verdict.PASS, value=0.0, limit=1.0, message="as it should be")
    files.write_text(folder / f"reports/{step}.json", Report.of(step, (check,), metrics, details).text())


def _measured(frame: pl.DataFrame, table: pl.DataFrame) -> dict:
    scores = {
        name.removeprefix("score_"): estimates.mean(table[name].to_list(), frame["conversation"].to_list(), 0.95)
        for name in table.columns
        if name.startswith("score_") and table[name].null_count() == 0
    }
    costs = {"tokens_per_s": 412.0, "latency_ms_p50": 13.0, "latency_ms_p95": 16.0, "usd_per_1000": 0.0021}
    return {name: estimate.model_dump() for name, estimate in scores.items() if estimate} | costs


def _confusion(frame: pl.DataFrame, tables: dict[str, pl.DataFrame]) -> dict:
    expected = [scoring.classes(answer, TASK.answer).get("intent") for answer in frame["answer"]]
    counts = {}
    for side, table in tables.items():
        found = [scoring.classes(output, TASK.answer).get("intent", "other") for output in table["output"]]
        pairs = Counter(zip(expected, found, strict=True))
        counts[side] = [[pairs[right, said] for said in (*INTENTS, "other")] for right in INTENTS]
    return {"intent": {"labels": list(INTENTS), **counts}}
