import pytest

import starter
from trunkline.clients import snapshot
from trunkline.errors import Error


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A clone at its first commit, whose origin has a second one with a link."""
    origin = tmp_path / "origin"
    origin.mkdir()
    starter.git(origin, "init", "-q", "-b", "main")
    (origin / ".dvc").mkdir()
    (origin / ".dvc/config").write_text("[core]\n    remote = evil\n['remote \"evil\"']\n    url = ssh://evil/\n")
    (origin / "below").mkdir()
    (origin / "below/a.txt").write_text("first")
    starter.git(origin, "add", "-A")
    starter.git(origin, "commit", "-qm", "first")
    starter.git(tmp_path, "clone", "-q", "origin", "clone")
    (origin / "below/a.txt").write_text("second")
    (origin / "below/link").symlink_to("/etc/hostname")
    starter.git(origin, "add", "-A")
    starter.git(origin, "commit", "-qm", "second")
    monkeypatch.chdir(tmp_path / "clone")
    return origin


def test_a_commit_is_fetched_and_its_files_are_beside_the_tree(tree):
    second = starter.git(tree, "rev-parse", "HEAD")
    with snapshot.of(second) as folder:
        assert (folder / "below/a.txt").read_text() == "second"
        link = folder / "below/link"
        assert not link.is_symlink()
        assert link.read_text() == "/etc/hostname", "a link leads nowhere"
        assert "evil" not in (folder / ".dvc/config").read_text()
    assert not folder.exists()
    assert starter.git(tree.parent / "clone", "status", "--porcelain") == ""


def test_in_a_folder_of_the_repository_it_is_that_folders_files(tree, monkeypatch):
    monkeypatch.chdir(tree / "below")
    assert snapshot.prefix() == "below/"
    assert snapshot.listed("HEAD", "a.txt", "nothing") == ["a.txt"]
    with snapshot.of(starter.git(tree, "rev-parse", "HEAD")) as folder:
        assert (folder / "a.txt").read_text() == "second"


def test_a_commits_parents_and_the_branch_here_are_told(tree, monkeypatch):
    first = starter.git(tree, "rev-parse", "HEAD^")
    monkeypatch.chdir(tree)
    assert snapshot.parents("HEAD") == [first]
    assert snapshot.parents(first) == []
    assert snapshot.branch() == "main"
    starter.git(tree, "checkout", "-q", "--detach")
    with pytest.raises(Error, match="no branch is checked out"):
        snapshot.branch()


def test_a_commit_that_is_nowhere_is_an_error(tree):
    with pytest.raises(Error, match="cannot fetch commit ffffffffffff from origin"), snapshot.of("f" * 40):
        pass
