"""Who decides: said, or named by GitHub Actions, or by Git."""

from datetime import UTC, datetime

import pytest

import starter
from trunkline.clients import actor
from trunkline.errors import Error


@pytest.fixture
def repository(nameless, monkeypatch):
    monkeypatch.chdir(nameless)
    starter.git(nameless, "init", "-q")
    return nameless


def test_the_name_that_is_given_comes_first_then_the_workflows_then_gits(repository, monkeypatch):
    starter.git(repository, "config", "user.name", "git's")
    assert actor.name() == "git's"
    monkeypatch.setenv("GITHUB_ACTOR", "began it")
    assert actor.name() == "began it"
    monkeypatch.setenv("GITHUB_TRIGGERING_ACTOR", "ran it again")
    assert actor.name(" ") == "ran it again"
    assert actor.name("ann\n b") == "ann b"


def test_where_nobody_is_named_it_is_an_error(repository):
    with pytest.raises(Error, match="not known"):
        actor.name()


def test_a_run_has_an_address_only_in_a_workflow(repository, monkeypatch):
    assert actor.run() is None
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com/")
    monkeypatch.setenv("GITHUB_REPOSITORY", "a/b")
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    assert actor.run() == "https://github.com/a/b/actions/runs/7"


def test_a_decision_says_who_made_it_when_and_where(repository):
    said = {"model": "m", "environment": "canary", "version": "v1.0.0", "action": "promote", "reason": "better"}
    made = actor.decision(said, "ann")
    assert (made.by, made.previous, made.run, made.reason) == ("ann", None, None, "better")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(made.created)).total_seconds()) < 60
