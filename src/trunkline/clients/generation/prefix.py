"""A prefix that all prompts share: it runs once, and batches of any number go on from it.

A model that the shared attention does not compute exactly (sliding windows, capped scores, recurrent
layers) is found by a trial and answers one prompt at a time, by its own attention.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

from trunkline.clients.generation import attention
from trunkline.clients.generation.batch import Batch, OneByOne, SharedBatch

_TRIAL_TOKENS = 8


def common(prompts: Sequence[list[int]]) -> list[int]:
    """The tokens that all prompts start with, short of the last token of the shortest prompt."""
    pairs = zip(min(prompts), max(prompts), strict=False)
    same = [first for first, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return same[: min(map(len, prompts)) - 1]


class Prefix:
    """A prefix that has run.

    Attributes:
        length: its number of tokens.
        shared: its keys and values for the shared attention; None where the model needs its own.
    """

    def __init__(self, model: PreTrainedModel, tokens: list[int]) -> None:
        self._model = model
        self._cache = DynamicCache(config=model.config)
        self.length = len(tokens)
        self.shared: attention.Parts | None = None
        if not tokens:
            return
        model(input_ids=torch.tensor([tokens], device=model.device), cache=self._cache, logits_to_keep=1)
        layers = self._cache.layers
        if all(type(layer) is DynamicLayer for layer in layers):
            self._try([(layer.keys[0], layer.values[0]) for layer in layers], tokens[-_TRIAL_TOKENS:])  # type: ignore[union-attr, index]

    def batch(self, rows: int) -> Batch:
        """A batch of ``rows`` empty continuations."""
        if self.shared is None:
            return OneByOne(self._model, self._cache, rows)
        return SharedBatch(self._model, self.shared, rows)

    def _try(self, shared: attention.Parts, tokens: list[int]) -> None:
        """Take the shared attention if ``tokens`` get the same logits from it, up to rounding."""
        expected = OneByOne(self._model, self._cache, 1).extend([tokens])
        original = self._model.config._attn_implementation
        self._model.set_attn_implementation(attention.NAME)
        try:
            found = SharedBatch(self._model, shared, 1).extend([tokens])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
            found = torch.full_like(expected, torch.nan)
        tolerance = 1e-3 if self._model.dtype is torch.float32 else 5e-2
        if (found - expected).float().norm() <= tolerance * expected.float().norm():
            self.shared = shared
        else:
            self._model.set_attn_implementation(original)


@contextmanager
def running(model: PreTrainedModel, tokens: list[int]) -> Iterator[Prefix]:
    """Run a prefix, which may be empty, and hold the model ready to go on from it."""
    original = model.config._attn_implementation
    try:
        yield Prefix(model, tokens)
    finally:
        model.set_attn_implementation(original)
