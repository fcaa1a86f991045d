"""A project whose releases are tried on simulated traffic: real clones, a real prediction log, a clock of its own."""

import itertools
import uuid
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import logged
import releases
import starter
from trunkline import assignment, cli, params
from trunkline.clients.predictions import Database
from trunkline.operations.rollout.looking import Controller, Look
from trunkline.records import Record
from trunkline.records.prediction import Assignment, Feedback, Outcome
from trunkline.records.rollout import Rollout

MODEL = releases.MODEL
SALT = "0123456789abcdef0123456789abcdef"
STABLE, CANARY = "v1.0.0", "v1.1.0"
# Few requests are enough to tell: one in ten fails, half of them are scored.
FAILS = 0.1
METRICS = {
    "error": {"kind": "failure", "tolerated": 1.0, "margins": [3.0, 3.0]},
    "latency_ms": {"kind": "amount", "quantiles": [0.75], "tolerated": 1.0, "margins": [3.0, 3.0]},
    "score": {"kind": "score", "tolerated": 0.0, "margins": [0.15, 0.15]},
}
STEPS = [{"weight": 0.25, "minutes": 0.2}, {"weight": 0.5, "minutes": 0.2}]
PLAN = {
    "steps": STEPS,
    "placebos": 199,
    "metrics": METRICS,
    "hard_stops": {"error": 10},
    "horizon_minutes": 60,
    "poll_seconds": 10,
}


@cache
def _parsed(text: str) -> Rollout:
    return Rollout.parse(text.encode(), "the branch")


class World:
    """One clone in which the test runs, and the gateway that writes the log.

    Args:
        folder: an empty one.
        monkeypatch: of the test.
        changes: of the plan.

    Attributes:
        address: of the log; it is a file in the folder where a subclass names none.
    """

    address = ""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
        self.origin = folder / "origin.git"
        self.clones = releases.clones(folder, 2)
        self.database = folder / "log.sqlite"
        self.address = self.address or f"sqlite:///{self.database}"
        plan = {f"rollout__{name}": value for name, value in {**PLAN, **changes}.items()}
        for clone in self.clones:
            starter.settings(clone, serve__log__database=self.address, **plan)
        self.settings = params.load(self.clones[0] / "params.yaml")
        monkeypatch.chdir(self.clones[0])
        # What is drawn decides which false alarms there are; a test must not be one of them.
        monkeypatch.setattr("trunkline.operations.rollout.deciding.secrets.token_hex", lambda _: SALT)
        releases.releases(self.clones[0], STABLE, CANARY)
        assert cli.main(["promote", STABLE, "--to", "production"]) == 0
        self.rng = np.random.default_rng(0)
        self.now = datetime.now(UTC).replace(microsecond=0)
        self._late: list[Record] = []
        self._number = itertools.count(1)
        self.started = False

    def start(self, before: float = 2.0, *options: str) -> Rollout:
        """Log stable alone for so many minutes, then start the canary, with options of the command."""
        self.now -= timedelta(minutes=before)
        self.traffic(60 * before)
        assert cli.main(["rollout", "start", CANARY, *options]) == 0
        self.started = True
        self.now = datetime.fromisoformat(self.rollout.started)
        return self.rollout

    @property
    def rollout(self) -> Rollout:
        """As the remote's branch says it."""
        return _parsed(starter.git(self.origin, "show", f"env/production:{MODEL}.rollout.yaml"))

    @property
    def subjects(self) -> list[str]:
        """What the branch's commits say, the last first."""
        return starter.git(self.origin, "log", "--format=%s", "env/production").splitlines()

    def serves(self) -> dict[str, Any]:
        """The environment's file of the model."""
        served: dict[str, Any] = yaml.safe_load(starter.git(self.origin, "show", f"env/production:{MODEL}.yaml"))
        return served

    def by_hand(self, text: str) -> None:
        """Somebody writes the rollout's file."""
        clone = self.clones[1]
        starter.git(clone, "fetch", "-q", "origin", "env/production")
        starter.git(clone, "checkout", "-q", "FETCH_HEAD")
        (clone / f"{MODEL}.rollout.yaml").write_text(text)
        starter.git(clone, "commit", "-qam", "by hand")
        starter.git(clone, "push", "-q", "origin", "HEAD:env/production")

    def traffic(self, seconds: float, rate: float = 10.0, **canary: Any) -> None:
        """Requests for so long, answered by what the branch says.

        Args:
            rate: requests a second.
            canary: what is otherwise on it: `error` (rate), `slow` (factor on the upper half of the latencies),
                `score` (loss), `silent` (logs nothing).
        """
        rollout = self.rollout if self.started else None
        rollout = rollout if rollout is not None and not rollout.over else None
        records: list[Record] = []
        for offset in np.sort(self.rng.random(self.rng.poisson(rate * seconds)) * seconds).tolist():
            records += self._request(self.now + timedelta(seconds=offset), rollout, canary)
        self.now += timedelta(seconds=seconds)
        self.write([record for record in (*self._late, *records) if record.time <= self.now])
        self._late = [record for record in (*self._late, *records) if record.time > self.now]

    def write(self, records: list[Any]) -> None:
        """Have records in the log."""
        database = Database(self.address)
        database.add(records)
        database.close()

    def _request(self, time: datetime, rollout: Rollout | None, canary: dict[str, Any]) -> list[Any]:
        unit = f"unit-{self.rng.integers(10**9)}"
        weight = rollout.weight if rollout else 0.0
        arm = assignment.arm_of(rollout.plan.salt or "", unit, weight) if rollout else "stable"
        on = canary if arm == "canary" else {}
        if on.get("silent"):
            return []
        version = rollout.canary if rollout and arm == "canary" else STABLE
        asked: Assignment = logged.assigned(
            # By which a gateway chooses what it mirrors, so it is the same whenever a test runs.
            prediction=str(uuid.UUID(int=next(self._number) << 80 | 7 << 76 | 2 << 62)),
            time=time,
            unit=unit,
            arm=arm,
            weight=weight,
            rollout=rollout.name if rollout else None,
            release=f"{MODEL}@{version}",
        )
        latency = float(np.exp(5 + 0.5 * self.rng.standard_normal()))
        latency *= on.get("slow", 1.0) if latency > np.exp(5) else 1.0
        ended = time + timedelta(milliseconds=latency)
        error = "engine" if self.rng.random() < on.get("error", FAILS) else None
        outcome: Outcome = logged.ended(
            asked, time=ended, latency_ms=latency, error=error, status=503 if error else 200
        )
        if error or self.rng.random() < 0.5:
            return [asked, outcome]
        score = float(np.clip(0.8 - on.get("score", 0.0) + 0.1 * self.rng.standard_normal(), 0, 1))
        said: Feedback = logged.said(asked, time=ended + timedelta(seconds=2), source="judge", score=score)
        return [asked, outcome, said]

    def play(self, seconds: float, controller: Controller | None = None, **canary: Any) -> list[Look]:
        """Traffic and a look every poll, for so long or until the rollout is over; the looks that acted."""
        controller = controller or Controller(self.settings, "production")
        poll, acted = self.rollout.plan.poll_seconds, []
        for _ in range(int(seconds / poll)):
            self.traffic(poll, **canary)
            look = controller.look(self.now.timestamp())
            acted += [look] if look.acted else []
            if look.rollout.over:
                break
        return acted
