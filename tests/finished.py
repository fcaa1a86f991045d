"""A run that has finished, made up: what its stages would have written, without any model."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from trunkline.clients import files
from trunkline.records import Answer, Task

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
