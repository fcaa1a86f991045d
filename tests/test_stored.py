"""What DVC keeps under hashes, and what it logs: heard and given back as it was."""

import hashlib
import json
import logging

import pytest
from dvc.fs import LocalFileSystem
from dvc_data.hashfile.db import HashFileDB

from trunkline.clients.dvc import objects, stored
from trunkline.errors import Error


def test_a_files_hash_is_that_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    assert stored.md5(tmp_path / "file") == hashlib.md5(b"x" * 3_000_000).hexdigest()  # noqa: S324


def listed(**members: str) -> bytes:
    return json.dumps([{"relpath": path, "md5": value} for path, value in members.items()]).encode()


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a//x", "./x", "..", "", "a/", "a\0b"])
def test_a_path_that_leads_out_of_a_folder_is_known(path):
    assert not stored.inside(path)
    assert stored.inside("..a/b..")


@pytest.mark.parametrize("value", ["", "1", "../../x", "/etc/passwd", "A" * 32, "1" * 32 + "\n", "1" * 32 + ".dir.dir"])
def test_a_hash_of_which_a_store_would_make_another_path_is_none(value):
    assert stored.check("1" * 32 + ".dir") == "1" * 32 + ".dir"
    with pytest.raises(Error, match="no hash"):
        stored.check(value)


@pytest.mark.parametrize("listing", [b"", b"{", b"3", b'["a"]', b'[{"relpath": "a"}]', b"\xff"])
def test_what_is_no_list_of_a_folder_is_an_error(listing):
    assert stored.members(listed(**{"a/b": "1", "c": "2"})) == {"a/b": "1", "c": "2"}
    with pytest.raises(Error, match="list of a folder is none"):
        stored.members(listing)


@pytest.mark.parametrize("quiet", [True, False])
def test_causes_are_heard_and_the_loggers_are_as_before(quiet, caplog):
    logger = logging.getLogger("dvc_data")
    before = logger.propagate, [*logger.handlers]
    with stored.heard("dvc_data", "dvc_objects", quiet=quiet) as said:
        try:
            raise OSError("no room")
        except OSError:
            logger.exception("failed to transfer")
        logging.getLogger("dvc_objects").warning("slow")
        logger.info("details")
    assert said == ["OSError: no room", "slow"]
    assert ("failed to transfer" in caplog.text) is not quiet
    assert (logger.propagate, logger.handlers) == before


def test_nothing_that_a_remote_holds_is_written_outside_of_the_folder_that_is_fetched(tmp_path):
    remote, folder = tmp_path / "remote", tmp_path / "runner/folder"
    folder.mkdir(parents=True)

    def put(content: bytes, ending: str = "") -> str:
        value = hashlib.md5(content).hexdigest() + ending  # noqa: S324
        (remote / value[:2]).mkdir(parents=True)
        (remote / value[:2] / value[2:]).write_bytes(content)
        return value

    forged = put(listed(**{"../../hooks/pre-push": put(b"#!/bin/sh")}), ".dir")
    place = objects.Place("the remote", True, HashFileDB(LocalFileSystem(), str(remote), hash_name="md5"))
    with pytest.raises(Error, match=r"outside of itself: '\.\./\.\./hooks/pre-push'"):
        objects.fetch({"models/candidate": forged}, folder, place)
    assert not list(tmp_path.rglob("pre-push"))
    with pytest.raises(Error, match="no hash"):
        objects.fetch({"models/candidate": put(listed(a="../../../secret"), ".dir")}, folder, place)
    with pytest.raises(Error, match="no hash"):
        objects.fetch({"models/candidate": "../../../secret"}, folder, place)
