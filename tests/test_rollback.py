"""Roll back through the command line; the rules themselves are in test_registry_rules.py."""

import pytest
import yaml

import releases
import starter
from trunkline import cli
from trunkline.clients.git import tags
from trunkline.records.release import Decision

MODEL = releases.MODEL


@pytest.fixture
def clone(nameless, monkeypatch):
    made = releases.project(nameless, monkeypatch)
    releases.releases(made, "v1.0.0", "v1.1.0", "v1.2.0")
    for version in ("v1.0.0", "v1.1.0"):
        cli.main(["promote", version, "--to", "production"])
    return made


def rollback(*arguments: str) -> int:
    return cli.main(["rollback", *arguments])


def test_a_rollback_says_who_decided_and_why_in_tag_and_branch(clone, capsys):
    assert rollback("--to", "v1.0.0", "--reason", "refunds go\nto the wrong queue", "--by", "ann") == 0
    assert f"production serves {MODEL} v1.0.0 after v1.1.0" in capsys.readouterr().out
    decision = Decision.of(tags.known()[2])
    assert (decision.action, decision.by, decision.previous) == ("rollback", "ann", "v1.1.0")
    assert decision.reason == "refunds go to the wrong queue"
    desired = yaml.safe_load(starter.git(clone, "show", f"origin/env/production:{MODEL}.yaml"))
    assert (desired["version"], desired["action"], desired["by"]) == ("v1.0.0", "rollback", "ann")


def test_after_it_only_a_newer_release_is_promoted(clone, capsys):
    rollback("--to", "v1.0.0", "--reason", "worse")
    assert cli.main(["promote", "v1.1.0", "--to", "production"]) == 1
    assert "only a newer release may be promoted: v1.2.0" in capsys.readouterr().err
    assert cli.main(["promote", "v1.2.0", "--to", "production", "--reason", "it mends v1.1.0"]) == 0


def test_a_refusal_writes_nothing(clone, capsys):
    before = starter.git(clone, "ls-remote", "origin")
    for arguments, problem in (
        (["--to", "v1.1.0", "--reason", "x"], "already serves v1.1.0"),
        (["--to", "v1.2.0", "--reason", "x"], "never served v1.2.0"),
        (["--to", "v1.0.0", "--reason", " "], "needs a reason"),
        (["--to", "v1.0.0", "--reason", "x", "--environment", "canary"], "canary never served v1.0.0"),
    ):
        assert rollback(*arguments) == 1
        assert problem in capsys.readouterr().err
    assert starter.git(clone, "ls-remote", "origin") == before


def test_a_rollback_needs_a_reason_on_the_command_line():
    with pytest.raises(SystemExit):
        rollback("--to", "v1.0.0")
