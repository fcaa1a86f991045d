"""Attention of many rows over one copy of the prefix that they share, and over their own tokens."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import AttentionInterface
from transformers.cache_utils import DynamicLayer

NAME = "trunkline_shared_prefix"
_BLOCK = 32

# Keys and values [kv heads, length, head size] of a prefix, for each layer.
Parts = list[tuple[Tensor, Tensor]]


def columns(filled: int) -> int:
    """How many columns a Buffer has for so many filled ones."""
    return -(-filled // _BLOCK) * _BLOCK


class Buffer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer's keys and values, which grow by blocks of columns; those not filled yet must be masked.

    Appending a token copies that token only, and the matrix products get whole tensors: they would copy
    a part of one before they read it.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows, self._end = rows, 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Append new columns to the first rows, empty ones to the others.

        Returns:
            Keys and values of those first rows, ``[rows, kv heads, columns(filled), head size]``.
        """
        rows, _heads, new, _size = key_states.shape
        if not self.is_initialized:
            # Zeros, not what memory holds: a weight of zero does not undo a NaN.
            self.keys = key_states.new_zeros(self._rows, key_states.shape[1], 0, key_states.shape[3])
            self.values = value_states.new_zeros(self._rows, value_states.shape[1], 0, value_states.shape[3])
            self.is_initialized = True
        keys, values = self.keys, self.values
        assert keys is not None and values is not None  # noqa: S101  for the type checker
        start, self._end = self._end, self._end + new
        missing = columns(self._end) - keys.shape[2]
        if missing > 0:
            keys, values = pad(keys, (0, 0, 0, missing)), pad(values, (0, 0, 0, missing))
        keys[:rows, :, start : self._end] = key_states
        values[:rows, :, start : self._end] = value_states
        self.keys, self.values = keys, values
        return keys[:rows], values[:rows]

    def get_seq_length(self) -> int:
        """How many columns are filled."""
        return self._end

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last ``-tokens_to_remove`` columns, and the blocks that were only added for them."""
        self._end += tokens_to_remove
        kept = columns(self._end)
        self.keys = self.keys[:, :, :kept].contiguous()  # type: ignore[index]
        self.values = self.values[:, :, :kept].contiguous()  # type: ignore[index]


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    **options: Any,  # noqa: ANN401  the model passes what it likes
) -> tuple[Tensor, None]:
    """Exact attention over the shared prefix and each row's own keys, under one softmax.

    Scores against the prefix are one matrix product for all rows, so the prefix is read once a step and
    never repeated (Juravsky et al., Hydragen, arXiv 2402.05099).

    Args:
        module: the attention layer.
        query: ``[rows, heads, new, head size]``.
        key: of the rows' own tokens, ``[rows, kv heads, columns, head size]``.
        value: likewise.
        attention_mask: ``[rows, 1, new, columns]``, added to the scores.
        options: ``scaling`` of the scores; ``shared``, the Parts of the prefix.

    Raises:
        ValueError: the model wants scores to be capped, or keys to be left out.
    """
    if any(options.get(name) is not None for name in ("softcap", "sliding_window", "s_aux")):
        raise ValueError("this attention is not plain")
    rows, heads, new, size = query.shape
    kv_heads = key.shape[1]
    grouped = heads // kv_heads * new
    far_key, far_value = options["shared"][module.layer_idx]
    near_query = (query * options["scaling"]).reshape(rows, kv_heads, grouped, size)
    far_query = near_query.transpose(0, 1).reshape(kv_heads, rows * grouped, size)
    far = (far_query @ far_key.mT).view(kv_heads, rows, grouped, -1).transpose(0, 1)
    near = (near_query @ key.mT).view(rows, kv_heads, -1, new, key.shape[2]) + attention_mask[:, :, None]
    scores = torch.cat([far, near.view(rows, kv_heads, grouped, -1)], -1)
    weights = torch.softmax(scores, -1)  # computed in float32 inside, whatever the type
    prefix = far_key.shape[1]
    far_weights = weights[..., :prefix].transpose(0, 1).reshape(kv_heads, rows * grouped, prefix)
    out = (far_weights @ far_value).view(kv_heads, rows, grouped, -1).transpose(0, 1)
    out = out + weights[..., prefix:] @ value
    return out.reshape(rows, heads, new, -1).transpose(1, 2), None


AttentionInterface.register(NAME, attend)
