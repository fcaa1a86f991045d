"""The loss of one step, with the shared prefix run once.

A differentiable key-value cache of the prefix is repeated for every row of packed bodies, and the output
head runs only where an answer token is predicted. The gradients are those of the plain padded loss: every
token attends to exactly what it would attend to in its own example, at the same position.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.packing import Layout


class Batch(NamedTuple):
    """A Layout and its prefix as tensors on the device of the model.

    Attributes:
        prefix: [1, prefix] token ids; prefix may be 0.
        tokens, positions: [rows, width].
        mask: [rows, 1, width, prefix + width], 0 where a token may attend and the lowest float elsewhere.
        sources, targets: [targets].
    """

    prefix: Tensor
    tokens: Tensor
    positions: Tensor
    mask: Tensor
    sources: Tensor
    targets: Tensor


def to_batch(layout: Layout, prefix: list[int], dtype: torch.dtype, device: torch.device) -> Batch:
    """Move a layout to the device, with the attention mask it implies."""
    tokens, positions, segments, sources, targets = (torch.from_numpy(part).to(device) for part in layout)
    rows, width = segments.shape
    own = (segments[:, :, None] == segments[:, None, :]).tril()
    visible = torch.cat([own.new_ones(rows, width, len(prefix)), own], dim=-1)
    # A float mask, because eager attention adds it; -inf would turn rows without any visible token into NaN.
    mask = torch.zeros(visible.shape, dtype=dtype, device=device).masked_fill_(~visible, torch.finfo(dtype).min)
    return Batch(torch.tensor([prefix], device=device), tokens, positions, mask[:, None], sources, targets)


def summed_loss(model: Any, batch: Batch) -> Tensor:  # noqa: ANN401
    """Cross-entropy in nats, summed over the answer tokens of the batch.

    Args:
        model: a causal language model of transformers, with or without adapters inside.
        batch: what to run.
    """
    decoder = model.get_decoder()
    cache = None
    if batch.prefix.shape[1]:
        cache = decoder(input_ids=batch.prefix, use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(batch.tokens))
    hidden = decoder(
        input_ids=batch.tokens,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        past_key_values=cache,
        use_cache=cache is not None,
    ).last_hidden_state
    logits = model.get_output_embeddings()(hidden.flatten(0, 1)[batch.sources])
    return F.cross_entropy(logits.float(), batch.targets, reduction="sum")
