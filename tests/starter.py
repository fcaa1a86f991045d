"""A scratch copy of this project with a handful of rows and a tiny model: what a stage test runs in."""

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import yaml

from trunkline import params
from trunkline.clients import files
from trunkline.records import Production

ROOT = Path(__file__).parent.parent
INTENTS = ("card_lost", "transfer_fee", "change_number")
WORDS = {
    "card_lost": ("I lost my card", "my card is gone", "please block the card I left in a taxi"),
    "transfer_fee": ("why was I charged for the transfer", "a fee was taken", "the transfer cost too much"),
    "change_number": ("my phone number is new", "update my number", "the app still shows the old number"),
}


def settings(folder: Path, **changes: object) -> params.Params:
    """Write params.yaml with `section__key=value` replaced into ``folder`` and load it."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["data"]["answer"]["fields"] = ["intent", "urgency"]
    content["evaluate"]["probes"] = []
    content["features"]["canaries"] = 0
    content["gate"] |= {"guardrails": {"valid_json": 0.01}, "floors": {}, "dry_run": []}
    content["data"]["answer"]["allowed"]["intent"] = list(INTENTS)
    for name, value in changes.items():
        *parents, key = name.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[key] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return params.load(path)


def rows(count: int, month: str = "2026-07", seed: int = 0) -> list[dict[str, str]]:
    """Valid raw rows: a new customer every two rows, every intent and urgency in turn."""
    start = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
    made = []
    for number in range(count):
        intent = INTENTS[number % 3]
        words = WORDS[intent][(number // 3) % 3]
        made.append(
            {
                "id": f"m-{month}-{seed}-{number:05d}",
                "customer": f"c-{seed}-{number // 2}",
                "conversation": f"v-{month}-{seed}-{number}",
                "created_at": (start + timedelta(minutes=number)).isoformat(),
                "channel": ("app", "email")[number % 2],
                "language": "en",
                "message": f"{words}, order {(number + 500 * seed) * 7919 % 10007} since {month}-{1 + number % 28:02d}",
                "intent": intent,
                "urgency": ("low", "normal", "high")[number // 3 % 3],
            }
        )
    return made


def write_rows(path: Path, made: list[dict[str, str]]) -> None:
    """Write raw rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")


def inputs(folder: Path) -> None:
    """The files of this project that its stages read, besides data: prompt, module, probes, pin."""
    for name in ("data/prompts", "data/eval", "src/project.py"):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
    pin = Production(release=None, revision=None, weights=None, partitions=())
    files.write_text(folder / "data/production.json", pin.text())


def examples(folder: Path, count: int = 40) -> pl.DataFrame:
    """Write data/examples.parquet as the data stage would from `rows`, and return it."""
    made = rows(count)
    frame = pl.DataFrame(
        {
            "id": [row["id"] for row in made],
            "partition": "2026-07",
            "customer": [row["customer"] for row in made],
            "conversation": [row["conversation"] for row in made],
            "time": [datetime.fromisoformat(row["created_at"]) for row in made],
            "message": [row["message"] for row in made],
            "answer": [json.dumps({"intent": row["intent"], "urgency": row["urgency"]}) for row in made],
            "channel": [row["channel"] for row in made],
            "language": [row["language"] for row in made],
        }
    )
    files.write_table(folder / "data/examples.parquet", frame)
    return frame


def git(folder: Path, *arguments: str) -> str:
    """Run Git there under a name of its own, whatever the user's configuration says; it leaves no process behind."""
    settings = ("user.name=Test", "user.email=test@example.com", "init.defaultBranch=main", "maintenance.auto=false")
    options = [part for setting in settings for part in ("-c", setting)]
    done = subprocess.run(["git", *options, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
