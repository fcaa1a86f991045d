"""Commits that leave the working tree alone, and pushes that change all refs or none."""

import pytest

import starter
from trunkline.clients.git import branches
from trunkline.clients.git.branches import Rejected
from trunkline.errors import Error

BRANCH = "refs/heads/env/production"
TAG = "refs/tags/m@v1.0.0"


@pytest.fixture
def bare(nameless):
    return nameless / "origin.git"


def listed(commit: str, *path: str) -> list[str]:
    return branches.git("ls-tree", "-r", "--name-only", commit, *path).decode().split()


def hook(bare, name: str, script: str) -> None:
    path = bare / "hooks" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_commit_changes_only_what_it_names(clones):
    (clones[0] / "code.txt").write_text("edited, not committed")
    first = branches.commit(None, {"a/b.yaml": b"one", "c.txt": b"two"}, "first\n")
    second = branches.commit(first, {"c.txt": None, "d.txt": b"\x00\xff"}, "second\n")
    assert listed(second) == ["a/b.yaml", "d.txt"]
    assert branches.git("cat-file", "blob", f"{second}:d.txt") == b"\x00\xff"
    assert starter.git(clones[0], "log", "--format=%s", second) == "second\nfirst"
    assert starter.git(clones[0], "status", "--porcelain") == "M code.txt"
    assert branches.local_head("env/production") is None


def test_a_file_keeps_its_mode(clones):
    (clones[0] / "run.sh").write_text("x")
    (clones[0] / "run.sh").chmod(0o755)
    starter.git(clones[0], "add", "run.sh")
    starter.git(clones[0], "commit", "-qm", "script")
    made = branches.commit("HEAD", {"run.sh": b"y"}, "edit\n")
    assert branches.git("ls-tree", made, "run.sh").startswith(b"100755")


def test_a_machine_without_identity_commits_under_the_tools_name(clones):
    starter.git(clones[0], "config", "--unset", "user.name")
    starter.git(clones[0], "config", "--unset", "user.email")
    made = branches.commit(None, {"a": b""}, "first\n")
    assert starter.git(clones[0], "log", "-1", "--format=%an %cn", made) == "trunkline trunkline"


def test_a_parent_that_is_not_here_is_an_error(clones):
    with pytest.raises(Error, match="read-tree"):
        branches.commit("f" * 40, {"a": b""}, "x\n")


def test_all_refs_are_pushed_or_none(clones, bare):
    first = branches.commit(None, {"a": b"1"}, "first\n")
    branches.push("origin", {TAG: "HEAD", BRANCH: first}, {TAG: None, BRANCH: None})
    assert branches.remote_head("origin", "env/production") == first
    second = branches.commit(first, {"a": b"2"}, "second\n")
    with pytest.raises(Rejected, match="moved on"):
        branches.push("origin", {TAG: second, BRANCH: second}, {TAG: None, BRANCH: first})
    assert branches.remote_head("origin", "env/production") == first, "the tag was taken, so the branch stays"
    branches.push("origin", {BRANCH: second}, {BRANCH: first})
    assert branches.remote_head("origin", "env/production") == second


def test_of_two_clones_that_move_one_branch_the_second_is_rejected(clones, monkeypatch):
    ours = branches.commit(None, {"a": b"ours"}, "ours\n")
    branches.push("origin", {BRANCH: ours}, {BRANCH: None})
    monkeypatch.chdir(clones[1])
    theirs = branches.commit(None, {"a": b"theirs"}, "theirs\n")
    for expected in ({BRANCH: None}, {}):
        with pytest.raises(Rejected, match="origin has moved on"):
            branches.push("origin", {BRANCH: theirs}, expected)
    branches.fetch("origin", "env/production")
    following = branches.commit(ours, {"a": b"theirs"}, "theirs\n")
    branches.push("origin", {BRANCH: following}, {BRANCH: ours})


def test_a_race_that_is_lost_at_the_server_is_a_lost_race(clones, bare):
    """Somebody else's push lands after our refs were compared, and before they are set."""
    hook(bare, "pre-receive", f"unset GIT_QUARANTINE_PATH\ngit update-ref {TAG} $(git rev-parse main)")
    made = branches.commit(None, {"a": b""}, "first\n")
    with pytest.raises(Rejected, match="moved on"):
        branches.push("origin", {TAG: made, BRANCH: made}, {TAG: None, BRANCH: None})
    assert branches.remote_head("origin", "env/production") is None


def test_a_protected_branch_is_no_lost_race(clones, bare):
    hook(bare, "update", 'case $1 in refs/heads/env/*) echo "GH013: needs a review" >&2; exit 1;; esac')
    made = branches.commit(None, {"a": b""}, "first\n")
    with pytest.raises(Error, match="needs a review.*hook declined") as caught:
        branches.push("origin", {TAG: made, BRANCH: made}, {TAG: None, BRANCH: None})
    assert not isinstance(caught.value, Rejected)
    assert starter.git(bare, "tag") == "", "the tag that was allowed was not set alone"


def test_an_unreachable_remote_is_an_error(clones, nameless):
    starter.git(clones[0], "remote", "set-url", "origin", str(nameless / "nowhere.git"))
    with pytest.raises(Error, match="cannot push to origin.*nowhere") as caught:
        branches.push("origin", {BRANCH: "HEAD"}, {})
    assert not isinstance(caught.value, Rejected)
    for ask in (branches.remote_head, branches.fetch):
        with pytest.raises(Error, match="nowhere"):
            ask("origin", "main")


def test_refs_of_this_clone_change_all_or_none(clones):
    made = branches.commit(None, {"a": b""}, "first\n")
    branches.update({TAG: made, BRANCH: made}, {TAG: None, BRANCH: None})
    assert branches.local_head("env/production") == made
    second = branches.commit(made, {"a": b"2"}, "second\n")
    with pytest.raises(Rejected, match="this clone has moved on"):
        branches.update({BRANCH: second, TAG: second}, {BRANCH: made, TAG: None})
    assert branches.local_head("env/production") == made


def test_a_branch_whose_name_ends_like_another_is_not_taken_for_it(clones):
    other = branches.commit(None, {"x": b"1"}, "other\n")
    branches.push("origin", {"refs/heads/a/refs/heads/env/production": other}, {})
    assert branches.remote_head("origin", "env/production") is None


def test_a_snapshot_is_of_one_commit_as_this_clone_knows_it(clones):
    made = branches.commit(None, {"a.yaml": b"one", "b/c.yaml": b"two"}, "first\n")
    assert branches.snapshot(None, "env/production", ["a.yaml"]) == {}
    branches.push("origin", {BRANCH: made}, {BRANCH: None})
    assert branches.snapshot("origin", "env/production", ["a.yaml"]) == {"a.yaml": b"one"}
    assert branches.snapshot("origin", "env/production", ["b/c.yaml", "none.yaml"]) == {"b/c.yaml": b"two"}
    (clones[0] / "a.yaml").write_text("not of that branch")
    starter.git(clones[0], "add", "a.yaml")
    assert branches.snapshot("origin", "env/other", ["a.yaml"]) == {}
