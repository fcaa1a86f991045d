"""Publishing on the Hub's double: one commit with exactly the folder, whoever else publishes, whatever fails."""

import time
from pathlib import Path

import pytest

import hub_double
from hub_double import TOKEN
from trunkline.clients import hub as client
from trunkline.clients.hub import upload
from trunkline.errors import Error

REPO = "acme/triage"


@pytest.fixture
def folder(hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle on disk; the client has a token that may write."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    made = tmp_path / "bundle"
    made.mkdir()
    (made / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (made / "manifest.json").write_text('{"version": "v0.1.0"}')
    (made / "README.md").write_text("---\nlibrary_name: peft\n---\n# A model\n")
    return made


def publish(folder: Path) -> str:
    return upload.publish(REPO, folder, "triage v0.1.0")


def held(hub: hub_double.Double, commit: str) -> set[str]:
    return set(hub.repositories[REPO].files(commit))


def commits(hub: hub_double.Double) -> int:
    return len(hub.repositories[REPO].commits) - 1


def test_a_folder_becomes_a_private_model_of_one_commit(hub, folder):
    commit = publish(folder)
    assert hub.repositories[REPO].private
    assert hub.repositories[REPO].branches["main"] == commit
    assert held(hub, commit) == {".gitattributes", "model.safetensors", "manifest.json", "README.md"}
    assert commits(hub) == 1


def test_the_same_folder_again_makes_no_commit(hub, folder):
    assert publish(folder) == publish(folder)
    assert commits(hub) == 1


def test_a_later_version_leaves_nothing_of_the_earlier_one(hub, folder):
    first = publish(folder)
    (folder / "manifest.json").write_text('{"version": "v0.2.0"}')
    (folder / "README.md").rename(folder / "CARD.md")
    second = publish(folder)
    assert held(hub, second) == {".gitattributes", "model.safetensors", "manifest.json", "CARD.md"}
    assert hub.repositories[REPO].commits[second].parent == first


def overtaking(hub: hub_double.Double, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Somebody else commits each time after the head was read, so many times."""
    real, left = upload._head, [str(number) for number in range(times)]

    def head(*arguments: object) -> object:
        found = real(*arguments)
        if left:
            hub.publish(REPO, {".gitattributes": b"", "theirs.txt": left.pop().encode()})
        return found

    monkeypatch.setattr(upload, "_head", head)


def test_a_commit_in_between_is_refused_and_followed(hub, folder, monkeypatch):
    publish(folder)
    (folder / "manifest.json").write_text('{"version": "v0.2.0"}')
    overtaking(hub, monkeypatch, times=2)
    commit = publish(folder)
    assert "theirs.txt" not in held(hub, commit)
    assert "theirs.txt" in held(hub, hub.repositories[REPO].commits[commit].parent)


def test_somebody_who_always_commits_in_between_ends_in_an_error(hub, folder, monkeypatch):
    publish(folder)
    (folder / "manifest.json").write_text('{"version": "v0.2.0"}')
    overtaking(hub, monkeypatch, times=100)
    with pytest.raises(Error, match="got a commit from somebody else 5 times"):
        publish(folder)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(hub, folder, status):
    hub.fail("POST .*/commit/", status=status, times=2)
    hub.fail("GET /api/models/acme/triage", status=status, times=2)
    publish(folder)
    assert commits(hub) == 1


def test_so_are_the_questions_before_and_after(hub, folder):
    for request in ("/preupload/", "/tree/"):
        hub.fail(request, status=503, times=1)
    publish(folder)
    assert commits(hub) == 1


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub, folder):
    hub.fail("POST .*/commit/", cut=0, times=1)
    commit = publish(folder)
    assert (hub.repositories[REPO].branches["main"], commits(hub)) == (commit, 1)


@pytest.mark.parametrize("status", [429, 500])
def test_a_hub_that_keeps_failing_ends_in_an_error(hub, folder, status):
    hub.fail("POST .*/commit/", status=status)
    with pytest.raises(Error, match=f"cannot publish to {REPO}: .* answers HTTP {status}") as caught:
        publish(folder)
    assert "later" in caught.value.hint


def test_a_hub_that_says_nothing_is_given_up(hub, folder, monkeypatch):
    monkeypatch.setattr(upload, "TIMEOUT_S", 0.2)
    hub.fail("POST .*/commit/", silent=True)
    start = time.monotonic()
    with pytest.raises(Error, match="does not answer"):
        publish(folder)
    assert time.monotonic() - start < 20 * len(client.WAITS_S)


def test_what_the_hub_holds_otherwise_is_found(hub, folder):
    hub.fail("GET .*/tree/", content=b"[]")
    with pytest.raises(Error, match=f"{REPO}@[0-9a-f]{{40}} on the Hub is not what was published: README.md, manifest"):
        publish(folder)


def test_a_token_that_may_not_write_is_told_and_never_shown(hub, folder):
    hub.writers.clear()
    hub.readers.add(TOKEN)
    hub.publish(REPO, {})
    with pytest.raises(Error, match="answers HTTP 403") as caught:
        publish(folder)
    assert "HF_TOKEN" in caught.value.hint
    assert TOKEN not in str(caught.value)


def test_a_tag_that_somebody_else_sets_at_the_same_moment_is_compared(hub, folder, monkeypatch):
    commit = publish(folder)
    real, looks = upload._tagged, []

    def overtaken(*arguments: object) -> str | None:
        looks.append(real(*arguments))
        hub.repositories[REPO].tags["v0.1.0"] = commit
        return looks[-1]

    monkeypatch.setattr(upload, "_tagged", overtaken)
    upload.tag(REPO, "v0.1.0", commit)
    assert looks == [None, commit]


def test_a_tag_is_set_once_and_never_moved(hub, folder):
    first = publish(folder)
    upload.tag(REPO, "v0.1.0", first)
    upload.tag(REPO, "v0.1.0", first)
    assert hub.repositories[REPO].tags == {"v0.1.0": first}
    (folder / "manifest.json").write_text('{"version": "v0.2.0"}')
    second = publish(folder)
    with pytest.raises(Error, match=f"tag v0.1.0 of {REPO} on the Hub names commit {first}, not {second}"):
        upload.tag(REPO, "v0.1.0", second)
    assert hub.repositories[REPO].tags == {"v0.1.0": first}
