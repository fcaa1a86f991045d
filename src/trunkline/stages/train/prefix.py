"""The prompt prefix that all examples share, as a differentiable key-value cache.

Below the first adapted layer nothing changes while training, so that part of the prefix is computed once a
run; only the adapted layers see it again in every step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel


def causal_mask(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a token may attend and the lowest float elsewhere.

    A float mask, because eager attention adds it; the lowest float and not -inf, which would turn a row
    without any visible token into NaN.
    """
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)


class Prefix:
    """The shared tokens and what of them is already computed."""

    def __init__(self, model: PreTrainedModel, tokens: list[int]) -> None:
        self.length = len(tokens)
        self._decoder: Any = model.get_decoder()  # type: ignore[no-untyped-call]
        self._tokens = torch.tensor([tokens], device=model.device)
        ones = torch.ones(1, 1, self.length, self.length, dtype=torch.bool, device=model.device)
        self._mask = causal_mask(ones.tril(), model.dtype)
        self._frozen = _count_frozen(self._decoder.layers)
        self._below: list[tuple[Tensor, Tensor]] = []
        self._entering = torch.empty(0)
        if self.length and self._frozen:
            self._compute_below()

    def cache(self, rows: int) -> DynamicCache | None:
        """Keys and values of the prefix for each of ``rows`` rows; None when nothing is shared."""
        if not self.length:
            return None
        cache = self._upper() if self._below else self._whole()
        cache.batch_repeat_interleave(rows)
        return cache

    @property
    def frozen(self) -> int:
        """The layers that need not run again for what has entered the layer above them once; 0 for none."""
        return self._frozen if self._below else 0

    @contextmanager
    def only_above(self) -> Iterator[None]:
        """Run nothing but the layers above the frozen ones."""
        layers = self._decoder.layers
        self._decoder.layers = layers[self._frozen :]
        try:
            yield
        finally:
            self._decoder.layers = layers

    @contextmanager
    def watched(self, watch: Callable[[Tensor], None]) -> Iterator[None]:
        """Call ``watch`` with the hidden states ``[rows, width, size]`` that enter the first layer above."""

        def see(_: nn.Module, arguments: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            watch(arguments[0] if arguments else named["hidden_states"])

        hook = self._decoder.layers[self._frozen].register_forward_pre_hook(see, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    @torch.no_grad()
    def _compute_below(self) -> None:
        seen: list[Tensor] = []
        with self.watched(seen.append):
            whole: Any = self._whole()
        self._entering = seen[0]
        self._below = [(layer.keys, layer.values) for layer in whole.layers[: self._frozen]]
        # Some architectures change what enters their layers; there the whole prefix runs in every step.
        again: Any = self._upper()
        if not torch.allclose(again.layers[-1].keys, whole.layers[-1].keys):
            self._below = []

    def _whole(self) -> DynamicCache:
        cache = DynamicCache()
        self._run(cache, input_ids=self._tokens)
        return cache

    def _upper(self) -> DynamicCache:
        cache = DynamicCache()
        for number, (keys, values) in enumerate(self._below):
            cache.update(keys, values, number)
        with self.only_above():
            self._run(cache, inputs_embeds=self._entering)
        return cache

    def _run(self, cache: DynamicCache, **tokens: Tensor) -> None:
        positions = torch.arange(self.length, device=self._tokens.device)[None]
        self._decoder(**tokens, attention_mask=self._mask, position_ids=positions, cache=cache, use_cache=True)


def _count_frozen(layers: nn.ModuleList) -> int:
    """How many of the first layers have nothing to train; 0 when no layer has."""
    trained = (number for number, layer in enumerate(layers) if any(p.requires_grad for p in layer.parameters()))
    return next(trained, 0)
