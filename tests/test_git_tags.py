"""Tags in real repositories: what counts, who made it, and what a remote has to say."""

import socket

import pytest

import releases
import starter
from trunkline.clients.git import tags
from trunkline.errors import Error


@pytest.fixture
def clone(nameless, monkeypatch):
    (found,) = releases.clones(nameless)
    monkeypatch.chdir(found)
    return found


def head(folder):
    return starter.git(folder, "rev-parse", "HEAD")


def test_an_annotated_tag_is_read_as_it_was_made(clone):
    tags.create("m@v1.0.0", "HEAD", "one line\n\n{\n}\n")
    (tag,) = tags.everything()
    assert (tag.name, tag.commit, tag.message, tag.by) == ("m@v1.0.0", head(clone), "one line\n\n{\n}\n", "clone-0")


def test_lightweight_tags_tags_of_tags_and_tags_of_files_are_passed_over(clone):
    tags.create("m@v1.0.0", "HEAD", "x\n")
    starter.git(clone, "tag", "light")
    starter.git(clone, "tag", "-am", "nested", "nested", "m@v1.0.0")
    starter.git(clone, "tag", "-am", "file", "file", "HEAD:code.txt")
    assert [tag.name for tag in tags.everything()] == ["m@v1.0.0"]


def test_a_tag_of_a_tag_is_made_of_its_commit(clone):
    tags.create("m@v1.0.0", "HEAD", "x\n")
    tags.create("m#canary#1", "m@v1.0.0", "x\n")
    assert {tag.commit for tag in tags.everything()} == {head(clone)}


def test_a_signature_is_no_part_of_the_message(clone):
    signature = "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
    tags.create("m@v1.0.0", "HEAD", f"x\n\n{{}}\n{signature}")
    assert tags.everything()[0].message == "x\n\n{}\n"


def test_each_tag_is_dated_after_the_last_whatever_the_clock_says(clone):
    future = 4_000_000_000
    tags.create("m#canary#1", "HEAD", "x\n", after=future)
    tags.create("m#canary#2", "HEAD", "x\n", after=tags.last(tags.everything()))
    assert [tag.time for tag in tags.everything()] == [future + 1, future + 2]
    assert tags.last([]) == 0


def test_the_name_is_the_lock(clone):
    tags.create("m@v1.0.0", "HEAD", "first\n")
    with pytest.raises(Error, match="m@v1.0.0 already exists"):
        tags.create("m@v1.0.0", "HEAD", "second\n")
    assert [tag.message for tag in tags.everything()] == ["first\n"]


@pytest.mark.parametrize(("name", "commit"), [("a..b", "HEAD"), ("m@v1.0.0", "f" * 40), ("m@v1.0.0", "--all")])
def test_what_cannot_be_a_tag_is_refused(clone, name, commit):
    with pytest.raises(Error):
        tags.create(name, commit, "x\n")
    assert tags.everything() == []


def test_a_tag_that_was_only_written_is_seen_by_nobody(clone):
    made = tags.write("m@v1.0.0", "HEAD", "x\n")
    assert starter.git(clone, "cat-file", "-t", made) == "tag"
    assert tags.everything() == []


def test_a_machine_without_identity_tags_under_the_tools_name(clone):
    starter.git(clone, "config", "--unset", "user.name")
    starter.git(clone, "config", "--unset", "user.email")
    tags.create("m@v1.0.0", "HEAD", "x\n")
    assert tags.everything()[0].by == "trunkline"


def test_the_remotes_tag_replaces_a_local_one(clone):
    starter.git(clone, "tag", "-am", "theirs", "m@v1.0.0")
    starter.git(clone, "push", "-q", "origin", "m@v1.0.0")
    starter.git(clone, "tag", "-fam", "mine", "m@v1.0.0")
    assert [tag.message for tag in tags.known()] == ["theirs\n"]


def test_a_tag_that_only_this_clone_has_does_not_count_and_is_told(clone, caplog):
    tags.create("m@v1.0.0", "HEAD", "x\n")
    assert tags.known() == []
    assert "m@v1.0.0 is not on origin" in caplog.text
    assert len(tags.everything()) == 1, "it is not removed either"


def test_without_a_remote_this_clones_tags_count(clone):
    starter.git(clone, "remote", "rename", "origin", "upstream")
    tags.create("m@v1.0.0", "HEAD", "x\n")
    assert tags.origin() is None
    assert [tag.name for tag in tags.known()] == ["m@v1.0.0"]


def test_an_unreachable_remote_is_told_without_its_password(clone, caplog):
    tags.create("m@v1.0.0", "HEAD", "x\n")
    starter.git(clone, "remote", "set-url", "origin", "https://bot:hunter2@127.0.0.1:1/o.git")
    assert [tag.name for tag in tags.known()] == ["m@v1.0.0"]
    assert "the state that this clone knows" in caplog.text


def test_what_a_shallow_clone_without_a_remote_knows_is_not_all(clone, caplog):
    starter.git(clone, "remote", "remove", "origin")
    assert tags.known() == tags.complete() == []
    assert caplog.text == ""
    (clone / ".git/shallow").write_text(head(clone) + "\n")
    assert tags.known() == []
    assert "this clone is shallow and has no remote origin" in caplog.text
    with pytest.raises(Error, match="shallow"):
        tags.complete()
    with pytest.raises(Error, match="ls-remote") as caught:
        tags.published("origin")
    assert "hunter2" not in caplog.text + str(caught.value)


def test_a_server_that_never_answers_is_given_up(clone, monkeypatch):
    monkeypatch.setenv("GIT_HTTP_LOW_SPEED_TIME", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        starter.git(clone, "remote", "set-url", "origin", f"http://127.0.0.1:{server.getsockname()[1]}/o.git")
        with pytest.raises(Error, match="too slow"):
            tags.published("origin")


def test_a_shallow_clone_without_tags_sees_every_tag(clone, nameless, monkeypatch):
    releases.releases(clone, "v1.0.0", "v1.1.0")
    starter.git(nameless, "clone", "-q", "--depth=1", "--no-tags", f"file://{nameless}/origin.git", "shallow")
    monkeypatch.chdir(nameless / "shallow")
    assert tags.everything() == []
    assert [tag.name for tag in tags.known()] == ["support-triage@v1.0.0", "support-triage@v1.1.0"]


def test_outside_a_repository_is_an_error(nameless, monkeypatch):
    monkeypatch.chdir(nameless)
    with pytest.raises(Error, match="not a git repository"):
        tags.known()
