"""A release that serves, made up: its data in DVC, its tags, and a log written through the log's database."""

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from dvc.repo import Repo

import finished
import logged
import releases
import starter
from trunkline import params, registry, transforms
from trunkline.clients import files
from trunkline.clients.git import tags
from trunkline.clients.predictions import Database
from trunkline.records.prediction import Assignment, Feedback, Outcome, Prediction, Selection
from trunkline.records.release import Content, Decision, message

START = datetime(2026, 10, 1, tzinfo=UTC)
RELEASE = f"{releases.MODEL}@v1.0.0"
TRAIN, HOLDOUT, ANSWERS = "data/train.parquet", "data/holdout.parquet", "data/predictions"
TASK = finished.TASK.model_copy(update={"transforms": transforms.identify(("clean_text@1", "mask_pii@1"))})
INTENTS = TASK.answer.allowed["intent"]
RIGHT = 0.9
_PIPELINE = f"""
stages:
  train:
    cmd: mkdir -p data && cp -r made/data/. data/
    deps: [made]
    outs: [{TRAIN}, {HOLDOUT}, {ANSWERS}]
"""


def words(count: int, seed: int) -> list[str]:
    """Words that nobody uses, another set for another seed."""
    rng = np.random.default_rng(seed)
    letters = "bdfgklmnprstvz"
    return ["".join(letters[c] + "aeiou"[v] for c, v in rng.integers(0, (14, 5), (3, 2))) for _ in range(count)]


KNOWN, FOREIGN = words(300, 1), words(300, 2)


def messages(count: int, rng: np.random.Generator, foreign: float = 0.0) -> tuple[list[str], list[str]]:
    """Messages of five to fourteen words, frequent ones more often, and the intent of each."""
    chances = 1 / np.arange(1, 301)
    chances /= chances.sum()
    made, intents = [], []
    for _ in range(count):
        intent = INTENTS[rng.integers(len(INTENTS))]
        source = FOREIGN if rng.random() < foreign else KNOWN
        drawn = [source[place] for place in rng.choice(300, rng.integers(5, 15), p=chances)]
        made.append(" ".join([intent.replace("_", " "), *drawn]))
        intents.append(intent)
    return made, intents


def answer(intent: str, urgency: str = "normal") -> str:
    """An answer of the task."""
    return json.dumps({"intent": intent, "urgency": urgency})


def build(folder: Path, train: int = 1200, holdout: int = 400, **changes: Any) -> params.Params:
    """A repository in which v1.0.0 serves since `START`; returns its params."""
    rng = np.random.default_rng(7)
    starter.git(folder, "init", "-q")
    starter.git(folder, "config", "user.name", "ann")
    starter.git(folder, "config", "user.email", "ann@example.com")
    starter.inputs(folder)
    settings = {"monitor__windows": 20, "monitor__first": 3, "monitor__conversations": {"least": 100, "most": 2000}}
    settings |= {"serve__log__database": "sqlite:///log.sqlite", "monitor__alpha": 0.05}
    made = starter.settings(folder, **(settings | changes))
    for path, count in ((TRAIN, train), (HOLDOUT, holdout)):
        files.write_table(folder / "made" / path, _examples(path, count, rng))
    files.write_table(folder / "made" / ANSWERS / "candidate.parquet", _answers(folder, rng))
    with contextlib.chdir(folder), Repo.init(".") as repo:
        (folder / "dvc.yaml").write_text(_PIPELINE)
        (folder / ".gitignore").write_text("/log.sqlite*\n/reports/\n")
        repo.reproduce()
        starter.git(folder, "add", "-A")
        starter.git(folder, "commit", "-qm", "train")
        release("v1.0.0")
        assign("v1.0.0", START, 1)
    return made


def _examples(path: str, count: int, rng: np.random.Generator) -> pl.DataFrame:
    texts, intents = messages(count, rng)
    rows = range(count)
    return pl.DataFrame(
        {
            "id": [f"{Path(path).stem}-{row}" for row in rows],
            "partition": "2026-09",
            "customer": [f"{Path(path).stem}-{row // 2}" for row in rows],
            "conversation": [f"{Path(path).stem}-{row}" for row in rows],
            "answer": [answer(intent) for intent in intents],
            "input": texts,
        }
    )


def _answers(folder: Path, rng: np.random.Generator) -> pl.DataFrame:
    frame = pl.read_parquet(folder / "made" / HOLDOUT)
    outputs = [said(text, rng) for text in frame["answer"]]
    scores = [float(output == text) for output, text in zip(outputs, frame["answer"], strict=True)]
    sure = confidences(frame["input"].to_list(), rng)
    return pl.DataFrame({"id": frame["id"], "output": outputs, "confidence": sure, "score_exact_match": scores})


