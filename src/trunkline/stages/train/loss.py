"""The loss of one step over packed bodies that see the shared prefix and themselves.

The output head runs only where an answer token is predicted. The gradients are those of the plain padded
loss: every token attends to exactly what it would attend to in its own example, at the same position.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from trunkline.packing import Layout
from trunkline.stages.train.prefix import Prefix, causal_mask


def summed_loss(model: PreTrainedModel, prefix: Prefix, layout: Layout, entering: Tensor | None = None) -> Tensor:
    """Cross-entropy in nats, summed over the answer tokens of the layout.

    Args:
        model: a causal language model, with or without adapters inside.
        prefix: what all bodies see besides themselves; may be empty.
        layout: the bodies.
        entering: [rows, width, hidden] what enters the first layer above the frozen ones, where that is known.
    """
    sources, targets = (torch.from_numpy(part).to(model.device) for part in (layout.sources, layout.targets))
    cache = prefix.cache(len(layout.tokens))
    if entering is None:
        hidden = run_bodies(model, layout, prefix.length, cache)
    else:
        with prefix.only_above():
            hidden = run_bodies(model, layout, prefix.length, cache, inputs_embeds=entering)
    logits = model.get_output_embeddings()(hidden.flatten(0, 1)[sources])  # type: ignore[no-untyped-call]
    return F.cross_entropy(logits.float(), targets, reduction="sum")


def run_bodies(
    model: PreTrainedModel, layout: Layout, shared: int, cache: DynamicCache | None, **instead: Tensor
) -> Tensor:
    """The hidden states [rows, width, hidden] after the last layer that runs.

    Args:
        model: a causal language model.
        layout: the bodies.
        shared: tokens of the prefix.
        cache: the prefix's keys and values for each row; None where nothing is shared.
        **instead: what runs instead of the tokens.
    """
    tokens, positions, bodies = (torch.from_numpy(part).to(model.device) for part in layout[:3])
    decoder: Any = model.get_decoder()  # type: ignore[no-untyped-call]
    hidden: Tensor = decoder(
        **(instead or {"input_ids": tokens}),
        attention_mask=_mask(bodies, shared, model.dtype),
        position_ids=positions,
        cache=cache,
        use_cache=cache is not None,
    ).last_hidden_state
    return hidden


def _mask(bodies: Tensor, prefix: int, dtype: torch.dtype) -> Tensor:
    """[rows, 1, width, prefix + width] from the number of each token's body [rows, width]."""
    rows, width = bodies.shape
    own = (bodies[:, :, None] == bodies[:, None, :]).tril()
    visible = torch.cat([own.new_ones(rows, width, prefix), own], dim=-1)
    return causal_mask(visible[:, None], dtype)
