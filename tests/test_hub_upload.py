"""Publishing on the Hub's double: one commit with exactly the folder, whoever else publishes, whatever fails."""

import time
from pathlib import Path

import pytest

import hub_double
from hub_api import JOB
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


@pytest.fixture
def job(hub, folder, monkeypatch) -> Path:
    """The bundle in a job of GitHub Actions, which has an identity and no token of the Hub."""
    from huggingface_hub.utils import _auth

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(_auth, "_OIDC_TOKEN_CACHE", None)
    identity = {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{hub.url}/github/id-token", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": JOB}
    for name, value in {"GITHUB_ACTIONS": "true", "HF_OIDC_RESOURCE": REPO, **identity}.items():
        monkeypatch.setenv(name, value)
    hub.publish(REPO, {})
    hub.writers.clear()
    return folder


def test_a_job_whose_identity_the_hub_trusts_publishes_and_tags_without_a_secret(hub, job):
    hub.trusted.add(REPO)
    hub.fail("POST /oauth/token", status=503, times=1)
    commit = publish(job)
    upload.tag(REPO, "v0.1.0", commit)
    assert upload.token()
    assert (hub.repositories[REPO].branches["main"], hub.repositories[REPO].tags) == (commit, {"v0.1.0": commit})
    assert sum(request.startswith("POST /oauth/token") for request in hub.asked) == 2, "and once it has one it keeps it"


def test_a_job_that_the_hub_does_not_trust_publishes_nothing_and_its_identity_is_not_shown(hub, job):
    with pytest.raises(Error, match="answers HTTP 400") as caught:
        publish(job)
    assert "HF_OIDC_RESOURCE" in caught.value.hint
    assert not any(secret in f"{caught.value}{caught.value.hint}" for secret in (JOB, "identity-for"))
    with pytest.raises(Error, match="cannot get a token of the Hub"):
        upload.token()


@pytest.mark.parametrize("missing", ["GITHUB_ACTIONS", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
def test_whoever_has_no_identity_to_show_is_told_where_to_get_one(hub, job, monkeypatch, missing):
    monkeypatch.delenv(missing)
    with pytest.raises(Error, match=f"cannot publish to {REPO}: HF_OIDC_RESOURCE is set, and") as caught:
        publish(job)
    assert "id-token: write" in caught.value.hint
    with pytest.raises(Error, match=f"cannot fetch {REPO}@{'0' * 40}: HF_OIDC_RESOURCE"):
        client.Snapshot(REPO, "0" * 40)
    assert hub.asked == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_tag_too_is_tried_again(hub, folder, status):
    commit = publish(folder)
    hub.fail("POST .*/tag/", status=status, times=2)
    hub.fail("GET .*/refs", status=status, times=1)
    upload.tag(REPO, "v0.1.0", commit)
    assert hub.repositories[REPO].tags == {"v0.1.0": commit}


@pytest.mark.parametrize("lost", ["POST .*/tag/", "POST .*/commit/", "PUT /lfs/"])
def test_a_lost_answer_changes_nothing(hub, folder, lost):
    hub.fail(lost, cut=0, times=1)
    commit = publish(folder)
    upload.tag(REPO, "v0.1.0", commit)
    assert (hub.repositories[REPO].tags, commits(hub)) == ({"v0.1.0": commit}, 1)
    assert held(hub, commit) == {".gitattributes", "model.safetensors", "manifest.json", "README.md"}


def test_a_hub_that_takes_no_tag_is_an_error_that_does_not_say_that_nothing_was_released(hub, folder, monkeypatch):
    commit = publish(folder)
    hub.fail("POST .*/tag/", status=500, times=len(client.WAITS_S) + 1)
    with pytest.raises(Error, match=f"cannot tag {REPO}: .* answers HTTP 500") as caught:
        upload.tag(REPO, "v0.1.0", commit)
    assert "run this again later: it ends in one release" in caught.value.hint
    hub.fail("POST .*/tag/", silent=True)
    with monkeypatch.context() as patched, pytest.raises(Error, match=f"cannot tag {REPO}: .* does not answer"):
        patched.setattr(upload, "TIMEOUT_S", 0.2)
        upload.tag(REPO, "v0.1.0", commit)
    hub.faults.clear()
    upload.tag(REPO, "v0.1.0", commit)
    assert hub.repositories[REPO].tags == {"v0.1.0": commit}


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
