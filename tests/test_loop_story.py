"""The loop, told whole: customers ask about something new, and no human does anything until the next release serves.

Real Git, DVC, training, prediction log and statistics, a GitHub over HTTP; only the days pass faster, and the model is
tiny.
"""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

import github_double
import github_work
import loop
import pull_request as pr
import starter
from loop import FIRST, MODEL, SECOND, Clock, Customers, Model, Serving
from trunkline import cli, params
from trunkline.records.monitoring import Monitoring
from trunkline.records.rollout import Rollout
from trunkline.verdict import Verdict

pytestmark = pytest.mark.slow
BEFORE, AFTER = 5, 3  # days without and with the new product


@pytest.fixture(scope="module")
def served(tmp_path_factory, tiny_base) -> Path:
    """A world in which the first release has served for a week, at the end of which a new product came."""
    folder = tmp_path_factory.mktemp("loop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_ACTOR", "ada")
        work = loop.build(folder / "world", tiny_base, patch)
        customers = Customers(params.load(work / "params.yaml"))
        clock, arms = Clock(patch), {"stable": Serving(FIRST, Model(work))}
        for day in range(BEFORE + AFTER):
            customers.new = day >= BEFORE
            days(clock, customers, arms, labels=0.9 if customers.new else 0.4)
    shutil.copytree(folder / "world", folder / "kept", symlinks=True)
    return folder / "world"


def days(clock: Clock, customers: Customers, arms: dict[str, Serving], count: int = 1, **said: object) -> None:
    """Let days pass, each with 160 conversations."""
    for _ in range(count):
        customers.ask([clock.now + timedelta(minutes=1 + 8 * number) for number in range(160)], arms, **said)
        clock.passes(days=1)


class World:
    """The served world, put back as it was, a week later.

    Attributes:
        clock: what time it is.
        work: GitHub's issues and pull requests.
        arms: what answers.
    """

    def __init__(self, folder: Path, double: github_double.GitHubDouble, patch: pytest.MonkeyPatch, tmp: Path) -> None:
        shutil.rmtree(folder)
        shutil.copytree(folder.parent / "kept", folder, symlinks=True)
        self.folder, self.double, self.patch, self.tmp = folder, double, patch, tmp
        self.clock = Clock(patch)
        self.clock.passes(days=BEFORE + AFTER, minutes=5)
        self.work = github_work.attach(double, folder / "origin.git")
        ruleset = json.loads((starter.ROOT / ".github/rulesets/main.json").read_text())
        double.rulesets.append(ruleset | {"id": 1})
        self.settings = params.load(folder / "work/params.yaml")
        self.customers = Customers(self.settings, seed=4)
        self.customers.new = True
        self.arms = {"stable": Serving(FIRST, Model(folder / "work"))}

    def job(self, name: str, event: str = "push", revision: str = "main") -> Path:
        """A job's fresh clone, which is the current folder from now on."""
        github_double.job(self.double, self.tmp, self.patch, event=event, token="ghp_admin")
        place = pr.cloned(self.folder / "work", name, revision)
        self.patch.chdir(place)
        return place

    @property
    def rollout(self) -> Rollout:
        """As the remote's branch says it."""
        text = starter.git(self.folder / "origin.git", "show", f"env/production:{MODEL}.rollout.yaml")
        return Rollout.parse(text.encode(), "the branch")

    def minutes(self, seconds: float) -> None:
        """Ten requests a second for so long, on the arms as the branch says them."""
        there = self.rollout if "canary" in self.arms else None
        moments = [self.clock.now + timedelta(seconds=number / 10) for number in range(int(10 * seconds))]
        self.customers.ask(moments, self.arms, there)
        self.clock.passes(seconds=seconds)


@pytest.fixture
def world(served, double, nameless, monkeypatch) -> World:
    return World(served, double, monkeypatch, nameless)


def step(*command: str) -> int:
    return cli.main(list(command))


def refs(world: World) -> str:
    return starter.git(world.folder, "ls-remote", "origin.git")


def alarms() -> set[str]:
    found = Monitoring.read(Path("reports/monitor.json"))
    return {one.key for one in found.signals if one.verdict is Verdict.FAIL}


