"""What the environments serve, and what disagrees with it."""

import pytest

import releases
import starter
from trunkline import cli
from trunkline.clients import files
from trunkline.records import Production

MODEL = releases.MODEL


@pytest.fixture
def clone(nameless, monkeypatch):
    made = releases.project(nameless, monkeypatch)
    pin(None, None)
    return made


def pin(release: str | None, revision: str | None) -> None:
    weights = "a.dir" if revision else None
    pinned = Production(release=release, revision=revision, weights=weights, partitions=())
    files.write_text(files.Path("data/production.json"), pinned.text())


def status(capsys) -> str:
    capsys.readouterr()
    assert cli.main(["status"]) == 0
    return capsys.readouterr().out


def test_before_the_first_release(clone, capsys):
    assert status(capsys) == (
        f"{MODEL}: no release yet\nno environment serves a release yet\n\n"
        "- data/production.json pins what production serves: the untuned base model, as yet\n"
    )


def test_what_serves_what_is_pinned_and_what_waits(clone, capsys):
    commits = releases.releases(clone, "v1.0.0", "v1.1.0")
    assert "- v1.1.0 was not promoted yet: `trunkline promote v1.1.0 --to production`" in status(capsys)
    for version in commits:
        cli.main(["promote", version, "--to", "production", "--by", "ann", "--reason", "better"])
    shown = status(capsys)
    assert f"{MODEL}: the latest release is v1.1.0, of 2026-11-20T10:00:00+00:00 by ann" in shown
    assert "not promoted" not in shown
    said = "compared with the untuned base model, but v1.1.0 serves in production: run `trunkline pin`"
    assert f"- {said}" in shown

    pin("v1.1.0", commits["v1.1.0"])
    assert "- data/production.json pins what production serves: v1.1.0" in status(capsys)
    cli.main(["rollback", "--to", "v1.0.0", "--by", "bob", "--reason", "worse"])
    shown = status(capsys)
    row = next(line for line in shown.splitlines() if line.startswith("production"))
    assert row.split()[1] == "v1.0.0"
    assert row.endswith("bob  worse; pinned: only a release newer than v1.1.0 is promoted")
    assert "compared with v1.1.0, but v1.0.0 serves in production" in shown


def test_a_branch_that_says_otherwise_is_told_and_mended(clone, capsys):
    releases.releases(clone, "v1.0.0")
    cli.main(["promote", "v1.0.0", "--to", "production"])
    starter.git(clone, "push", "-q", "origin", "--delete", "env/production")
    note = (
        "env/production does not say what support-triage#production#1 says: `trunkline promote v1.0.0 --to production`"
    )
    assert note in status(capsys)
    cli.main(["promote", "v1.0.0", "--to", "production"])
    assert "does not say" not in status(capsys)


def test_what_other_tools_did_is_told(clone, capsys):
    commits = releases.releases(clone, "v1.0.0", "v1.1.0")
    starter.git(clone, "tag", "-am", "x", f"{MODEL}#production#1", commits["v1.1.0"])
    starter.git(clone, "tag", "-am", "x", f"{MODEL}#canary#2", commits["v1.0.0"])
    starter.git(clone, "tag", "-am", "x", f"{MODEL}#shadow#3", f"{commits['v1.0.0']}^")
    starter.git(clone, "tag", "-am", "x", f"{MODEL}@v1.1.0!", commits["v1.1.0"])
    starter.git(clone, "push", "-q", "--tags")
    shown = status(capsys)
    assert "production serves v1.1.0, which was withdrawn: promote a newer one, or roll back" in shown
    assert "support-triage#canary#2 was made by another tool and records no decision" in shown
    assert "which is no release" in shown


def test_an_unreachable_remote_is_told_and_the_clones_state_shown(clone, capsys, caplog):
    releases.releases(clone, "v1.0.0")
    cli.main(["promote", "v1.0.0", "--to", "production"])
    starter.git(clone, "remote", "set-url", "origin", "nowhere")
    shown = status(capsys)
    assert "the state that this clone knows" in caplog.text
    assert "production   v1.0.0" in shown
    assert "the branches env/* were not compared" in shown


def test_a_broken_pin_is_told(clone, capsys):
    files.write_text(files.Path("data/production.json"), "{}")
    assert "data/production.json: release: Field required: `trunkline pin` writes it" in status(capsys)
