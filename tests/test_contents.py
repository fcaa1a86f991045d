"""A recorded file, found in Git, DVC's cache, the working tree or the remote: always hashed, never believed."""

import hashlib
import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo

import starter
from trunkline.clients.contents import Places
from trunkline.errors import Error
from trunkline.records.release import Content

RIGHT = b"as released\n"
SHA256 = hashlib.sha256(RIGHT).hexdigest()
MD5 = hashlib.md5(RIGHT, usedforsecurity=False).hexdigest()
DVC, GIT = Content(md5=MD5, sha256=SHA256), Content(md5=None, sha256=SHA256)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One file in Git, one in DVC with a remote that has it."""
    folder = tmp_path_factory.mktemp("contents")
    starter.git(folder, "init", "-q")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        with Repo.init(".") as repo:
            (folder / "git.txt").write_bytes(RIGHT)
            (folder / "dvc.txt").write_bytes(RIGHT)
            repo.add("dvc.txt")
        starter.git(folder, "add", "-A")
        starter.git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def places(built, in_tmp):
    shutil.copytree(built, in_tmp, dirs_exist_ok=True)
    shutil.copytree(in_tmp / ".dvc/cache", in_tmp / "storage")
    (in_tmp / ".dvc/config").write_text("[core]\n remote = s\n['remote \"s\"']\n url = ../storage\n")
    (in_tmp / "scratch").mkdir()
    return Places(in_tmp / "scratch", remote=False)


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"garbage")


def object_of(folder: str) -> Path:
    return Path(folder) / "files/md5" / MD5[:2] / MD5[2:]


def test_a_file_of_git_is_that_of_the_commit(places):
    Path("git.txt").write_text("edited")
    found = places.find("HEAD", "git.txt", GIT)
    assert (found.where, found.sha256, found.path.read_bytes()) == ("Git", SHA256, RIGHT)
    assert places.find("f" * 40, "git.txt", GIT) is None
    assert places.find("HEAD", "absent.txt", GIT) is None


def test_a_file_of_dvc_is_found_in_the_cache_then_in_the_working_tree(places):
    assert places.find("HEAD", "dvc.txt", DVC).where == "the DVC cache"
    damage(object_of(".dvc/cache"))
    shutil.copyfile("git.txt", "dvc.txt")
    assert places.find("HEAD", "dvc.txt", DVC).where == "the working tree"
    Path("dvc.txt").write_text("another version")
    found = places.find("HEAD", "dvc.txt", DVC)
    assert (found.where, found.sha256 == SHA256) == ("the DVC cache", False), "the damaged object is told"
    object_of(".dvc/cache").unlink()
    assert places.find("HEAD", "dvc.txt", DVC) is None


def test_only_where_it_may_a_remote_is_asked_and_its_damage_is_told(places, in_tmp):
    shutil.rmtree(".dvc/cache")
    Path("dvc.txt").unlink()
    assert places.find("HEAD", "dvc.txt", DVC) is None
    asking = Places(in_tmp / "scratch", remote=True)
    assert asking.find("HEAD", "dvc.txt", DVC)[::2] == ("the DVC remote", SHA256)
    damage(object_of("storage"))
    assert asking.find("HEAD", "dvc.txt", DVC).sha256 != SHA256
    object_of("storage").unlink()
    assert asking.find("HEAD", "dvc.txt", DVC) is None


@pytest.mark.parametrize("md5", ["", "../../git.txt", "../" * 5 + "etc/passwd", MD5.upper(), MD5 + "/x"])
def test_what_is_no_hash_leads_nowhere(places, in_tmp, md5):
    for one in (places, Places(in_tmp / "scratch", remote=True)):
        assert one.stored(md5) is None
        assert one.members(md5) == {}


def test_without_dvc_or_a_remote_nothing_is_found_and_nothing_breaks(in_tmp, places):
    (in_tmp / ".dvc/config").write_text("")
    assert Places(in_tmp / "scratch", remote=True).stored("0" * 32) is None
    shutil.rmtree(in_tmp / ".dvc")
    assert Places(in_tmp / "scratch", remote=True).stored(MD5) is None


def test_a_remote_that_cannot_be_read_is_an_error_and_not_an_absent_file(in_tmp, places):
    shutil.rmtree("storage")
    Path("storage").write_text("a file")
    with pytest.raises(Error, match="the DVC remote cannot be read"):
        Places(in_tmp / "scratch", remote=True).stored("0" * 32)


def test_a_broken_folder_listing_has_no_members(places):
    listing = object_of(".dvc/cache").with_name("0" * 30 + ".dir")
    for content, members in (("garbage", {}), ("[1]", {}), ('[{"relpath": "a", "md5": "b"}]', {"a": "b"})):
        listing.write_text(content)
        assert places.members(f"{MD5[:2]}{listing.name}") == members
