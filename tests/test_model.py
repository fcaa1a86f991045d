import json
import shutil
from pathlib import Path

import peft
import pytest
import safetensors.torch
import torch

import tiny
from finished import TASK
from trunkline.clients import files, model
from trunkline.errors import Error
from trunkline.records import Base, Bundle

CHAT = [{"role": "system", "content": "Sort."}, {"role": "user", "content": "my card"}]


@pytest.fixture
def base(tmp_path: Path, tiny_base: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


def lora(folder: Path, base: Path) -> Path:
    """An adapter with random weights and its bundle."""
    adapted = peft.get_peft_model(
        model.load(base, None, "fp32", "eager").model,
        peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
    )
    adapted.save_pretrained(folder)
    weights = {name: files.sha256(folder / name) for name in ("adapter_config.json", "adapter_model.safetensors")}
    describe(folder, base, "lora", weights)
    return folder


def describe(folder: Path, base: Path, kind: str, weights: dict[str, str]) -> None:
    bundle = Bundle(
        kind=kind,
        release=None,
        base=Base.read(base / "base.json").sha256,
        weights=weights,
        task=TASK,
        partitions=(),
        trained_on=None,
        params={},
        configuration=Base.read(base / "base.json").configuration,
    )
    files.write_text(folder / "bundle.json", bundle.text())


def logits(loaded: model.LoadedModel) -> torch.Tensor:
    tokens = torch.tensor([model.encode_prompt(loaded.tokenizer, CHAT)])
    with torch.inference_mode():
        return loaded.model(input_ids=tokens).logits


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_prompt_ends_where_the_model_answers(base):
    tokenizer = model.load(base, None, "fp32", "eager").tokenizer
    text = tokenizer.decode(model.encode_prompt(tokenizer, CHAT))
    assert text == "<|im_start|>system\nSort.<|im_end|>\n<|im_start|>user\nmy card<|im_end|>\n<|im_start|>assistant\n"


def test_an_answer_ends_with_the_end_token(base):
    tokenizer = model.load(base, None, "fp32", "eager").tokenizer
    assert tokenizer.decode(model.encode_answer(tokenizer, "fine")) == "fine<|im_end|>"


def test_precision_and_attention_are_as_set(base):
    loaded = model.load(base, None, "bf16", "sdpa")
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.model.config._attn_implementation == "sdpa"
    assert not loaded.model.training
    assert model.choose_precision("auto") in (torch.float32, torch.bfloat16)
    assert model.choose_attention("auto") == ("sdpa" if torch.cuda.is_available() else "eager")


def test_an_adapter_is_merged_and_a_bundle_of_the_base_changes_nothing(base, tmp_path):
    plain = logits(model.load(base, None, "fp32", "eager"))
    tuned = model.load(base, lora(tmp_path / "adapter", base), "fp32", "eager")
    assert type(tuned.model).__name__ == "LlamaForCausalLM"
    assert not torch.allclose(plain, logits(tuned))
    (tmp_path / "production").mkdir()
    describe(tmp_path / "production", base, "base", {})
    assert torch.equal(plain, logits(model.load(base, tmp_path / "production", "fp32", "eager")))


def test_a_flipped_bit_is_found_before_anything_is_loaded(base, tmp_path):
    adapter = lora(tmp_path / "adapter", base)
    flip(adapter / "adapter_model.safetensors")
    with pytest.raises(Error, match=r"adapter_model\.safetensors is damaged: its SHA-256 is"):
        model.load(base, adapter, "fp32", "eager")
    flip(base / "model.safetensors")
    with pytest.raises(Error, match=r"model\.safetensors is damaged"):
        model.load(base, None, "fp32", "eager")


def test_a_missing_adapter_file_is_told(base, tmp_path):
    adapter = lora(tmp_path / "adapter", base)
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(Error, match=r"adapter_config\.json not found"):
        model.load(base, adapter, "fp32", "eager")


def test_weights_that_were_not_recorded_are_refused(base):
    shutil.copyfile(base / "model.safetensors", base / "more.safetensors")
    with pytest.raises(Error, match="does not record the weights beside it"):
        model.load(base, None, "fp32", "eager")


def turn(base: Path) -> None:
    """Another rotary frequency: the same weights, other answers."""
    config = json.loads((base / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] *= 2
    (base / "config.json").write_text(json.dumps(config))


def test_the_same_weights_under_another_configuration_are_refused(base, tmp_path):
    adapter = lora(tmp_path / "adapter", base)
    turn(base)
    with pytest.raises(Error, match=r"by another configuration than was recorded: config\.json"):
        model.load(base, None, "fp32", "eager")
    tiny.record(base)
    with pytest.raises(Error, match="but this one is .*, with another configuration"):
        model.load(base, adapter, "fp32", "eager")


def test_a_file_that_would_decide_but_was_not_recorded_is_refused(base):
    (base / "added_tokens.json").write_text("{}")
    with pytest.raises(Error, match=r"than was recorded: added_tokens\.json"):
        model.load(base, None, "fp32", "eager")


def test_a_model_from_before_its_configuration_was_recorded_is_still_loaded(base, tmp_path):
    for path, kind in ((base / "base.json", Base), (lora(tmp_path / "adapter", base) / "bundle.json", Bundle)):
        old = kind.read(path).model_dump(exclude={"configuration"})
        path.write_text(kind.model_validate(old).text())
    turn(base)
    assert model.load(base, tmp_path / "adapter", "fp32", "eager").model.config.rope_parameters["rope_theta"] == 20_000


def test_truncated_weights_are_told_even_when_their_hash_was_recorded(base):
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    tiny.record(base)
    with pytest.raises(Error, match="cannot load the model"):
        model.load(base, None, "fp32", "eager")


def test_weights_that_lack_a_tensor_are_told(base):
    weights = safetensors.torch.load_file(base / "model.safetensors")
    weights.pop("model.norm.weight")
    safetensors.torch.save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    tiny.record(base)
    with pytest.raises(Error, match=r"1 weights are missing, such as model\.norm\.weight"):
        model.load(base, None, "fp32", "eager")


def test_a_model_without_a_chat_template_is_told(base):
    (base / "chat_template.jinja").unlink()
    tiny.record(base)
    with pytest.raises(Error, match="no chat template"):
        model.load(base, None, "fp32", "eager")


def test_a_missing_tokenizer_is_told(base):
    (base / "tokenizer.json").unlink()
    tiny.record(base)
    with pytest.raises(Error, match="cannot load the tokenizer"):
        model.load(base, None, "fp32", "eager")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", '{"hidden_size": "x"}', "cannot load the .*hidden_size"),
        ("config.json", '{"num_attention_heads": 3}', "cannot load the "),
        ("config.json", '{"quantization_config": {"quant_method": "gptq", "bits": 4}}', "cannot load the model"),
        ("tokenizer_config.json", None, "cannot load the tokenizer"),
        ("generation_config.json", None, "cannot load the model"),
    ],
)
def test_a_configuration_that_transformers_cannot_take_is_told(base, name, content, said):
    path = base / name
    path.write_text("[]" if content is None else json.dumps(json.loads(path.read_text()) | json.loads(content)))
    tiny.record(base)
    with pytest.raises(Error, match=said) as caught:
        model.load(base, None, "fp32", "eager")
    assert "choose another model" in caught.value.hint


