"""A repository whose production has collected labels: what `trunkline retrain` starts from."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import github_double
import github_work
import logged
import releases
import starter
from trunkline.clients import files, predictions
from trunkline.params import Params
from trunkline.records import Production, Report
from trunkline.records.prediction import Assignment, Feedback
from trunkline.verdict import Check, Verdict

MONTHS = ("2026-07", "2026-08")
NOW = datetime.now(UTC).replace(microsecond=0)
MONTH = f"{NOW:%Y-%m}"
PARTITION = f"data/raw/{MONTH}.jsonl"


class World:
    """A clone with two merged partitions, its origin, GitHub, and a prediction log.

    Attributes:
        clone: the current folder.
        work: GitHub's issues and pull requests.
    """

    def __init__(self, folder: Path, double: github_double.GitHubDouble, patch: pytest.MonkeyPatch, **changes: object):
        self.folder, self.double = folder, double
        (self.clone,) = releases.clones(folder)
        self.origin = folder / "origin.git"
        starter.git(self.origin, "symbolic-ref", "HEAD", "refs/heads/main")
        starter.git(self.clone, "checkout", "-q", "-B", "main", "origin/main")
        patch.chdir(self.clone)
        for seed, month in enumerate(MONTHS):
            starter.write_rows(self.clone / f"data/raw/{month}.jsonl", later(seed, month))
        pin = Production(release=None, revision=None, weights=None, partitions=())
        files.write_text(self.clone / "data/production.json", pin.text())
        trained(self.clone)
        self.settings(**changes)
        self.merge("two months")
        github_double.job(double, folder, patch, event="push")
        self.work = github_work.attach(double, self.origin)
        ruleset = json.loads((starter.ROOT / ".github/rulesets/main.json").read_text())
        double.rulesets.append(ruleset | {"id": 1})
        patch.setenv("GITHUB_TOKEN", "ghp_admin")
        predictions.Database(self.params.serve.log.database).close()

    def settings(self, **changes: object) -> Params:
        """Write params.yaml: few rows are enough, the log is beside the clone, all values as in the starter."""
        log = logged.settings(self.folder).model_dump()
        wanted = {
            "serve__log": log,
            "retrain__min_rows": 20,
            "retrain__auto_merge": True,
            "retrain__reviewers": ["bob"],
        }
        self.params = starter.settings(self.clone, **(wanted | changes))
        return self.params

    def merge(self, message: str) -> str:
        """Commit all and push it to main."""
        starter.git(self.clone, "add", "-A")
        starter.git(self.clone, "commit", "-qm", message)
        starter.git(self.clone, "push", "-q", "origin", "HEAD:main")
        return starter.git(self.clone, "rev-parse", "HEAD")

    def log(self, *records: Assignment | Feedback) -> None:
        """Let the log hold these."""
        with predictions.reading(self.params.serve.log) as database:
            database.add(records)

    def label(self, count: int, seed: int = 2, source: str = "agent", **changes: object) -> list[Assignment]:
        """Log predictions that somebody has given the right answer to; what was asked, of raw rows of a seed."""
        made = []
        for row in later(seed, MONTH, count):
            time = NOW - timedelta(days=1)
            content = {"time": time, "input": row["message"], "customer": row["customer"], "unit": row["conversation"]}
            asked = logged.assigned(**(content | {"rollout": None, "arm": "stable"} | changes))
            answer = json.dumps({"intent": row["intent"], "urgency": row["urgency"]})
            self.log(asked, logged.said(asked, source=source, label=answer, time=time))
            made.append(asked)
        return made

    def files_of(self, branch: str) -> dict[str, str]:
        """What a branch of origin changes against main, by path."""
        named = starter.git(self.origin, "diff", "--name-only", f"main...{branch}").split()
        return {path: starter.git(self.origin, "show", f"{branch}:{path}") for path in named}


def later(seed: int, month: str, count: int = 60) -> list[dict[str, str]]:
    """Rows of a month, none of which repeats those of another seed."""
    return starter.rows(60 * (seed + 1), month, seed)[60 * seed :][:count]


def trained(folder: Path, hours: float = 0.5) -> None:
    """What the last training would have left."""
    check = Check(name="train.loss", verdict=Verdict.PASS, value=0.1, limit=1.0, message="it went down")
    files.write_text(folder / "reports/train.json", Report.of("train", (check,), {"gpu_hours": hours}, {}).text())
