"""The double of the Hub: the real client works on it unchanged, and is refused what the Hub refuses."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hub_double import TOKEN

REPO = "acme/model"
FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40, "notes/empty.txt": b""}


@pytest.fixture
def api(hub):
    """The client, with a token that may write."""
    return HfApi(token=TOKEN)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model on disk."""
    for name, content in {**FILES, "README.md": b"---\nlicense: mit\n---\n# A model\n"}.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "model"


def add(**files: bytes) -> list[CommitOperationAdd]:
    return [CommitOperationAdd(f"{name}.txt", content) for name, content in files.items()]


def refused_with(status: int):
    return pytest.raises(HfHubHTTPError, match=str(status))


def test_a_folder_comes_back_as_it_was_uploaded(hub, api, folder, tmp_path):
    hub.page = 2
    api.create_repo(REPO, private=True)
    uploaded = api.upload_folder(repo_id=REPO, folder_path=folder)
    fetched = Path(snapshot_download(REPO, revision=uploaded.oid, token=TOKEN, local_dir=tmp_path / "back"))
    for name in FILES:
        assert (fetched / name).read_bytes() == FILES[name]
    assert len([request for request in hub.asked if "/tree/" in request]) == 3, "5 entries in pages of 2"
    assert not [request for request in hub.asked if "xet" in request or "agent" in request]


def test_large_files_are_stored_once_and_named_by_their_sha256(hub, api, folder):
    api.create_repo(REPO)
    api.upload_folder(repo_id=REPO, folder_path=folder)
    entries = {entry.path: entry for entry in api.list_repo_tree(REPO, recursive=True)}
    weights = entries["model.safetensors"]
    assert weights.lfs.sha256 == hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert weights.size == weights.lfs.size == len(FILES["model.safetensors"])
    assert entries["config.json"].lfs is None
    assert entries["config.json"].blob_id == "9e26dfeeb6e641a33dae4961196235bdb965b21b", "what Git calls `{}`"
    api.create_repo("acme/other")
    hub.asked.clear()
    api.upload_folder(repo_id="acme/other", folder_path=folder)
    assert not [request for request in hub.asked if request.startswith("PUT")]


def test_the_same_folder_again_makes_no_commit(api, folder):
    api.create_repo(REPO)
    first = api.upload_folder(repo_id=REPO, folder_path=folder)
    assert api.upload_folder(repo_id=REPO, folder_path=folder).oid == first.oid
    assert api.model_info(REPO).sha == first.oid


def test_a_repository_is_created_once(api):
    assert api.create_repo(REPO).repo_id == REPO
    with refused_with(409):
        api.create_repo(REPO)
    assert api.create_repo(REPO, exist_ok=True).repo_id == REPO


def test_a_commit_after_another_parent_is_refused(api):
    api.create_repo(REPO)
    parent = api.model_info(REPO).sha

    def attempt(number: int) -> str | None:
        try:
            operations = add(a=b"%d" % number)
            return api.create_commit(REPO, operations, commit_message="one", parent_commit=parent).oid
        except HfHubHTTPError as error:
            assert error.response.status_code == 412
            return None

    with ThreadPoolExecutor(4) as pool:
        won = [oid for oid in pool.map(attempt, range(4)) if oid]
    assert won == [api.model_info(REPO).sha], "the parent is a lock: one of four wins"


def test_files_and_folders_are_deleted(api, folder):
    api.create_repo(REPO)
    api.upload_folder(repo_id=REPO, folder_path=folder)
    gone = [CommitOperationDelete("config.json"), CommitOperationDelete("notes/", is_folder=True)]
    api.create_commit(REPO, gone, commit_message="less")
    assert sorted(api.list_repo_files(REPO)) == [".gitattributes", "README.md", "model.safetensors"]
    with pytest.raises(RemoteEntryNotFoundError):
        api.create_commit(REPO, [CommitOperationDelete("config.json")], commit_message="again")


def test_tags_and_branches_name_commits(api):
    api.create_repo(REPO)
    first = api.model_info(REPO).sha
    api.create_tag(REPO, tag="v1.0.0", tag_message="first")
    api.create_branch(REPO, branch="prod")
    second = api.create_commit(REPO, add(a=b"1"), commit_message="more").oid
    api.create_tag(REPO, tag="canary/2", revision=second[:7])
    refs = api.list_repo_refs(REPO)
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1.0.0": first, "canary/2": second}
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": second, "prod": first}
    with refused_with(409):
        api.create_tag(REPO, tag="v1.0.0", revision=second)
    api.create_tag(REPO, tag="v1.0.0", revision=second, exist_ok=True)
    assert api.model_info(REPO, revision="v1.0.0").sha == first, "exist_ok says nothing of where it points"
    api.delete_tag(REPO, tag="canary/2")
    api.delete_branch(REPO, branch="prod")
    assert [ref.name for ref in api.list_repo_refs(REPO).tags] == ["v1.0.0"]
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="prod")


def test_only_who_may_reads_and_writes(hub, api):
    api.create_repo(REPO, private=True)
    hub.readers.add("hf_stranger")
    for token in (False, "hf_stranger"):
        with pytest.raises(RepositoryNotFoundError):
            HfApi(token=token).model_info(REPO)
    with refused_with(401):
        HfApi(token="hf_unknown").model_info(REPO)
    with refused_with(401):
        HfApi(token=False).create_repo("acme/other")
    hub.repositories[REPO].private = False
    with refused_with(403):
        HfApi(token="hf_stranger").create_tag(REPO, tag="v1")


def test_a_gated_repository_shows_its_names_and_not_its_files(hub, tmp_path):
    commit = hub.publish(REPO, FILES)
    hub.repositories[REPO].gated = True
    hub.repositories[REPO].readers.add("hf_guest")
    hub.readers |= {"hf_stranger", "hf_guest"}
    assert HfApi(token=False).model_info(REPO).gated == "manual"
    for token, status in ((False, 401), ("hf_stranger", 403)):
        with pytest.raises(GatedRepoError, match=str(status)):
            snapshot_download(REPO, revision=commit, token=token, local_dir=tmp_path / "closed")
    snapshot_download(REPO, revision=commit, token="hf_guest", local_dir=tmp_path / "open")


def test_what_is_not_there_is_named(hub, tmp_path):
    commit = hub.publish(REPO, FILES)
    with pytest.raises(RepositoryNotFoundError):
        snapshot_download("acme/nothing", revision=commit, local_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        snapshot_download(REPO, revision="0" * 40, local_dir=tmp_path)
    with pytest.raises(RemoteEntryNotFoundError):
        HfApi().hf_hub_download(REPO, "other.json", revision=commit, local_dir=tmp_path)


def test_changed_content_is_downloaded_without_a_word_and_found_by_its_checksum(hub, api, tmp_path):
    """Why clients/hub.py compares every file with what the Hub records: the client's own download does not."""
    commit = hub.publish(REPO, FILES)
    hub.fail("GET .*model.safetensors", content=bytes(len(FILES["model.safetensors"])))
    snapshot_download(REPO, revision=commit, local_dir=tmp_path / "model")
    found = api.verify_repo_checksums(REPO, revision=commit, local_dir=tmp_path / "model")
    assert [mismatch["path"] for mismatch in found.mismatches] == ["model.safetensors"]
    hub.faults.clear()
    snapshot_download(REPO, revision=commit, local_dir=tmp_path / "good")
    assert not api.verify_repo_checksums(REPO, revision=commit, local_dir=tmp_path / "good").mismatches
