"""Promote through the command line, in real repositories; the rules themselves are in test_registry_rules.py."""

import os

import pytest
import yaml

import releases
import starter
from trunkline import cli
from trunkline.clients.git import tags
from trunkline.errors import Error
from trunkline.operations import promote
from trunkline.records.release import Decision

MODEL = releases.MODEL


@pytest.fixture
def clones(nameless, monkeypatch):
    made = releases.clones(nameless, 2)
    monkeypatch.chdir(made[0])
    for clone in made:
        starter.settings(clone)
    releases.releases(made[0], "v1.0.0", "v1.1.0")
    return made


def desired(clone) -> dict:
    return yaml.safe_load(starter.git(clone.parent / "origin.git", "show", f"env/production:{MODEL}.yaml"))


def test_a_promotion_is_published_and_told(clones, capsys):
    assert cli.main(["promote", "v1.0.0", "--to", "production", "--reason", "first release"]) == 0
    assert capsys.readouterr().out == (
        f"production serves {MODEL} v1.0.0 ({MODEL}#production#1 and env/production, on origin)\n"
        "next: `trunkline pin` on the branches that are to be compared with it\n"
    )
    decision = Decision.of(next(tag for tag in tags.published("origin") if "#" in tag.name))
    assert (decision.action, decision.reason, decision.by) == ("promote", "first release", "clone-0")
    assert desired(clones[0]) | {"commit": 0, "weights": 0} == {
        "model": MODEL,
        "environment": "production",
        "version": "v1.0.0",
        "commit": 0,
        "weights": 0,
        "action": "promote",
        "reason": "first release",
        "by": "clone-0",
        "since": decision.created,
        "tag": f"{MODEL}#production#1",
    }


def test_run_again_it_changes_nothing_and_says_who_did_it(clones, capsys):
    cli.main(["promote", "v1.0.0", "--to", "canary"])
    before = starter.git(clones[0], "ls-remote", "origin")
    capsys.readouterr()
    assert cli.main(["promote", f"{MODEL}@v1.0.0", "--to", "canary", "--by", "bob"]) == 0
    assert f"canary serves {MODEL} v1.0.0 already, since" in capsys.readouterr().out
    assert starter.git(clones[0], "ls-remote", "origin") == before


def test_of_two_who_promote_at_once_the_second_decides_with_what_the_first_did(clones, monkeypatch, capsys):
    """The second clone has not heard of the first promotion: here both publish with the tags that they knew."""
    here = promote.publishing.tags.published
    stale = here("origin")
    assert cli.main(["promote", "v1.0.0", "--to", "production"]) == 0
    os.chdir(clones[1])
    here("origin")
    answers = iter([stale])
    monkeypatch.setattr(promote.publishing.tags, "published", lambda remote: next(answers, None) or here(remote))
    assert cli.main(["promote", "v1.1.0", "--to", "production", "--reason", "second"]) == 0
    assert f"{MODEL}#production#2" in capsys.readouterr().out
    decision = Decision.of(tags.everything()[1])
    assert (decision.previous, decision.reason) == ("v1.0.0", "second"), "with which it was compared"
    assert desired(clones[0])["version"] == "v1.1.0"


def test_a_refusal_is_an_error_and_writes_nothing(clones, capsys):
    cli.main(["promote", "v1.1.0", "--to", "production", "--reason", "v1.0.0 is broken"])
    before = starter.git(clones[0], "ls-remote", "origin")
    assert cli.main(["promote", "v1.0.0", "--to", "production"]) == 1
    assert "v1.0.0 cannot be promoted to production: production has served v1.1.0" in capsys.readouterr().err
    assert starter.git(clones[0], "ls-remote", "origin") == before


def test_what_was_not_compared_with_what_serves_is_promoted_only_with_a_reason_and_that_is_recorded(clones, capsys):
    releases.releases(clones[0], "v1.2.0")
    cli.main(["promote", "v1.0.0", "--to", "production"])
    before = starter.git(clones[0], "ls-remote", "origin")
    capsys.readouterr()
    gap = "v1.2.0 was compared with v1.1.0, but v1.0.0 serves in production"
    assert cli.main(["promote", "v1.2.0", "--to", "production", "--by", "ann"]) == 1
    assert capsys.readouterr().err == (
        f"error: {gap}\n"
        "hint: in a pull request: `trunkline pin`, `dvc repro`, merge and release it; or say why with --reason\n"
    )
    assert starter.git(clones[0], "ls-remote", "origin") == before
    wanted = ["promote", "v1.2.0", "--to", "production", "--by", "ann", "--reason", "fees are wrong"]
    assert cli.main(wanted) == 0
    assert capsys.readouterr().out.endswith(f"note: fees are wrong ({gap})\n")
    assert (desired(clones[0])["by"], desired(clones[0])["reason"]) == ("ann", f"fees are wrong ({gap})")
    assert cli.main(["promote", "v1.2.0", "--to", "production"]) == 0
    assert "serves support-triage v1.2.0 already" in capsys.readouterr().out


def test_other_environments_take_what_was_compared_with_anything(clones):
    assert cli.main(["promote", "v1.1.0", "--to", "staging"]) == 0


def test_without_a_remote_only_this_clone_knows_and_that_is_said(clones, capsys):
    starter.git(clones[0], "remote", "remove", "origin")
    assert cli.main(["promote", "v1.0.0", "--to", "production"]) == 0
    assert "only in this clone, which has no remote `origin`" in capsys.readouterr().out
    assert "version: v1.0.0" in starter.git(clones[0], "show", f"env/production:{MODEL}.yaml")


def test_a_workflow_is_named_with_its_run(clones, monkeypatch):
    for name, value in {
        "GITHUB_ACTOR": "dependabot",
        "GITHUB_TRIGGERING_ACTOR": "ann",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "acme/triage",
        "GITHUB_RUN_ID": "7",
    }.items():
        monkeypatch.setenv(name, value)
    cli.main(["promote", "v1.0.0", "--to", "canary"])
    decision = Decision.of(next(tag for tag in tags.everything() if "#" in tag.name))
    assert (decision.by, decision.run) == ("ann", "https://github.com/acme/triage/actions/runs/7")


def test_nobody_decides_nothing(clones):
    starter.git(clones[0], "config", "--unset", "user.name")
    with pytest.raises(Error, match="who decides is not known"):
        promote.run(starter.settings(clones[0]), "v1.0.0", "production")
