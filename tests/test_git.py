import subprocess

import pytest

from trunkline.clients import git
from trunkline.errors import Error


def run(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "a@example.com")
    return tmp_path


@pytest.fixture
def commit(tree):
    run("init", "-q")
    (tree / "lock.txt").write_bytes(b"first\n")
    run("add", ".")
    run("commit", "-qm", "first")
    return run("rev-parse", "HEAD")


def test_head_is_none_outside_git(tree):
    assert git.head() is None


def test_head_is_none_before_the_first_commit(tree):
    run("init", "-q")
    assert git.head() is None


def test_head_is_the_full_commit(commit):
    assert git.head() == commit
    assert len(commit) == 40


def test_a_clone_of_another_user_is_an_error_with_gits_own_remedy_and_no_empty_one(tree, commit, monkeypatch):
    """As in a container that runs as root: Git itself is made to believe it, by the variable of its own tests."""
    for name, value in (("GLOBAL", "/dev/null"), ("NOSYSTEM", "1")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(Error, match="dubious ownership") as caught:
        git.head()
    assert caught.value.hint == f"git config --global --add safe.directory {tree.resolve()}"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tree / "user"))
    subprocess.run(caught.value.hint.split(), check=True)
    assert git.head() == commit


def test_a_clean_tree_is_not_dirty_and_a_change_or_a_new_file_is(tree, commit):
    assert not git.dirty()
    (tree / "new.py").write_text("x")
    assert git.dirty()
    assert not git.dirty(ignoring=("new.py",))
    (tree / "lock.txt").write_text("second\n")
    assert git.dirty(ignoring=("new.py",))


def test_dirty_outside_git_is_an_error(tree):
    with pytest.raises(Error, match="not a git repository"):
        git.dirty()


def test_resolve_takes_tags_branches_and_short_hashes(commit):
    run("tag", "-am", "release", "model@v1.0.0")
    assert git.resolve("model@v1.0.0") == git.resolve(commit[:8]) == git.resolve("HEAD") == commit


@pytest.mark.parametrize("revision", ["nowhere", "", "--all", "HEAD~5", "f" * 40])
def test_resolve_names_the_revision_it_does_not_know(commit, revision):
    with pytest.raises(Error, match="rev-parse"):
        git.resolve(revision)


def test_show_reads_a_file_as_it_was_in_a_commit(tree, commit, monkeypatch):
    (tree / "lock.txt").write_bytes(b"changed\n")
    assert git.show("HEAD", "lock.txt") == b"first\n"
    (tree / "below").mkdir()
    monkeypatch.chdir(tree / "below")
    assert git.show(commit, "../lock.txt") == b"first\n"


def test_show_names_a_missing_file(commit):
    with pytest.raises(Error, match=r"absent\.txt"):
        git.show("HEAD", "absent.txt")


def test_a_missing_git_is_told(tree, monkeypatch):
    monkeypatch.setenv("PATH", str(tree))
    assert git.head() is None
    with pytest.raises(Error, match="not installed"):
        git.resolve("HEAD")
