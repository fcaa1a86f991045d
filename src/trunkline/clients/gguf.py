"""Turns a GGUF file into the safetensors and tokenizer files that everything else reads."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trunkline.errors import Error


def convert(file: Path, folder: Path) -> None:
    """Dequantise a GGUF model once and save it in bfloat16 with its tokenizer.

    Args:
        file: the GGUF file.
        folder: where ``model.safetensors``, ``config.json`` and the tokenizer files are written.

    Raises:
        Error: the file is not a GGUF model that transformers can read.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TQDM_DISABLE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with _read_once():
            model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise Error(f"{file.name} cannot be read as a GGUF model: {reason}", "choose another base.model") from error
    # transformers refuses to save a model it read from GGUF until it forgets that the file was quantised.
    model.__dict__.update(hf_quantizer=None, is_quantized=False)
    model.config.__dict__.pop("quantization_config", None)
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def _read_once() -> Iterator[None]:
    """Keep what transformers asks of gguf again and again.

    It reads the whole header, vocabulary and all, for the config, the weights and the tokenizer each, and makes
    the table of tensor names anew for each module of the model.
    """
    import gguf

    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader = functools.cache(reader)  # type: ignore[assignment,misc]
    gguf.get_tensor_name_map = functools.cache(names)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names  # type: ignore[misc]
