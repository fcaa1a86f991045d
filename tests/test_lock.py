import subprocess

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trunkline import lock
from trunkline.errors import Error

LOCK = b"schema: '2.0'\nstages:\n  data:\n    cmd: x\n  train@small:\n    cmd: y\n"


def test_the_stages_are_read():
    assert lock.stages(LOCK) == {"data": {"cmd": "x"}, "train@small": {"cmd": "y"}}


TEXT = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=20)


@given(st.dictionaries(TEXT, st.fixed_dictionaries({"cmd": TEXT}), max_size=5))
def test_whatever_dvc_writes_is_read_back(stages):
    text = yaml.safe_dump({"schema": "2.0", "stages": stages}, allow_unicode=True).encode()
    assert lock.stages(text) == stages


def test_an_empty_lock_records_nothing():
    assert lock.stages(b"") == {}


@given(st.binary(max_size=200))
def test_any_bytes_are_stages_or_one_error(content):
    try:
        assert isinstance(lock.stages(content), dict)
    except Error as error:
        assert "dvc repro --pull" in error.hint


@pytest.mark.parametrize(
    "text", [b"a: [", b"\xff", b"[]", b"just words", b"stages: {}", b"schema: '2.0'\nstages: [data]\n", b"[" * 1000]
)
def test_what_is_no_lock_says_how_to_resolve_it(text):
    with pytest.raises(Error) as caught:
        lock.stages(text)
    assert caught.value.hint == lock.RESOLVE


def test_the_markers_of_a_real_conflict_are_found(tmp_path):
    for name, value in (("base", "1"), ("ours", "2"), ("theirs", "3")):
        (tmp_path / name).write_bytes(LOCK.replace(b"cmd: y", f"cmd: {value}".encode()))
    command = ["git", "merge-file", "--diff3", "ours", "base", "theirs"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 1
    with pytest.raises(Error, match="conflict markers"):
        lock.stages((tmp_path / "ours").read_bytes())


def test_a_stage_that_the_pipeline_does_not_define_is_a_stranger():
    recorded = lock.stages(LOCK)
    assert lock.strangers(recorded, b"stages:\n  data: {}\n  train:\n    foreach: [small]\n    do: {}\n") == []
    assert lock.strangers(recorded, b"stages:\n  data: {}\n") == ["train@small"]


@pytest.mark.parametrize("pipeline", [b"", b"stages: [", b"[]", b"stages: []", b"\xff"])
def test_a_pipeline_without_stages_is_an_error(pipeline):
    with pytest.raises(Error, match=r"dvc\.yaml"):
        lock.strangers({}, pipeline)
