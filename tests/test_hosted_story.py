"""Prompts for a provider's model in the whole loop: pull request, gate, release, rollout, monitor, alert, rollback.

Git, DVC, supervisor, gateway, prediction log and customers are real; the provider is the embedded engine, which serves
models that were taught their answers. GitHub is a double.
"""

import html
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Set
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from dvc.repo import Repo

import gateways
import github_double
import github_work
import merged
import ports
import provider as providers
import pull_request as pr
import schooled
import served
import starter
import tiny
from provider import Front
from supervised import Supervision, clients, until
from test_story import ENVIRONMENT, commit
from trunkline import cli, identity, prompts
from trunkline.records import Bundle, Report, Task
from trunkline.records.monitoring import Monitoring, Signal
from trunkline.records.release import Manifest, Tag
from trunkline.stages import evaluate
from trunkline.verdict import Verdict

MODEL, FIRST, SECOND = "support-triage", "v0.1.0", "v0.2.0"
# What is asked for, and what it is: a model of a day, and whatever the provider likes best.
PINNED, LATEST = "large-2026-08", "large"
PROMPT = "data/prompts/short.jinja"
TEMPLATES = (
    "{% block user %}{{ message }}{% endblock %}\n",
    "{% block system %}Answer with one JSON object.{% endblock %}{% block user %}{{ message }}{% endblock %}\n",
)
PINS, SCORE = "provider/pins", "quality/asked/exact_match"
SETTINGS = {
    "features__prompt": PROMPT,
    "features__holdout": 0.5,
    "features__leakage": {"pass": 0.5, "fail": 0.9},
    "data__limits__near_duplicates": {"pass": 0.9, "fail": 1.0},
    "gate__margin": 0.10,
    "gate__guardrails": {"valid_json": 0.10, "usd_per_1000": 0.50},
    "gate__floors": {"exact_match": 0.80, "valid_json": 0.90},
    "gate__slice_margin": 0.30,
    "evaluate__max_new_tokens": 32,
    "serve__timeouts__total": 60.0,
    "serve__gateway__probe_seconds": 1.0,
    "supervise__poll_seconds": 1.0,
    "rollout__method": "counts",
    "rollout__placebos": 99,
    "rollout__steps": [{"weight": 0.5, "minutes": 0.02}],
    "rollout__horizon_minutes": 30,
    "rollout__poll_seconds": 1,
    "rollout__metrics": {"score": {"kind": "score", "tolerated": 0.0, "margins": [0.1]}},
    "monitor__hours": 0.006,
    "monitor__conversations": {"least": 20, "most": 500},
    "monitor__first": 3,
    # How long answers take depends on what else this machine does.
    "monitor__tolerated": {"serving": 1.0, "drift": 0.03, "quality": 0.02},
    "monitor__needs": ["provider", "cost"],
    # It may ask every four seconds.
    "monitor__asked": {"engine": None, "a_month": 648_000, "holdout": 60, "probes": []},
}


def task(template: str) -> Task:
    """The project's task with a prompt."""
    return gateways.TASK.model_copy(
        update={"template": template, "prompt_id": prompts.identify(template, gateways.ALLOWED)}
    )


class Answer(NamedTuple):
    """What a customer got."""

    status: int
    version: str
    right: bool


