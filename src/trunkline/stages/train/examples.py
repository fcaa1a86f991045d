"""The training set as token ids."""

from pathlib import Path

import polars as pl
from transformers import PreTrainedTokenizerBase

from trunkline import prompts
from trunkline.clients import files, model
from trunkline.errors import Error
from trunkline.packing import Encoded
from trunkline.records import EXAMPLE_COLUMNS, INPUT_COLUMN, Task


def read(path: Path) -> pl.DataFrame:
    """The training set as `features` wrote it.

    Raises:
        Error: the file is missing, damaged or empty, or an input or answer in it is not text.
    """
    return files.read_table(path, (*EXAMPLE_COLUMNS, INPUT_COLUMN))


def encode(frame: pl.DataFrame, task: Task, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> list[Encoded]:
    """Token ids of every example, in the order of the table.

    Raises:
        Error: examples are longer than ``max_tokens``, prompt and answer together.
    """
    encoded = [
        Encoded(model.encode_prompt(tokenizer, prompts.render(task, message)), model.encode_answer(tokenizer, answer))
        for message, answer in frame.select(INPUT_COLUMN, "answer").iter_rows()
    ]
    lengths = [len(example.prompt) + len(example.answer) for example in encoded]
    too_long = sum(length > max_tokens for length in lengths)
    if too_long:
        longest = max(range(len(lengths)), key=lengths.__getitem__)
        raise Error(
            f"{too_long} of {len(lengths)} examples are longer than train.max_tokens {max_tokens}: "
            f"{frame['id'][longest]} has {lengths[longest]} tokens",
            "raise train.max_tokens, or lower data.message_chars.max",
        )
    return encoded