def test_code_that_comes_with_a_model_is_never_run_and_nobody_is_asked_to(base, monkeypatch):
    (base / "own.py").write_text(f"from pathlib import Path\nPath({str(base / 'ran')!r}).write_text('')\n")
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (base / "config.json").write_text(json.dumps(config))
    tiny.record(base)
    monkeypatch.setattr("builtins.input", lambda _: "y")
    with pytest.raises(Error, match="custom code"):
        model.load(base, None, "fp32", "eager")
    assert not (base / "ran").exists()


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{{ messages[9].content.x }}"])
def test_a_template_that_fails_is_told(base, template):
    tokenizer = model.load(base, None, "fp32", "eager").tokenizer
    tokenizer.chat_template = template
    with pytest.raises(Error, match="the model's chat template refuses"):
        model.encode_prompt(tokenizer, CHAT)


def test_a_template_that_refuses_a_role_is_told(base):
    tokenizer = model.load(base, None, "fp32", "eager").tokenizer
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(Error, match=r"refuses the roles \['system', 'user'\]: no system role"):
        model.encode_prompt(tokenizer, CHAT)


def test_an_adapter_of_another_base_model_is_refused(base, tmp_path):
    other = tiny.build(tmp_path / "other", seed=1)
    with pytest.raises(Error, match="was trained on the base model"):
        model.load(other, lora(tmp_path / "adapter", base), "fp32", "eager")
