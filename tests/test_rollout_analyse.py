"""The analysis of a Kubernetes Job: requests split at random, a canary known by its release, exit codes that decide."""

import json
from datetime import timedelta

import numpy as np
import pytest

import logged
import releases
import starter
from trunkline import cli
from trunkline.clients import predictions
from trunkline.clients.predictions import Database

MODEL = releases.MODEL
METRICS = {"error": {"kind": "failure", "tolerated": 1.0, "margins": [3.0, 3.0]}}
STEPS = [{"weight": 0.05, "minutes": 0}, {"weight": 0.25, "minutes": 0}]


@pytest.fixture
def log(in_tmp, monkeypatch):
    path = in_tmp / "log.sqlite"
    settings = {"metrics": METRICS, "steps": STEPS, "hard_stops": {"error": 25}}
    starter.settings(
        in_tmp,
        serve__log__database=f"sqlite:///{path}",
        **{f"rollout__{key}": value for key, value in settings.items()},
    )
    database = Database(f"sqlite:///{path}")
    now = logged.NOW + timedelta(hours=1)
    monkeypatch.setattr("trunkline.operations.rollout.time.time", lambda: now.timestamp())
    return database


def served(database: Database, canary: float, error: float, share: float = 0.25, **changes) -> None:
    """Ten minutes of 60 requests, after two of stable alone; a gateway in a pod knows neither rollout nor weight."""
    rng = np.random.default_rng(0)
    records = []
    for second in np.sort(rng.uniform(-120, 600, 720)).tolist():
        arm = "canary" if second > 0 and rng.random() < share else "stable"
        release = f"{MODEL}@v1.1.0" if arm == "canary" else f"{MODEL}@v1.0.0"
        time = logged.NOW + timedelta(seconds=second)
        one = logged.assigned(
            time=time, unit=predictions.new_id(), arm=arm, weight=0.0, rollout=None, release=release, **changes
        )
        failed = rng.random() < (canary if arm == "canary" else error)
        kind = {"error": "engine", "status": 503} if failed else {}
        records += [one, logged.ended(one, time=time + timedelta(seconds=1), **kind)]
    database.add(records)


def analyse(capsys, *arguments: str) -> tuple[int, dict]:
    capsys.readouterr()
    code = cli.main(["rollout", "analyse", "--canary", "v1.1.0", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_a_canary_that_is_worse_aborts_whatever_is_asked(log, capsys):
    served(log, canary=0.5, error=0.1)
    for arguments in ((), ("--weight", "0.05"), ("--weight", "0.25")):
        code, decision = analyse(capsys, *arguments)
        assert (code, decision["action"], decision["culprits"]) == (3, "rollback", ["error"])


def test_a_canary_within_the_steps_margin_goes_on_and_one_without_proof_stays(log, capsys):
    served(log, canary=0.2, error=0.2)
    code, decision = analyse(capsys, "--weight", "0.25")
    assert (code, decision["because"], decision["weight"]) == (0, "enough", 0.25)
    assert decision["signals"][0]["canary"] > 10
    assert analyse(capsys)[0] == 4, "without a step nothing is shown, and nothing is worse"


def test_too_little_traffic_is_no_proof(log, capsys):
    served(log, canary=0.003, error=0.003)
    code, decision = analyse(capsys, "--weight", "0.05")
    assert (code, decision["because"]) == (4, "evidence")


def test_a_canary_that_was_never_heard_of_is_no_proof(log, capsys):
    served(log, canary=0.2, error=0.2, share=0.0)
    code, decision = analyse(capsys, "--weight", "0.25")
    assert (code, decision["because"]) == (4, "no request")


def test_other_canaries_and_other_environments_are_not_this_one(log, capsys):
    served(log, canary=0.2, error=0.2)
    served(log, canary=0.0, error=0.0, share=0.0, environment="staging")
    record = [
        logged.assigned(time=logged.NOW, arm="canary", rollout=None, release=f"{MODEL}@v1.2.0") for _ in range(40)
    ]
    log.add([*record, *(logged.ended(one, error="engine", status=503) for one in record)])
    assert analyse(capsys, "--weight", "0.25")[0] == 0
    assert analyse(capsys, "--weight", "0.25", "--environment", "staging")[1]["because"] == "no request"


def test_a_job_that_cannot_tell_is_an_error(log, capsys):
    assert cli.main(["rollout", "analyse"]) == 1
    assert "rollout analyse needs --canary" in capsys.readouterr().err
    assert cli.main(["rollout", "analyse", "--canary", "latest"]) == 1
    assert "'latest' is not a version" in capsys.readouterr().err
