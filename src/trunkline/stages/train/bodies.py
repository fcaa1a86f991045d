"""What enters the first adapted layer, for the body of each example, kept from epoch to epoch.

Below that layer nothing changes while training, so those layers run once an example and not once an epoch.
Examples run in fixed groups, whatever step asks for them: a run that goes on from a checkpoint computes the
same bytes as one that was never interrupted.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trunkline import packing
from trunkline.packing import Encoded, Layout
from trunkline.stages.train.loss import run_bodies
from trunkline.stages.train.prefix import Prefix

_MOST_BYTES = 2**30
_GROUP = 16  # examples that run together


class _Reached(Exception):
    pass


class Bodies:
    """Hidden states by example, computed when an example is first asked for."""

    def __init__(self, model: PreTrainedModel, prefix: Prefix, examples: Sequence[Encoded], pack_tokens: int) -> None:
        self._model, self._prefix, self._examples, self._pack_tokens = model, prefix, examples, pack_tokens
        self._known: dict[int, Tensor] = {}

    @property
    def fits(self) -> bool:
        """Whether layers are frozen, and their output for all examples takes at most a gibibyte."""
        tokens = sum(len(example.prompt) + len(example.answer) - self._prefix.length for example in self._examples)
        size = self._model.config.hidden_size * self._model.dtype.itemsize
        return self._prefix.frozen > 0 and tokens * size <= _MOST_BYTES

    def entering(self, chosen: Sequence[int], layout: Layout) -> Tensor:
        """What enters the first layer above the frozen ones, [rows, width, hidden].

        Args:
            chosen: the examples that the layout was made of, in its order.
            layout: their bodies.
        """
        for group in sorted({index // _GROUP for index in chosen if index not in self._known}):
            self._compute(range(group * _GROUP, min((group + 1) * _GROUP, len(self._examples))))
        bodies = torch.from_numpy(layout.bodies).to(self._model.device)
        hidden = next(iter(self._known.values()))
        placed = hidden.new_zeros(*bodies.shape, hidden.shape[-1])
        for number, index in enumerate(chosen, start=1):
            placed[bodies == number] = self._known[index]
        return placed

    @torch.no_grad()
    def _compute(self, group: Sequence[int]) -> None:
        layout = packing.lay_out([self._examples[index] for index in group], self._prefix.length, self._pack_tokens)
        bodies = torch.from_numpy(layout.bodies).to(self._model.device)
        cache = self._prefix.cache(len(bodies))

        def keep(hidden: Tensor) -> None:
            for number, index in enumerate(group, start=1):
                self._known[index] = hidden[bodies == number].clone()
            raise _Reached

        with self._prefix.watched(keep):
            try:
                run_bodies(self._model, layout, self._prefix.length, cache)
            except _Reached:
                return
