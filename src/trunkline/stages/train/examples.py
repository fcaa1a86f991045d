"""The training set as token ids."""

from pathlib import Path

import polars as pl

from trunkline import prompts
from trunkline.clients import files, model
from trunkline.clients.model import LoadedModel
from trunkline.errors import Error
from trunkline.packing import Encoded
from trunkline.records import EXAMPLE_COLUMNS, INPUT_COLUMN, Task


def read(path: Path) -> pl.DataFrame:
    """The training set as `features` wrote it.

    Raises:
        Error: the file is missing, damaged or empty, or an input or answer in it is not text.
    """
    return files.read_table(path, (*EXAMPLE_COLUMNS, INPUT_COLUMN))


def encode(frame: pl.DataFrame, task: Task, loaded: LoadedModel, max_tokens: int) -> list[Encoded]:
    """Token ids of every example, in the order of the table.

    Raises:
        Error: examples are longer than ``max_tokens``, or than the model reads, prompt and answer together.
    """
    tokenizer = loaded.tokenizer
    encoded = [
        Encoded(model.encode_prompt(tokenizer, prompts.render(task, message)), model.encode_answer(tokenizer, answer))
        for message, answer in frame.select(INPUT_COLUMN, "answer").iter_rows()
    ]
    lengths = [len(example.prompt) + len(example.answer) for example in encoded]
    shorter = "lower data.message_chars.max"
    _check(frame["id"], lengths, max_tokens, "train.max_tokens", f"raise train.max_tokens, or {shorter}")
    reads = getattr(loaded.model.config, "max_position_embeddings", max_tokens)
    _check(frame["id"], lengths, reads, "the model reads,", f"{shorter}, shorten the prompt, or choose another model")
    return encoded


def _check(ids: pl.Series, lengths: list[int], limit: int, name: str, hint: str) -> None:
    too_long = sum(length > limit for length in lengths)
    if too_long:
        longest = max(range(len(lengths)), key=lengths.__getitem__)
        raise Error(
            f"{too_long} of {len(lengths)} examples are longer than {name} {limit}: "
            f"{ids[longest]} has {lengths[longest]} tokens",
            hint,
        )
