"""The loss of one step over packed bodies that see the shared prefix and themselves.

The output head runs only where an answer token is predicted. The gradients are those of the plain padded
loss: every token attends to exactly what it would attend to in its own example, at the same position.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from trunkline.packing import Layout
from trunkline.stages.train.prefix import Prefix, causal_mask


def summed_loss(model: PreTrainedModel, prefix: Prefix, layout: Layout) -> Tensor:
    """Cross-entropy in nats, summed over the answer tokens of the layout.

    Args:
        model: a causal language model, with or without adapters inside.
        prefix: what all bodies see besides themselves; may be empty.
        layout: the bodies.
    """
    tokens, positions, segments, sources, targets = (torch.from_numpy(part).to(model.device) for part in layout)
    decoder: Any = model.get_decoder()  # type: ignore[no-untyped-call]
    cache = prefix.cache(len(tokens))
    hidden = decoder(
        input_ids=tokens,
        attention_mask=_mask(segments, prefix.length, model.dtype),
        position_ids=positions,
        past_key_values=cache,
        use_cache=cache is not None,
    ).last_hidden_state
    logits = model.get_output_embeddings()(hidden.flatten(0, 1)[sources])  # type: ignore[no-untyped-call]
    return F.cross_entropy(logits.float(), targets, reduction="sum")


def _mask(segments: Tensor, prefix: int, dtype: torch.dtype) -> Tensor:
    """[rows, 1, width, prefix + width] from segments [rows, width]."""
    rows, width = segments.shape
    own = (segments[:, :, None] == segments[:, None, :]).tril()
    visible = torch.cat([own.new_ones(rows, width, prefix), own], dim=-1)
    return causal_mask(visible[:, None], dtype)
