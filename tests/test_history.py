"""The history through the command line; its entries are in test_registry_rules.py."""

import json

import pytest

import releases
import starter
from trunkline import cli

MODEL = releases.MODEL


@pytest.fixture
def clone(nameless, monkeypatch):
    made = releases.project(nameless, monkeypatch)
    releases.releases(made, "v1.0.0", "v1.1.0")
    return made


def test_what_served_when_who_decided_and_why(clone, capsys):
    for command in (
        ["promote", "v1.0.0", "--to", "production", "--by", "ann"],
        ["promote", "v1.1.0", "--to", "production", "--reason", "better \x1b[2Jby 3 points", "--by", "ann"],
        ["rollback", "--to", "v1.0.0", "--reason", "refunds go wrong", "--by", "bob"],
    ):
        assert cli.main(command) == 0
    starter.git(clone, "tag", "-am", "Assigning stage", f"{MODEL}#canary#4", "HEAD")
    starter.git(clone, "push", "-q", "--tags")
    capsys.readouterr()
    assert cli.main(["history"]) == 0
    head, *lines, foreign = capsys.readouterr().out.splitlines()
    assert head.split() == ["#", "environment", "version", "from", "until", "action", "by", "reason"]
    rows = [line.split() for line in lines]
    assert [(row[0], row[1], row[2], row[5], row[6]) for row in rows] == [
        ("1", "production", "v1.0.0", "promote", "ann"),
        ("2", "production", "v1.1.0", "promote", "ann"),
        ("3", "production", "v1.0.0", "rollback", "bob"),
        ("4", "canary", "v1.1.0", "assign", "Test"),
    ]
    assert [row[4] for row in rows] == [rows[1][3], rows[2][3], "now", "now"]
    assert "\x1b" not in lines[1], "a reason cannot clear the reader's screen"
    assert "1 of 4 record no decision" in foreign

    assert cli.main(["history", "--environment", "production", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["reason"] for entry in entries][2] == "refunds go wrong"
    assert entries[2]["tag"] == f"{MODEL}#production#3"


def test_nothing_assigned_is_told_and_an_empty_list(clone, capsys):
    assert cli.main(["history", "--environment", "canary"]) == 1
    assert f"no release of {MODEL} was ever assigned to canary" in capsys.readouterr().err
    assert cli.main(["history", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
