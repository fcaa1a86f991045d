"""Draws customers, conversations and labels month by month and writes the partitions."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from data.generator import dirt
from data.generator.compose import Composer
from data.generator.wording import INTENTS, URGENCIES

Row = dict[str, Any]
SEED = 20260701
CUSTOMERS = 720
ROWS = {"2026-07": 364, "2026-08": 370, "2026-09": 376, "2026-10": 384}  # before the planted copies
CHANNELS = {"app": 0.34, "chat": 0.27, "email": 0.27, "phone_transcript": 0.12}
URGENCY = {"low": 0.29, "normal": 0.38, "high": 0.33}
INTENT = dict.fromkeys(INTENTS, 1.0) | {"card_declined": 1.3, "transfer_missing": 1.3, "close_account": 0.7}
LAUNCH = "2026-10"  # the travel card Roam is new: it is mentioned, lives in the app, and brings more of some questions
LAUNCH_CHANNELS = {"app": 0.42, "chat": 0.25, "email": 0.23, "phone_transcript": 0.10}
LAUNCH_INTENT = INTENT | {"fee_question": 1.4, "limit_change": 1.3}
CONTACT, ROAM, FOLLOW_UP = 0.07, 0.12, 0.6


def write(folder: Path) -> dict[str, dict[str, int]]:
    """Write every partition into ``folder``; returns the counts of planted dirt by partition."""
    random = Random(SEED)  # noqa: S311 - repeatable on purpose, keeps no secret
    composers = {language: Composer(language, random) for language in ("en", "de", "es")}
    customers = [(f"c-{number:05d}", _language(random)) for number in random.sample(range(10_000, 99_999), CUSTOMERS)]
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for partition, size in ROWS.items():
        rows = _partition(partition, size, customers, composers, random)
        rows, counts[partition] = dirt.plant(rows, random, conflict=partition == "2026-09")
        for number, row in enumerate(rows, start=1):
            row["id"] = f"m-{partition}-{number:05d}"
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (folder / f"{partition}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    return counts


def _language(random: Random) -> str:
    return _draw({"en": 0.98, "de": 0.01, "es": 0.01}, random)


def _draw(weights: dict[str, float], random: Random) -> str:
    return random.choices(list(weights), list(weights.values()))[0]


def _partition(
    partition: str, size: int, customers: list[tuple[str, str]], composers: dict[str, Composer], random: Random
) -> list[Row]:
    rows: list[Row] = []
    number = 0
    while len(rows) < size:
        number += 1
        # Squaring favours the front of the list: some customers write often, most once or twice.
        customer, language = customers[int(random.random() ** 1.6 * len(customers))]
        first: Row = {"id": "", "customer": customer, "conversation": f"t-{partition}-{number:04d}"}
        rows += _conversation(first, partition, language, composers[language], random)
    return sorted(rows[:size], key=lambda row: str(row["created_at"]))


def _conversation(first: Row, partition: str, language: str, composer: Composer, random: Random) -> list[Row]:
    year, month = (int(part) for part in partition.split("-"))
    time = datetime(year, month, 1, tzinfo=UTC) + timedelta(seconds=random.randrange(26 * 86_400))
    channel = _draw(LAUNCH_CHANNELS if partition == LAUNCH else CHANNELS, random)
    intent = _draw(LAUNCH_INTENT if partition == LAUNCH else INTENT, random)
    urgency = _draw(URGENCY, random)
    rows = []
    for turn in range(random.choices((1, 2, 3), (0.8, 0.15, 0.05))[0]):
        extras = [name for name, share in _extras(partition, language, turn).items() if random.random() < share]
        message = composer.message(intent, urgency, channel, month, extras)
        labels = {"message": message.text, "intent": intent, "urgency": urgency, "amount": message.amount}
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ")
        rows.append({**first, "created_at": when, "channel": channel, "language": language, **labels})
        time += timedelta(seconds=random.randrange(1_800, 100_000))
        urgency = urgency if random.random() < 0.6 else random.choice(URGENCIES)
    return rows


def _extras(partition: str, language: str, turn: int) -> dict[str, float]:
    extras = {"contact": CONTACT}
    if language == "en":
        extras["roam"] = ROAM if partition == LAUNCH else 0.0
        extras["followup_open"] = FOLLOW_UP if turn else 0.0
    return extras
