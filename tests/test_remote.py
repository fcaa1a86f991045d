"""Pushing to a DVC remote that is a folder, and to S3 as a real server speaks it."""

import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo

import pull_request as pr
import s3 as s3_server
import starter
from trunkline.clients import remote
from trunkline.errors import Error

OBJECTS = 14  # raw data, examples, a model of two files, seven reports, a folder of two plots


@pytest.fixture
def clone(merged, tmp_path, monkeypatch) -> Path:
    """A finished run whose remote has nothing yet."""
    place = pr.copied(merged.parent, tmp_path / "world")
    pr_storage(place).rename(tmp_path / "elsewhere")
    monkeypatch.chdir(place)
    return place


def pr_storage(clone: Path) -> Path:
    return clone.parent / "storage"


def stored(clone: Path, folder: bool = False) -> Path:
    """An object of the remote: the model's listing, or a file."""
    found = sorted(path for path in (pr_storage(clone) / "files").rglob("*") if path.is_file())
    if folder:
        return next(path for path in found if path.name.endswith(".dir") and "examples.txt" in path.read_text())
    return next(path for path in found if not path.name.endswith(".dir"))


def configure(clone: Path, **options: object) -> None:
    rows = "".join(f"    {name} = {value}\n" for name, value in options.items())
    (clone / ".dvc/config").write_text(f"[core]\n    remote = storage\n['remote \"storage\"']\n{rows}")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


def test_everything_that_the_lock_names_arrives_and_is_read_back(clone):
    proof = remote.push()
    assert proof == remote.Proof("storage", OBJECTS, OBJECTS, OBJECTS, 3, verified=False)
    assert remote.push() == proof._replace(pushed=0)


def test_where_dvc_verifies_only_what_is_new_is_read_back(clone):
    configure(clone, url="../../storage", verify="true")
    assert remote.push().hashed == OBJECTS
    assert remote.push() == remote.Proof("storage", OBJECTS, 0, 0, 3, verified=True)


def test_the_run_cache_restores_a_run_elsewhere_with_the_reports_that_git_keeps(clone):
    remote.push()
    fresh = pr.cloned(clone, "fresh")
    (fresh / "dvc.lock").unlink()
    pr.repro(fresh, pull=True)
    assert pr.ran(clone) == ["data", "train", "compare"], "no command has run again"


def test_what_the_remote_has_lost_is_pushed_again(clone):
    remote.push()
    stored(clone).unlink()
    assert remote.push().pushed == 1


def test_what_neither_side_has_is_named(clone):
    remote.push()
    fresh = pr.cloned(clone, "fresh")
    stored(clone, folder=True).unlink()
    os.chdir(fresh)
    with pytest.raises(Error, match="the remote storage lacks 1 of 3 objects: models/candidate"):
        remote.push()


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder's listing"])
def test_a_damaged_object_is_found_and_named(clone, folder):
    remote.push()
    damage(stored(clone, folder))
    with pytest.raises(Error, match="is damaged in .*storage/files/md5/") as caught:
        remote.push()
    assert "remove that object" in caught.value.hint


def test_damage_in_the_local_cache_does_not_pass_as_pushed(clone):
    damage(next(path for path in (clone / ".dvc/cache/files").rglob("*") if path.is_file()))
    with pytest.raises(Error, match="damaged"):
        remote.push()


def test_without_a_remote_the_command_to_add_one_is_told(clone):
    (clone / ".dvc/config").write_text("")
    with pytest.raises(Error, match="no default DVC remote") as caught:
        remote.push()
    assert "dvc remote add --default" in caught.value.hint


def test_a_remote_that_names_objects_by_file_is_refused(clone):
    configure(clone, url="s3://bucket/prefix", version_aware="true")
    with pytest.raises(Error, match="by file, not by content"):
        remote.push()


@contextmanager
def small_disk(most: int):
    """No file of this process may grow beyond: what a full disk is, without filling one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_remote_is_an_error_and_nothing_half_written_is_left(clone):
    (clone / "data/raw/2026-07.jsonl").write_text("x" * 2_000_000)
    pr.repro(clone)
    with small_disk(1_000_000), pytest.raises(Error, match="cannot push to the DVC remote: .*File too large"):
        remote.push()
    assert remote.push().pushed > 0


def test_a_run_cache_that_does_not_arrive_is_an_error(clone):
    (pr_storage(clone)).mkdir()
    (pr_storage(clone) / "runs").write_text("in the way")
    with pytest.raises(Error, match="3 of 3 entries of the run cache"):
        remote.push()


# S3.


@pytest.fixture(scope="module")
def server():
    with s3_server.serving() as address:
        yield address


@pytest.fixture
def s3(server, clone, monkeypatch):
    """An S3 with a bucket, which is the clone's remote."""
    configure(clone, url="s3://trunkline/pull-requests", endpointurl=server)
    client = s3_server.bucket(server, monkeypatch)
    yield client
    for row in client.list_objects_v2(Bucket="trunkline").get("Contents", ()):
        client.delete_object(Bucket="trunkline", Key=row["Key"])


def keys(s3, part: str = "/files/md5/") -> list[str]:
    rows = s3.list_objects_v2(Bucket="trunkline").get("Contents", ())
    return [row["Key"] for row in rows if part in row["Key"]]


@pytest.mark.slow
def test_s3_holds_what_was_pushed_and_an_object_damaged_there_is_found_and_not_given_out(
    s3, clone, server, monkeypatch
):
    assert remote.push() == remote.Proof("storage", OBJECTS, OBJECTS, OBJECTS, 3, verified=False)
    assert (len(keys(s3)), len(keys(s3, "/runs/"))) == (OBJECTS, 3)
    configure(clone, url="s3://trunkline/pull-requests", endpointurl=server, verify="true")
    starter.git(clone, "commit", "-qam", "to S3")
    starter.git(clone, "push", "-q", "origin", "main")

    fresh = pr.cloned(clone, "fresh")
    monkeypatch.chdir(fresh)
    pr.repro(fresh, pull=True)
    assert (fresh / "models/candidate/params.yaml").is_file()
    assert pr.ran(clone) == ["data", "train", "compare"]

    examples = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]["train"]["deps"][0]["md5"]
    key = next(key for key in keys(s3) if key.endswith(examples[2:]))
    content = s3.get_object(Bucket="trunkline", Key=key)["Body"].read()
    s3.put_object(Bucket="trunkline", Key=key, Body=bytes([content[0] ^ 1]) + content[1:])
    other = pr.cloned(clone, "other")
    with pr.standing_in(other), Repo() as repo, pytest.raises(DvcException):
        repo.pull()
    configure(clone, url="s3://trunkline/pull-requests", endpointurl=server)
    monkeypatch.chdir(clone)
    with pytest.raises(Error, match="is damaged in trunkline/pull-requests/files/md5/"):
        remote.push()


def test_a_bucket_that_is_not_there_is_an_error(s3, clone, server):
    configure(clone, url="s3://nowhere/prefix", endpointurl=server)
    with pytest.raises(Error, match="cannot push to the DVC remote: .*bucket does not exist"):
        remote.push()