class World(Supervision):
    """A repository whose pull requests ask a provider, and a machine that serves what is merged.

    Args:
        folder: of everything.
        front: the provider.
        url: its address.
    """

    def __init__(self, folder: Path, front: Front, url: str) -> None:
        super().__init__(folder / "machine")
        self.front, self.work = front, folder / "work"
        self._port = ports.free_ports()
        self._customers = schooled.rows(240, seed=9)
        self.work.mkdir()
        starter.git(folder, "init", "-q", "--bare", "-b", "main", "origin.git")
        starter.git(self.work, "init", "-q", "-b", "main")
        starter.git(self.work, "remote", "add", "origin", "../origin.git")
        for name in (".gitignore", ".gitattributes", "requirements.lock"):
            shutil.copy(starter.ROOT / name, self.work)
        starter.inputs(self.work)
        merged.pipeline(self.work)
        starter.write_rows(self.work / "data/raw/2026-07.jsonl", schooled.rows(300))
        self._settings = {**SETTINGS, **self._places(folder), **providers.params(url), "hosted__timeout": 120.0}
        with pr.standing_in(self.work):
            Repo.init(".").close()
        remote = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {folder / 'storage'}\n"
        (self.work / ".dvc/config").write_text(remote)

    def _places(self, folder: Path) -> dict[str, object]:
        return {
            "serve__gateway__listen": f"127.0.0.1:{self._port}",
            "serve__log__database": f"sqlite:///{folder / 'log.sqlite'}",
            "supervise__ports": {"first": self._port + 1, "last": self._port + 9},
        }

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command in the working copy, which is to end so; what it says."""
        environment = {**ENVIRONMENT, "GITHUB_ACTOR": "ada"}
        done = subprocess.run(command, cwd=self.work, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def prove(self, template: str, model: str) -> None:
        """A pull request with this prompt for this model: its pipeline runs, the gate passes, it is merged."""
        (self.work / PROMPT).write_text(template)
        starter.settings(self.work, **{**self._settings, "base": {"model": f"hosted:{model}", "sha256": None}})
        commit(self.work, f"ask {model}")
        self.run("dvc", "repro")
        self.run("trunkline", "report")
        self.run("trunkline", "gate")
        commit(self.work, "what was found")
        merged.push(self.work)
        starter.git(self.work, "push", "-q", "origin", "main")

    def manifest(self, version: str) -> Manifest:
        """Of a release."""
        name = f"{MODEL}@{version}"
        text = starter.git(self.work, "tag", "-l", "--format=%(contents)", name)
        return Manifest.of(Tag(name, starter.git(self.work, "rev-parse", f"{name}^{{commit}}"), 0, text))

    def told(self, side: str) -> str:
        """What `evaluate` says of the provider of a side."""
        report = Report.read(self.work / evaluate.REPORT)
        return next(check.message for check in report.checks if check.name == f"evaluate.provider.{side}")

    def ask(self, unit: str) -> Answer:
        """Ask as a customer does, and say whether the answer is right."""
        row = self._customers[hash(unit) % len(self._customers)]
        body = {"messages": [{"role": "user", "content": row["message"]}], "user": unit}
        url = f"http://127.0.0.1:{self._port}/v1"
        answer = requests.post(f"{url}/chat/completions", json=body, timeout=120)
        version = answer.headers.get("x-trunkline-release", "").removeprefix(f"{MODEL}@")
        if not answer.ok:
            return Answer(answer.status_code, version, False)
        right = answer.json()["choices"][0]["message"]["content"] == schooled.answer(row["intent"])
        said = {"prediction": answer.headers["x-trunkline-prediction"], "source": "customer", "score": float(right)}
        requests.post(f"{url}/feedback", json=said, timeout=120).raise_for_status()
        return Answer(answer.status_code, version, right)

    def answers(self, version: str) -> bool:
        """Whether all who ask are answered by a release, and rightly."""
        try:
            return {self.ask(f"{time.time_ns()}-{number}") for number in range(10)} == {Answer(200, version, True)}
        except requests.ConnectionError:
            return False


@pytest.fixture
def world(nameless: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[World, str]]:
    """The world, and the address of an engine whose model the provider has not shown to anybody yet."""
    tasks = [task(template) for template in TEMPLATES]
    right = schooled.taught(nameless / "right", tiny.build(nameless / "base"), schooled.RIGHT, tasks)
    wrong = schooled.taught(nameless / "wrong", right, schooled.SHIFTED, tasks)
    for name in ("first", "second"):
        (nameless / name).mkdir()
    with (
        schooled.engine(nameless / "first", right, PINNED) as first,
        schooled.engine(nameless / "second", wrong, PINNED) as second,
    ):
        front = Front({PINNED: first, LATEST: first})
        with served.answering(front.handle) as url:
            made = World(nameless, front, url)
            monkeypatch.chdir(made.work)
            try:
                yield made, second
            finally:
                made.close()


def monitor() -> tuple[int, dict[str, Signal]]:
    code = cli.main(["monitor"])
    return code, {one.key: one for one in Monitoring.read(Path("reports/monitor.json")).signals}


def found_by_monitor(codes: Set[int], measured: Set[str] = frozenset()) -> dict[str, Signal]:
    """The signals of the first run that ends so; the next is of another moment, in which too few may have asked.

    Args:
        codes: of the run.
        measured: signals that are to pass in it.
    """
    found: list[dict[str, Signal]] = []

    def look() -> bool:
        ended, signals = monitor()
        found.append(signals)
        return ended in codes and all(signals[key].verdict is Verdict.PASS for key in measured)

    until(look, 300)
    return found[-1]


def alarms(signals: dict[str, Signal]) -> set[str]:
    return {key for key, one in signals.items() if one.verdict is Verdict.FAIL}


@pytest.mark.slow
def test_a_hosted_release_goes_through_the_whole_loop_until_its_provider_silently_changes_the_model(
    world, double, output, monkeypatch
):
    world, another = world

    # A pull request, its gate, and a release that is known by its pinned answers.
    world.prove(TEMPLATES[0], PINNED)
    asked = len(world.front.bodies)
    assert "up to date" in world.run("dvc", "repro")
    assert len(world.front.bodies) == asked, "nothing is asked again"
    assert "weights  hosted, 2 files" in world.run("trunkline", "release")
    manifest = world.manifest(FIRST)
    assert (manifest.kind, manifest.base["model"]) == ("hosted", PINNED)
    assert {*manifest.weights} == {"bundle.json", "provider.json"}
    assert identity.of_release(manifest), "an engine is told from it by its pinned answers"
    world.run("trunkline", "trace", FIRST)
    said = world.run("trunkline", "affected", "--customer", "c-0-0", code=3)
    assert f"{MODEL}@{FIRST}: a provider's model, which was not trained on it" in said
    world.run("trunkline", "promote", FIRST, "--to", "production")

    # It serves, and another prompt and model meet it in the next pull request.
    merged.clone(world.work.parent / "origin.git", world.folder)
    world.start()
    until(lambda: world.answers(FIRST), 300)
    with clients(world.ask, 2, 0.3) as found:
        world.run("trunkline", "pin")
        world.prove(TEMPLATES[1], LATEST)
        assert Bundle.read(Path("models/production/bundle.json")).kind == "hosted"
        assert "3 of 3 pinned answers repeat" in world.told("production")
        world.run("trunkline", "release")

        # The monitor looks at what serves: who answers, how well, and for how much.
        found_by_monitor({0}, {PINS, SCORE, "provider/engine", "provider/request", "cost/usd_per_1000"})

        # The canary earns its traffic by what customers say.
        world.run("trunkline", "rollout", "start", SECOND, "--reason", "a clearer prompt")
        assert "promote" in world.run("trunkline", "rollout", "watch")
        until(lambda: world.answers(SECOND), 300)
        answered = {one for one in found if one.status == 200}
        assert answered == {Answer(200, FIRST, True), Answer(200, SECOND, True)}
    assert alarms(monitor()[1]) == set()

    # The provider gives another model the same name; it answers, in the right form, and nothing but its answers tells.
    world.front.engines[LATEST] = another
    assert world.ask("somebody") == Answer(200, SECOND, False)
    signals = found_by_monitor({3})
    assert alarms(signals) == {PINS, SCORE}
    assert signals[PINS].sentence.startswith(f"Provider moved: {LATEST} was asked the same again")
    assert (signals[PINS].fallback, signals[SCORE].fallback) == (FIRST, FIRST)
    assert signals[SCORE].value == 0

    # Nor does a pull request that meets it pass, while the model of a day is what it was.
    world.run("dvc", "repro", "--force", "--single-item", "evaluate")
    assert "3 of 3 pinned answers repeat" in world.told("production")
    assert "the provider moved: 3 of 3 pinned answers differ" in world.told("candidate")
    world.run("dvc", "repro", "compare")
    assert "the provider moved" in world.run("trunkline", "gate", code=3)

    # One issue each, with the command that goes back; newer data would not mend it.
    github_double.job(double, world.work.parent, monkeypatch, event="push")
    work = github_work.attach(double)
    assert cli.main(["alert"]) == 0
    assert pr.outputs(output)["retrain"] == "false"
    assert {issue["title"] for issue in work.issues} == {f"{MODEL} in production: {key}" for key in (PINS, SCORE)}
    issue = next(issue for issue in work.issues if PINS in issue["title"])
    command = html.unescape(re.search(r"<code>(trunkline rollback .*)</code>", issue["body"])[1])
    assert cli.main(shlex.split(command)[1:]) == 0
    until(lambda: world.answers(FIRST), 300)
    # Nobody asks any more, so what it costs is not measured.
    found_by_monitor({0, 4}, {PINS, SCORE})
    assert cli.main(["alert"]) == 0
    assert {issue["state"] for issue in work.issues} == {"closed"}
    assert world.end() == 0
