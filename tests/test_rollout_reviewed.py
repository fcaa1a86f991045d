"""What a reviewer says about a held rollout in GitHub is a decision with name and reason; without one there is none."""

from collections.abc import Iterator

import pytest

import github_double
from rollouts import CANARY, MODEL, STABLE, World
from trunkline import cli

ENVIRONMENT = "promote-reviewed"
ROLLOUT = f"{MODEL}#production#{CANARY}#1"


@pytest.fixture
def world(nameless, monkeypatch) -> World:
    made = World(nameless, monkeypatch)
    made.start()
    assert cli.main(["rollout", "hold", "--reason", "a human is to look"]) == 0
    return made


@pytest.fixture
def github(tmp_path, monkeypatch) -> Iterator[github_double.GitHubDouble]:
    with github_double.GitHubDouble() as double:
        github_double.job(double, tmp_path, monkeypatch, event="push")
        yield double


def review(state: str, by: str | None, comment: str | None, environment: str = ENVIRONMENT) -> dict:
    user = None if by is None else {"login": by, "id": 1}
    return {"state": state, "comment": comment, "user": user, "environments": [{"id": 1, "name": environment}]}


def decide(action: str) -> int:
    return cli.main(["rollout", action, ROLLOUT, "--reviewed"])


def test_who_approved_promotes_and_not_who_started_the_run(world, github):
    github.reviews = [review("approved", "ann", "checked\n50 answers")]
    assert decide("promote") == 0
    assert (world.rollout.state, world.rollout.by, world.rollout.reason) == ("promoted", "ann", "checked 50 answers")
    assert (world.serves()["version"], world.serves()["by"]) == (CANARY, "ann")


def test_who_rejected_rolls_back(world, github):
    github.reviews = [review("rejected", "bob", "")]
    assert decide("rollback") == 0
    assert (world.rollout.state, world.rollout.by) == ("rolled_back", "bob")
    assert world.rollout.reason == "rejected on GitHub without a comment"
    assert world.serves()["version"] == STABLE


def test_two_reviewers_are_both_named(world, github):
    github.reviews = [review("approved", "ann", "fine"), review("approved", "bob", "fine")]
    assert decide("promote") == 0
    assert (world.rollout.by, world.rollout.reason) == ("ann, bob", "fine")


@pytest.mark.parametrize(
    ("action", "reviews"),
    [
        ("promote", []),
        ("promote", [review("rejected", "ann", "no")]),
        ("promote", [review("approved", "ann", "another environment", "gpu-pr")]),
        ("promote", [review("approved", None, "the account is gone")]),
        ("rollback", []),
        ("rollback", [review("approved", "ann", "the job failed afterwards")]),
    ],
)
def test_where_nobody_said_so_nothing_is_decided(world, github, capsys, action, reviews):
    github.reviews = reviews
    assert decide(action) == 1
    assert f"no reviewer of {ENVIRONMENT} has" in capsys.readouterr().err
    assert world.rollout.state == "held"


@pytest.mark.parametrize(("action", "state"), [("promote", "approved"), ("rollback", "rejected")])
def test_a_review_that_waited_while_the_version_was_tried_anew_decides_nothing(world, github, capsys, action, state):
    cli.main(["rollout", "rollback", "--reason", "by hand"])
    cli.main(["rollout", "start", CANARY, "--reason", "again"])
    cli.main(["rollout", "hold", "--reason", "a human is to look"])
    github.reviews = [review(state, "ann", "about the first one")]
    assert decide(action) == 1
    assert f"#{CANARY}#2 came after {ROLLOUT}" in capsys.readouterr().err
    assert world.rollout.state == "held"


@pytest.mark.parametrize("text", ["{}", '[{"state": "approved"}]', '[{"state": 1}]'])
def test_an_answer_of_another_shape_decides_nothing(world, github, text):
    github.fail(200, path="/approvals", text=text)
    assert decide("promote") == 1
    assert world.rollout.state == "held"


def test_outside_of_a_workflow_there_is_no_review(world, capsys):
    assert decide("promote") == 1
    assert "run this in a GitHub Actions job" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["promote", ROLLOUT, "--reviewed", "--reason", "x"], "rollout promote takes no --reason"),
        (["rollback", ROLLOUT, "--reviewed", "--by", "ann"], "rollout rollback takes no --by"),
        (["promote", "--reviewed"], "rollout promote needs ROLLOUT"),
        (["promote", ROLLOUT, "--reason", "x"], "rollout promote takes no ROLLOUT"),
        (["hold", "--reviewed", "--reason", "x"], "rollout hold takes no --reviewed"),
        (["step", "--until-held"], "rollout step takes no --until-held"),
    ],
)
def test_a_review_says_who_and_why_and_is_for_what_is_held(world, capsys, arguments, said):
    assert cli.main(["rollout", *arguments]) == 1
    assert said in capsys.readouterr().err
