"""A project whose release serves customers who change: its remotes, its prediction log, its models, and a clock.

Everything is beside each other in one folder that stays where it is; a copy of it put back is the same world again.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from dvc.repo import Repo

import logged
import merged
import pull_request as pr
import starter
from trunkline import assignment, cli, params, prompts, transforms
from trunkline.cli.commands import STAGES
from trunkline.clients import actor, model, predictions
from trunkline.clients.generation import LocalGenerator
from trunkline.clients.predictions import log
from trunkline.operations import monitor, retrain
from trunkline.operations.release import manifest
from trunkline.records import Bundle, Record
from trunkline.records.prediction import Arm
from trunkline.records.rollout import Rollout

MODEL, FIRST, SECOND = "support-triage", "v0.1.0", "v0.2.0"
PROMPT = "data/prompts/short.jinja"
# What messages of a topic are about, and what those of the topic `other` are about once there is a new product.
TOPICS = {
    "card_lost": ["lost", "card", "block", "taxi", "gone", "wallet", "stolen", "street", "pocket", "bag"],
    "transfer_fee": ["fee", "transfer", "charged", "cost", "money", "euro", "bank", "abroad", "expensive", "price"],
    "change_number": ["phone", "number", "update", "old", "app", "shows", "changed", "mobile", "contact", "details"],
    "other": ["hello", "question", "office", "hours", "weekend", "visit", "branch", "letter", "thanks", "staff"],
}
NEW = ["trip", "cover", "policy", "claim", "luggage", "flight", "delay", "travel", "insurer", "refund"]
USUAL = ["please", "my", "the", "today", "since", "monday", "why", "how", "again", "still", "can", "you", "help", "me"]
SETTINGS = {
    "data__slices": [],
    "data__answer": {"format": "label", "fields": ["topic"], "allowed": {"topic": list(TOPICS)}},
    # A new product is a shift of the words, which this project wants to learn and not to be asked about.
    "data__limits__shift": {"pass": 0.50, "fail": 0.90},
    "features__prompt": PROMPT,
    "features__holdout": 0.25,
    "train__r": 32,
    "train__alpha": 64,
    "train__epochs": 10,
    "train__batch_size": 16,
    "train__pack_tokens": 512,
    "train__learning_rate": 3.0e-3,
    "train__precision": "fp32",
    "evaluate__precision": "fp32",
    "evaluate__scorers": ["exact_match"],
    "gate__guardrails": {},
    "retrain__min_rows": 100,
    "retrain__auto_merge": True,
    "retrain__reviewers": ["bob"],
    "monitor__conversations": {"least": 100, "most": 2000},
    "monitor__first": 3,
    "rollout__steps": [{"weight": 0.25, "minutes": 0.5}, {"weight": 0.5, "minutes": 0.5}],
    "rollout__metrics": {
        "latency_ms": {"kind": "amount", "quantiles": [0.75], "tolerated": 1.0, "margins": [3.0, 3.0]},
        "score": {"kind": "score", "tolerated": 0.0, "margins": [0.15, 0.15]},
    },
    "rollout__placebos": 199,
    "rollout__horizon_minutes": 60,
    "rollout__poll_seconds": 10,
}


class Clock:
    """What time it is, for all that asks in this process; it stands still until days or seconds pass."""

    _ASKING: tuple[ModuleType, ...] = (actor, log, manifest, monitor, retrain)

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        clock = self

        class Told(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
                return clock.now

        for module in self._ASKING:
            patch.setattr(module, "datetime", Told)
        patch.setattr(time, "time", lambda: clock.now.timestamp())

    def passes(self, **amount: float) -> None:
        """Let days, minutes or seconds pass."""
        self.now += timedelta(**amount)


class Model:
    """A trained model that answers in this process, as its engine would.

    Args:
        folder: a clone whose pipeline has run.
    """

    def __init__(self, folder: Path) -> None:
        loaded = model.load(folder / "models/base", folder / "models/candidate", "fp32", "auto")
        self._task = Bundle.read(folder / "models/candidate/bundle.json").task
        self._generator = LocalGenerator(loaded, 64, 8, tuple(TOPICS), lambda done, note: None)

    def answers(self, messages: Sequence[str]) -> list[str]:
        """The topic of each message."""
        inputs = [transforms.apply(self._task.transforms, message) for message in messages]
        asked = [prompts.render(self._task, text) for text in inputs]
        return [one.output for one in self._generator.generate(asked, [next(iter(TOPICS))] * len(asked))]


class Serving(NamedTuple):
    """A release on an arm."""

    version: str
    model: Model


class Customers:
    """Who asks, and the people who tell the right answers afterwards.

    Attributes:
        new: whether what else they ask about is the new product.
    """

    def __init__(self, settings: params.Params, seed: int = 3) -> None:
        self._settings, self._rng, self.new = settings, np.random.default_rng(seed), False
        self._seed, self._units = seed, 0

    def ask(
        self,
        moments: Sequence[datetime],
        arms: Mapping[Arm, Serving],
        rollout: Rollout | None = None,
        labels: float = 0.5,
        label: str | None = None,
    ) -> None:
        """Have requests at these moments answered and logged by the gateway's own log.

        Args:
            arms: what serves.
            rollout: that runs.
            labels: share of the answers of which somebody tells the right one.
            label: what is told instead of the right one.
        """
        asked = [written(self._rng, self.new) for _ in moments]
        units = [f"u-{self._seed}-{self._units + number}" for number in range(len(moments))]
        self._units += len(moments)
        weight = rollout.weight if rollout else 0.0
        placed = [assignment.arm_of(rollout.plan.salt or "", unit, weight) if rollout else "stable" for unit in units]
        outputs = self._answers(placed, arms, [message for message, _ in asked])
        found: list[Record] = []
        for moment, unit, arm, (message, topic), output in zip(moments, units, placed, asked, outputs, strict=True):
            first = logged.assigned(
                time=moment,
                unit=unit,
                customer=unit,
                arm=arm,
                weight=weight,
                rollout=rollout.name if rollout else None,
                release=f"{MODEL}@{arms[arm].version}",
                input=message,
            )
            latency = float(min(900.0, self._rng.lognormal(5, 0.4)))
            end = moment + timedelta(milliseconds=latency)
            found += [first, logged.ended(first, time=end, latency_ms=latency, output=output, findings=())]
            if self._rng.random() < labels:
                told = {"label": label or topic, "score": float(output == topic), "comment": None}
                found.append(logged.said(first, time=end, **told))
        self._log(found)

    def _answers(self, placed: Sequence[Arm], arms: Mapping[Arm, Serving], messages: Sequence[str]) -> list[str]:
        outputs = [""] * len(messages)
        for arm, serving in arms.items():
            rows = [row for row, there in enumerate(placed) if there == arm]
            for row, output in zip(rows, serving.model.answers([messages[row] for row in rows]), strict=True):
                outputs[row] = output
        return outputs

    def _log(self, records: Sequence[Record]) -> None:
        gateway = predictions.Log(self._settings.serve.log)
        for record in records:
            gateway.record(record)  # type: ignore[arg-type]
        assert gateway.close(60)


def written(rng: np.random.Generator, new: bool) -> tuple[str, str]:
    """A message of any topic, and the topic."""
    topic = str(rng.choice(list(TOPICS)))
    about = NEW if new and topic == "other" else TOPICS[topic]
    words = [*rng.choice(about, 4, replace=False), *rng.choice(USUAL, 4, replace=False)]
    rng.shuffle(words)
    return " ".join(words), topic


def rows(count: int, month: str, seed: int) -> list[dict[str, str]]:
    """Raw rows of a month, before there was the new product."""
    rng, made = np.random.default_rng(seed), []
    for number in range(count):
        message, topic = written(rng, new=False)
        ids = {
            "id": f"m-{month}-{number}",
            "customer": f"c-{seed}-{number // 2}",
            "conversation": f"v-{month}-{number}",
        }
        made.append(
            {**ids, "created_at": f"{month}-{1 + number % 28:02d}T10:00:00+00:00", "message": message, "topic": topic}
        )
    return made


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment as a job's step does."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done


def build(world: Path, base: Path, patch: pytest.MonkeyPatch) -> Path:
    """A first release that has served in production since now; returns the clone it was made in."""
    work = world / "work"
    work.mkdir(parents=True)
    starter.git(world, "init", "-q", "--bare", "-b", "main", "origin.git")
    starter.git(work, "init", "-q", "-b", "main")
    starter.git(work, "remote", "add", "origin", "../origin.git")
    for name in (".gitignore", ".gitattributes", "requirements.lock"):
        shutil.copy(starter.ROOT / name, work)
    starter.inputs(work)
    (work / PROMPT).write_text("{% block user %}{{ message }}{% endblock %}\n")
    merged.pipeline(work)
    for seed, month in enumerate(("2026-07", "2026-08")):
        starter.write_rows(work / f"data/raw/{month}.jsonl", rows(350, month, seed))
    log = logged.settings(world, spool_mb=16).model_dump()
    starter.settings(work, base={"model": f"path:{base}", "sha256": None}, serve__log=log, **SETTINGS)
    with pr.standing_in(work):
        Repo.init(".").close()
    (work / ".dvc/config").write_text("[core]\n    remote = storage\n['remote \"storage\"']\n    url = ../../storage\n")
    pr.commit(work, "a project")
    _first(work)
    pr.commit(work, "the first candidate")
    starter.git(work, "push", "-q", "origin", "main")
    patch.chdir(work)
    for command in (["push"], ["release"], ["promote", FIRST, "--to", "production"]):
        assert cli.main(command) == 0, command
    return work


def _first(work: Path) -> None:
    """What `dvc repro` and `trunkline report` leave, by the same stages in this process: loading torch takes longer."""
    with pr.standing_in(work):
        made = params.load(Path("params.yaml"))
        for stage in STAGES:
            import_module(f"trunkline.stages.{stage}").run(made)
        with Repo() as repo:
            repo.commit(force=True)
        assert cli.main(["report"]) == 0