def confidences(texts: list[str], rng: np.random.Generator, doubt: float = 0.0) -> list[float]:
    """How sure a model is of its answers to messages; of foreign ones less by ``doubt``."""
    return [-float(rng.exponential(0.1)) - doubt * (not set(FOREIGN).isdisjoint(text.split())) for text in texts]


def said(right: str, rng: np.random.Generator, chance: float = RIGHT) -> str:
    """What a model answers that is right with this chance, and wrong about the urgency otherwise."""
    found = json.loads(right)
    return right if rng.random() < chance else answer(found["intent"], "high" if found["urgency"] != "high" else "low")


def release(version: str, **changes: object) -> None:
    """Tag HEAD as a release of what is in the working tree."""
    outs = yaml.safe_load(Path("dvc.lock").read_text())["stages"]["train"]["outs"]
    md5s = {out["path"]: out["md5"] for out in outs}
    data = {path: Content(md5=md5s[path], sha256=files.sha256(Path(path))) for path in (TRAIN, HOLDOUT)}
    releases.release(version, "HEAD", task=TASK, data=data, lock=files.sha256(Path("dvc.lock")), **changes)


def assign(version: str, since: datetime, number: int) -> None:
    """Let production serve a release since a moment."""
    decision = Decision(
        model=releases.MODEL,
        environment="production",
        version=version,
        previous=None,
        action="promote",
        reason="it is better <b>by far</b>",
        by="ann",
        created=since.isoformat(),
        run=None,
    )
    name = registry.name(registry.Assignment(releases.MODEL, "production", number))
    tags.create(name, f"{releases.MODEL}@{version}", message(f"promote {releases.MODEL} {version}", decision))


class Traffic:
    """A prediction log that is filled day by day.

    Args:
        settings: name the database.
        seed: of everything that is drawn.
    """

    def __init__(self, settings: params.Params, seed: int = 0) -> None:
        self._rng, self._sure = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
        self._database = Database(settings.serve.log.database)
        self._units = 0

    def day(self, number: int, count: int = 200, release: str = RELEASE, **changes: Any) -> list[str]:
        """Log a day's predictions; returns their ids.

        Args:
            number: days since `START`.
            changes: shares of messages (``foreign``), requests (``failing``), answers (``right``) and predictions with
                the right answer as a label (``labels``); ``slow``, times the latency; ``intent`` of all answers;
                ``doubt`` about foreign messages; and fields of the outcome.
        """
        texts, intents = messages(count, self._rng, changes.pop("foreign", 0.0))
        sure = confidences(texts, self._sure, changes.pop("doubt", 0.0))
        failing, slow = changes.pop("failing", 0.0), changes.pop("slow", 1.0)
        right, labels, one = changes.pop("right", RIGHT), changes.pop("labels", 0.0), changes.pop("intent", None)
        records: list[Assignment | Outcome | Feedback] = []
        for row, (text, intent) in enumerate(zip(texts, intents, strict=True)):
            self._units += 1
            moment = START + timedelta(days=number, seconds=86_000 * row / count)
            first = logged.assigned(
                time=moment,
                unit=f"u-{self._units}",
                customer=f"c-{self._units}",
                arm="stable",
                weight=0.0,
                rollout=None,
                release=release,
                input=text,
            )
            failed = self._rng.random() < failing
            end = {
                "status": 500 if failed else 200,
                "error": "engine" if failed else None,
                "latency_ms": float(slow * self._rng.lognormal(6, 0.4)),
                "output": None if failed else said(answer(one or intent), self._rng, right),
                "confidence": None if failed else sure[row],
                "findings": (),
            }
            records += [first, logged.ended(first, **(end | changes))]
            if self._rng.random() < labels:
                records.append(logged.said(first, time=moment, label=answer(intent), score=None))
        self._database.add(records)
        return [record.prediction for record in records if isinstance(record, Assignment)]

    def find(self, id: str) -> Prediction:
        """A prediction that was logged."""
        found = self._database.find(id)
        assert found is not None
        return found

    def known(self, number: int) -> list[str]:
        """The ids of a day's predictions."""
        since = START + timedelta(days=number)
        return self._database.window(Selection(since=since, until=since + timedelta(days=1)))["prediction"].to_list()

    def add(self, *records: Assignment | Outcome | Feedback) -> None:
        """Log anything."""
        self._database.add(records)


def after(days: float) -> str:
    """A moment so many days after the start, and what was asked before has been answered."""
    return (START + timedelta(days=days, minutes=5)).isoformat()
