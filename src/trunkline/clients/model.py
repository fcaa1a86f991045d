"""Models in memory: weights checked by hash before they are used, text turned into tokens.

Nothing here reaches the network: the `base` stage has fetched everything into models/base.
"""

import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple, cast

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from trunkline.clients import files, weights
from trunkline.errors import Error
from trunkline.records import PROVIDER_RECORD, Base, Bundle

BASE_RECORD = "base.json"
BUNDLE_RECORD = "bundle.json"

logging.set_verbosity_error()  # type: ignore[no-untyped-call]
logging.disable_progress_bar()  # type: ignore[no-untyped-call]
# peft asks transformers by a name that is about to change.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)


class LoadedModel(NamedTuple):
    """A causal language model in evaluation mode, its tokenizer, and where it computes."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device


def choose_device() -> torch.device:
    """This process's GPU when there is one (by torchrun's LOCAL_RANK), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def choose_precision(setting: str) -> torch.dtype:
    """The type of the weights: as set, or for ``auto`` what this machine computes fast.

    bf16 is 3 times slower than fp32 on a CPU without bf16 instructions, and 3 times faster with them.
    """
    if setting == "auto":
        fast = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else _cpu_has_bf16()
        return torch.bfloat16 if fast else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[setting]


def choose_attention(setting: str) -> str:
    """The attention implementation: as set, or for ``auto`` the faster one at our short sequences.

    ``eager`` adds its mask to the scores: give it a float mask of 0 and -inf-like values, never a bool one.
    """
    if setting == "auto":
        return "sdpa" if torch.cuda.is_available() else "eager"
    return setting


def load(base: Path, adapter: Path | None, precision: str, attention: str) -> LoadedModel:
    """Load the base model, with the adapter merged into it when one is given.

    Args:
        base: a folder with safetensors weights, base.json (their SHA-256), config and tokenizer.
        adapter: a folder with bundle.json; of kind ``base`` it stands for the base model alone.
        precision: ``auto``, ``fp32`` or ``bf16``.
        attention: ``auto``, ``eager`` or ``sdpa``.

    Raises:
        Error: a file is missing or is not the one that was recorded, or the model is not usable for chat.
    """
    bundle = verify(base, adapter)
    tokenizer = _load_tokenizer(base)
    device = choose_device()
    try:
        model = _load_weights(base, choose_precision(precision), choose_attention(attention))
        if adapter is not None and bundle is not None and bundle.kind == "lora":
            model = _merge(model, adapter)
    except Exception as error:  # transformers raises anything over files that it does not expect
        raise Error(f"cannot load the model in {base}: {_first_line(error)}", _another(base)) from error
    model.get_output_embeddings().register_forward_pre_hook(_contiguous)  # type: ignore[no-untyped-call]
    model.to(device)  # type: ignore[arg-type]
    model.eval()  # type: ignore[no-untyped-call]
    return LoadedModel(model, tokenizer, device)


def verify(base: Path, adapter: Path | None) -> Bundle | None:
    """Check that a model's files are byte for byte those that were recorded.

    Returns:
        The adapter's bundle when one is given.

    Raises:
        Error: a file is missing or is not the one that was recorded.
    """
    record = _verified_base(base)
    return None if adapter is None else _verified_bundle(adapter, record)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> list[int]:
    """Token ids of a conversation up to where the model answers.

    Raises:
        Error: the model's chat template refuses these messages.
    """
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # it comes with the model, and may fail in any way
        roles = [message["role"] for message in messages]
        raise Error(
            f"the model's chat template refuses the roles {roles}: {error}", "change the roles of the prompt template"
        ) from None
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode_answer(tokenizer: PreTrainedTokenizerBase, answer: str) -> list[int]:
    """Token ids of an answer, with the token that ends it."""
    return [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def end_tokens(loaded: LoadedModel) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's, and those that the model's authors name."""
    config = loaded.model.generation_config
    named = getattr(config, "eos_token_id", None)
    more = named if isinstance(named, list) else [named]
    return frozenset(token for token in (loaded.tokenizer.eos_token_id, *more) if isinstance(token, int))


def _contiguous(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """Give the output head a whole tensor: over a slice, torch's CPU product of bf16 is 300 times slower."""
    return (inputs[0].contiguous(),)


def _cpu_has_bf16() -> bool:
    # torch has no public question for this; a renamed private one only costs speed.
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(probe() for probe in probes if probe is not None)


def _verified_base(base: Path) -> Base:
    record = Base.read(base / BASE_RECORD)
    if PROVIDER_RECORD in record.weights:
        raise Error(f"{base} holds no weights: {record.source} is a provider's model", "ask the provider")
    for name, expected in record.weights.items():
        _verify(base / name, expected)
    present = {path.name for path in base.glob("*.safetensors")}
    if present != set(record.weights) or files.combined(record.weights) != record.sha256:
        raise Error(f"{base / BASE_RECORD} does not record the weights beside it", _rebuild(base))
    found = weights.configuration(base)
    changed = {name for name, _ in found.items() ^ record.configuration.items()} if record.configuration else ()
    if changed:
        problem = f"{base} computes by another configuration than was recorded: {', '.join(sorted(changed))}"
        raise Error(problem, _rebuild(base))
    return record


def _verified_bundle(adapter: Path, base: Base) -> Bundle:
    bundle = Bundle.read(adapter / BUNDLE_RECORD)
    if not bundle.goes_on(base):
        problem = f"{adapter} was trained on the base model {bundle.base[:12]}, but this one is {base.sha256[:12]}"
        more = ", with another configuration" if bundle.base == base.sha256 else ""
        raise Error(problem + more, "run `dvc repro` to train it again, or restore params.yaml base")
    for name, expected in bundle.weights.items():
        _verify(adapter / name, expected)
    return bundle


def _verify(path: Path, expected: str) -> None:
    if not path.is_file():
        raise Error(f"{path} not found", _rebuild(path.parent))
    actual = files.sha256(path)
    if actual != expected:
        raise Error(f"{path} is damaged: its SHA-256 is {actual[:12]}, not {expected[:12]}", _rebuild(path.parent))


def _load_tokenizer(base: Path) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # as above
        raise Error(f"cannot load the tokenizer in {base}: {_first_line(error)}", _another(base)) from error
    if not tokenizer.chat_template:
        raise Error(
            f"the model in {base} has no chat template", "choose an instruction-tuned model in params.yaml base"
        )
    if tokenizer.eos_token_id is None:
        raise Error(f"the tokenizer in {base} has no end-of-text token", "choose another model")
    return tokenizer


def _load_weights(base: Path, dtype: torch.dtype, attention: str) -> PreTrainedModel:
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=dtype,
        attn_implementation=attention,
        local_files_only=True,
        # Not said, transformers asks a terminal whether to run the code that came with the weights.
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    model, info = loaded
    # transformers fills what a file lacks with random numbers and only warns.
    if info["missing_keys"]:
        raise ValueError(f"{len(info['missing_keys'])} weights are missing, such as {min(info['missing_keys'])}")
    return cast(PreTrainedModel, model)


def _merge(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    import peft  # only here: it costs a second that the base model alone need not pay

    merged: PreTrainedModel = peft.PeftModel.from_pretrained(model, adapter, local_files_only=True).merge_and_unload()
    return merged


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _rebuild(folder: Path) -> str:
    return f"remove {folder} and run `dvc repro`"


def _another(folder: Path) -> str:
    return f"choose another model in params.yaml base, or {_rebuild(folder)}"
