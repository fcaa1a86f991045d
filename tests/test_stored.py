"""What DVC keeps under hashes, and what it logs: heard and given back as it was."""

import hashlib
import logging

import pytest

from trunkline.clients.dvc import stored
from trunkline.errors import Error


def test_a_files_hash_is_that_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    assert stored.md5(tmp_path / "file") == hashlib.md5(b"x" * 3_000_000).hexdigest()  # noqa: S324


@pytest.mark.parametrize("listing", [b"", b"{", b"3", b'["a"]', b'[{"relpath": "a"}]', b"\xff"])
def test_what_is_no_list_of_a_folder_is_an_error(listing):
    assert stored.members(b'[{"relpath": "a/b", "md5": "1"}, {"md5": "2", "relpath": "c"}]') == {"a/b": "1", "c": "2"}
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
