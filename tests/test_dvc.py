import subprocess
import sys

import pytest

from trunkline.clients import dvc
from trunkline.errors import Error

PIPELINE = """
stages:
  one:
    cmd: cp in.txt one.txt
    deps: [in.txt]
    outs: [one.txt]
  two:
    cmd: cp one.txt two.txt
    deps: [one.txt]
    outs:
    - two.txt:
        cache: false
"""


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, check=True)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pipeline(tree):
    run("init", "--no-scm", "-q")
    (tree / "dvc.yaml").write_text(PIPELINE)
    (tree / "in.txt").write_text("hello")
    return tree


def test_the_changed_stages_are_named_and_none_after_a_run(pipeline):
    assert set(dvc.changed_stages()) == {"one", "two"}
    run("repro", "-q")
    assert dvc.changed_stages() == []
    (pipeline / "two.txt").write_text("edited by hand")
    assert dvc.changed_stages() == ["two"]


def test_a_folder_without_a_pipeline_is_an_error_not_up_to_date(tree):
    with pytest.raises(Error, match=r"dvc\.yaml not found"):
        dvc.changed_stages()


def test_a_folder_without_dvc_is_an_error(tree):
    (tree / "dvc.yaml").write_text(PIPELINE)
    with pytest.raises(Error, match="dvc status failed"):
        dvc.changed_stages()


def test_a_damaged_pipeline_is_an_error(pipeline):
    (pipeline / "dvc.yaml").write_text("stages: [")
    with pytest.raises(Error, match=r"dvc status failed.*dvc\.yaml"):
        dvc.changed_stages()
