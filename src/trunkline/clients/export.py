"""Whole weights out of a base model and an adapter, in files that TGI 3.3.7, vLLM and SGLang read alike.

TGI holds transformers 4.51.3, which does not understand what transformers 5 writes: it refuses the tokenizer,
takes the default rotary frequency without a word, and its router does not see the chat template. What it
looks for is added beside; transformers 5 reads the same files as before.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trunkline.clients import files, weights
from trunkline.clients.model import BASE_RECORD, BUNDLE_RECORD, load
from trunkline.errors import Error
from trunkline.records import Base, Bundle

# transformers 4.51.3 uses these names at the top, transformers 5 within rope_parameters.
_MOVED = ("rope_theta", "partial_rotary_factor")


def merge(base: Path, adapter: Path, target: Path, precision: str = "auto") -> Base:
    """Write a model with its adapter merged, whole or not at all; every file has mode 0644.

    Args:
        base: the base model's folder, with base.json.
        adapter: a folder with bundle.json; of kind ``base`` it stands for the base model alone.
        target: the folder to write; one that is there is replaced.
        precision: of the weights; give the evaluation's (``evaluate.precision``), so that rounding is what it was.

    Returns:
        What is in ``target/base.json``: the SHA-256 of each file of weights.

    Raises:
        Error: a file is missing or is not the one that was recorded, or TGI could not read the model.
    """
    loaded = load(base, adapter, precision, "auto")
    with files.replacing(target) as partial:
        loaded.model.save_pretrained(partial)
        loaded.tokenizer.save_pretrained(partial)
        _edit(partial / "config.json", _configuration)
        template: Any = loaded.tokenizer.chat_template
        _edit(partial / "tokenizer_config.json", lambda config: _tokenizer(config, template))
        record = weights.identify(f"merged:{Bundle.read(adapter / BUNDLE_RECORD).base}", partial)
        files.write_text(partial / BASE_RECORD, record.text())
    return record


def _edit(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    document = change(json.loads(path.read_bytes()))
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def _configuration(config: dict[str, Any]) -> dict[str, Any]:
    rope = config.get("rope_parameters") or {}
    if any(isinstance(value, dict) for value in rope.values()):
        kinds = ", ".join(sorted(rope))
        problem = f"TGI's transformers 4.51.3 has no words for this model's rotary frequencies by layer: {kinds}"
        raise Error(problem, "release the adapter (release.weights: lora) and serve it with vLLM")
    added: dict[str, Any] = {name: rope[name] for name in _MOVED if name in rope}
    if rope.get("rope_type", "default") != "default":
        added["rope_scaling"] = {name: value for name, value in rope.items() if name not in _MOVED}
    if "dtype" in config:
        added["torch_dtype"] = config["dtype"]
    return {**config, **added}


def _tokenizer(config: dict[str, Any], template: Any) -> dict[str, Any]:  # noqa: ANN401 (text, or several by name)
    several = isinstance(template, dict)
    inline = [{"name": n, "template": text} for n, text in template.items()] if several else template
    changed = {**config, "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": inline}
    if isinstance(config.get("extra_special_tokens"), list):
        # Under this name transformers 4.51.3 wants a dictionary, and fails.
        changed["additional_special_tokens"] = changed.pop("extra_special_tokens")
    return changed
