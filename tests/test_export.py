"""Exported weights are those that were evaluated, also to TGI's transformers 4.51.3."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import save_file

import tiny
from finished import TASK
from trunkline.clients import export, files, model
from trunkline.errors import Error
from trunkline.records import Base, Bundle

CHAT = [{"role": "user", "content": "I have lost my card, please block it"}]
# What the image of TGI 3.3.7 holds.
PINS = ("transformers==4.51.3", "tokenizers==0.21.1", "huggingface-hub==0.31.1")
IN_TGI = """
import json, sys, torch, transformers
from safetensors.torch import load_file
found = {"version": transformers.__version__}
expected = load_file(sys.argv[1])
for folder in sys.argv[2:]:
    said = found[folder] = {}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        chat = [{"role": "user", "content": "I have lost my card, please block it"}]
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True)
        said["ids"] = ids == expected["ids"][0].tolist()
        said["special"] = tokenizer.convert_tokens_to_ids("<|extra|>") in tokenizer.all_special_ids
    except Exception as error:
        said["tokenizer"] = f"{type(error).__name__}: {error}"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", torch_dtype="auto")
    said["dtype"], said["theta"] = str(model.dtype), model.config.rope_theta
    with torch.inference_mode():
        logits = model(input_ids=expected["ids"]).logits
    said["difference"] = float((logits - expected["logits"]).abs().max())
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build_lively(tmp_path_factory.mktemp("models") / "base", rope_theta=100_000.0)


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    folder = base.parent / "candidate"
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    peft.get_peft_model(model.load(base, None, "fp32", "eager").model, config).save_pretrained(folder)
    names = ("adapter_config.json", "adapter_model.safetensors")
    bundle = Bundle(
        kind="lora",
        release=None,
        base=Base.read(base / "base.json").sha256,
        weights={name: files.sha256(folder / name) for name in names},
        task=TASK,
        partitions=(),
        trained_on=None,
        params={},
    )
    files.write_text(folder / "bundle.json", bundle.text())
    return folder


@pytest.fixture(scope="module")
def exported(base: Path, adapter: Path) -> Path:
    export.merge(base, adapter, base.parent / "exported", "fp32")
    return base.parent / "exported"


def logits(loaded: model.LoadedModel) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.tensor([model.encode_prompt(loaded.tokenizer, CHAT)])
    with torch.inference_mode():
        return ids, loaded.model(input_ids=ids).logits


def test_exported_weights_are_those_that_were_evaluated_bit_for_bit(base, adapter, exported):
    _, evaluated = logits(model.load(base, adapter, "fp32", "eager"))
    assert torch.equal(logits(model.load(exported, None, "fp32", "eager"))[1], evaluated)
    assert not torch.allclose(logits(model.load(base, None, "fp32", "eager"))[1], evaluated)


def test_the_precision_of_the_evaluation_is_kept(base, adapter, tmp_path):
    record = export.merge(base, adapter, tmp_path / "bf16", "bf16")
    assert record == Base.read(tmp_path / "bf16/base.json")
    assert json.loads((tmp_path / "bf16/config.json").read_text())["torch_dtype"] == "bfloat16"
    _, evaluated = logits(model.load(base, adapter, "bf16", "eager"))
    assert torch.equal(logits(model.load(tmp_path / "bf16", None, "bf16", "eager"))[1], evaluated)


def test_every_file_can_be_read_by_another_user(exported):
    assert {stat.S_IMODE(path.stat().st_mode) for path in exported.iterdir()} == {0o644}


def test_the_same_inputs_give_the_same_files(base, adapter, exported, tmp_path):
    export.merge(base, adapter, tmp_path / "again", "fp32")
    hashes = [{path.name: files.sha256(path) for path in folder.iterdir()} for folder in (exported, tmp_path / "again")]
    assert hashes[0] == hashes[1]


def test_frequencies_that_are_scaled_are_told_in_both_words():
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "partial_rotary_factor": 0.5}
    config = export._configuration({"rope_parameters": rope, "dtype": "bfloat16"})
    assert config == {
        "rope_parameters": rope,
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
        "rope_theta": 5e5,
        "partial_rotary_factor": 0.5,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
    }
    with pytest.raises(Error, match="no words for this model's rotary frequencies by layer: full_attention"):
        export._configuration({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}})


def test_a_damaged_adapter_is_not_exported_and_what_was_there_stays(base, adapter, exported, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in adapter.iterdir():
        (damaged / path.name).write_bytes(
            path.read_bytes()[:-1] if path.suffix == ".safetensors" else path.read_bytes()
        )
    before = {path.name: files.sha256(path) for path in exported.iterdir()}
    with pytest.raises(Error, match="adapter_model.safetensors is damaged"):
        export.merge(base, damaged, exported, "fp32")
    assert {path.name: files.sha256(path) for path in exported.iterdir()} == before


@pytest.fixture(scope="module")
def tgi(pytestconfig: pytest.Config) -> Path:
    """TGI's pins in a folder that goes before the installed packages; kept between runs."""
    folder = pytestconfig.cache.mkdir("tgi-3.3.7") / "packages"
    if not folder.is_dir():
        with files.replacing(folder) as partial:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(partial), *PINS]
            subprocess.run(command, check=True)
    return folder


@pytest.mark.slow
def test_tgis_transformers_computes_the_same_logits_and_without_our_additions_does_not(
    base, adapter, exported, tgi, tmp_path
):
    loaded = model.load(base, adapter, "fp32", "eager")
    ids, expected = logits(loaded)
    save_file({"ids": ids, "logits": expected}, tmp_path / "expected.safetensors")
    plain, special = tmp_path / "plain", tmp_path / "special"
    loaded.model.save_pretrained(plain)
    loaded.tokenizer.save_pretrained(plain)
    other = model.load(base, adapter, "fp32", "eager")
    other.tokenizer.add_special_tokens({"additional_special_tokens": ["<|extra|>"]})
    other.tokenizer.save_pretrained(base.parent / "extra")
    special.mkdir()
    for path in exported.iterdir():
        os.link(path, special / path.name)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (special / name).unlink()
        (special / name).write_bytes((base.parent / "extra" / name).read_bytes())
    config = json.loads((special / "tokenizer_config.json").read_text())
    changed = export._tokenizer(config, loaded.tokenizer.chat_template)
    (special / "tokenizer_config.json").write_text(json.dumps(changed))
    folders = [exported, plain, special]
    done = subprocess.run(
        [sys.executable, "-c", IN_TGI, tmp_path / "expected.safetensors", *folders],
        env={**os.environ, "PYTHONPATH": str(tgi), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    version, ours, without, extra = json.loads(done.stdout.splitlines()[-1]).values()
    assert version == "4.51.3"
    assert (ours["ids"], ours["dtype"], ours["theta"]) == (True, "torch.float32", 100_000.0)
    assert ours["difference"] == 0
    # The traps are real: a tokenizer that is refused, and silently other frequencies.
    assert "TokenizersBackend" in without["tokenizer"]
    assert without["theta"] == 10_000.0
    assert without["difference"] > 0.01
    assert (extra["ids"], extra["special"], extra["difference"]) == (True, True, 0)