def trains(world: World, head: str, branch: str, output: Path) -> str:
    """The jobs of a pull request, each in a clone of its own; the commit that holds what they found."""
    runner = world.job("runner", "pull_request", head)
    pr.event(world.tmp / "event.json", head)
    assert step("plan") == 0
    assert pr.outputs(output)["changed"] == "true"
    loop.run(runner, "dvc", "repro", "--pull")
    assert step("report") == 0
    assert step("push") == 0
    base = world.job("base", "pull_request")
    pr.event(world.tmp / "event.json", head)
    shutil.copytree(runner / "artifact", base / "artifact")
    assert step("adopt", "artifact", "--commit", head, "--branch", branch) == 0
    made = pr.outputs(output)["commit"]
    world.double.commits.add(made)
    assert step("comment", "--commit", made) == 0
    assert (world.double.statuses[-1]["sha"], world.double.statuses[-1]["state"]) == (made, "success")
    assert step("gate", "--commit", made) == 0
    return made


def merges(world: World, pull: dict, made: str) -> None:
    """GitHub merges what it was asked to, as the status that it waits for is there."""
    assert pull["auto_merge"] is not None
    github = pr.cloned(world.folder / "work", "github")
    starter.git(github, "merge", "-q", "--no-ff", "-m", f"Merge {pull['title']}", made)
    starter.git(github, "push", "-q", "origin", "main")
    pull["state"] = "closed"


def test_a_new_product_is_noticed_learned_released_and_served_without_a_human(world, output, capsys):
    # Monitor: customers ask about what the release has never seen, and people say that its answers are wrong.
    world.job("monitor")
    assert step("monitor") == 3
    found = alarms()
    assert {"drift/unknown_words", "quality/labels"} <= found
    assert not {key for key in found if key.startswith("serving/")}
    assert step("alert") == 0
    assert pr.outputs(output)["retrain"] == "true"
    assert sorted(issue["title"] for issue in world.work.issues) == [
        f"{MODEL} in production: {k}" for k in sorted(found)
    ]
    assert step("alert") == 0
    assert len(world.work.issues) == len(found), "one issue an alarm"

    # Retrain: one pull request with what people said.
    world.job("retrain")
    assert step("monitor") == 3
    assert step("retrain") == 0
    (pull,) = world.work.pulls
    branch = pull["head"]["ref"]
    assert branch == f"retrain/{world.clock.now:%Y-%m}"
    assert pull["requested_reviewers"] == []
    assert "drift/unknown" in pull["body"].replace("&#95;", "_")
    head = world.work.branch(branch)
    assert step("retrain") == 0
    assert (len(world.work.pulls), world.work.branch(branch)) == (1, head)

    # Its pipeline trains and the gate passes; GitHub merges; the merge is released.
    made = trains(world, head, branch, output)
    merges(world, pull, made)
    release = world.job("release")
    assert step("plan") == 0
    assert pr.outputs(output)["changed"] == "false"
    assert step("release") == 0
    assert pr.outputs(output)["version"] == SECOND

    # Rollout: it earns its traffic.
    world.minutes(120)
    assert step("rollout", "start", SECOND) == 0
    world.arms["canary"] = Serving(SECOND, Model(world.folder / "runner"))
    for _ in range(40):
        world.minutes(20)
        code = step("rollout", "step")
        if world.rollout.over:
            break
    assert (code, world.rollout.state, world.rollout.by) == (0, "promoted", "trunkline")
    served = yaml.safe_load(starter.git(world.folder / "origin.git", "show", f"env/production:{MODEL}.yaml"))
    assert served["version"] == SECOND

    # Monitor again: what was new is known now, and every issue is closed.
    world.arms = {"stable": world.arms["canary"]}
    days(world.clock, world.customers, world.arms, 5)
    world.clock.passes(minutes=5)
    world.patch.chdir(release)
    assert step("monitor") == 0, alarms()
    assert step("alert") == 0
    assert {issue["state"] for issue in world.work.issues} == {"closed"}

    # And everything can be told afterwards.
    capsys.readouterr()
    assert step("history") == 0
    told = capsys.readouterr().out
    assert FIRST in told and SECOND in told and world.rollout.name in told
    assert step("trace", SECOND, "--fetch") == 0
    assert f"data/raw/{branch.removeprefix('retrain/')}.jsonl" in capsys.readouterr().out


def test_dirty_labels_stop_before_anything_is_pushed_and_a_human_is_asked_once(world, capsys):
    days(world.clock, world.customers, world.arms, 3, labels=1.0, label="no idea")
    before = refs(world)
    world.job("retrain")
    for _ in range(2):
        assert step("retrain") == 3
    assert "not fit to train on" in capsys.readouterr().out
    (issue,) = world.work.issues
    assert (issue["title"], issue["state"]) == (f"{MODEL}: new labelled rows are not fit to train on", "open")
    assert len(world.double.asked("POST", "/issues")) == 1, "asked once"
    assert world.work.pulls == []
    assert refs(world) == before
