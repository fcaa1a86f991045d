"""Rows that continue a prefix side by side, each by as many tokens as it likes."""

import copy
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from trunkline.clients.generation import attention

_CHUNK_TOKENS = 512  # of one forward pass over prompts: more leaves the processor's cache
_CHUNK_LOGITS = 2**25

Tokens = Sequence[Sequence[int]]


class Batch(Protocol):
    """Continuations of one prefix."""

    def extend(self, tokens: Tokens) -> Tensor:
        """Append tokens to each row, at least one.

        Returns:
            Logits ``[rows, vocabulary]`` after each row's last token.
        """

    def log_likelihood(self, tokens: Tokens, first: Tensor) -> Tensor:
        """Log-likelihood (nats) of a continuation of each row; the rows stay as they are.

        Args:
            tokens: the continuations, at least one token each.
            first: logits ``[rows, vocabulary]`` of their first tokens, as ``extend`` returned them.

        Returns:
            Sums over the tokens, ``[rows]``.
        """

    def select(self, rows: list[int]) -> None:
        """Keep only these rows, in this order."""


class SharedBatch:
    """Rows that run together behind one copy of the prefix; rows of a call are padded on the left."""

    def __init__(self, model: PreTrainedModel, shared: attention.Parts, rows: int) -> None:
        """Start empty rows of a model whose attention implementation is the shared one."""
        self._model, self._shared, self._device = model, shared, model.device
        self._prefix = shared[0][0].shape[1]
        self._valid = torch.zeros(rows, 0, dtype=torch.bool, device=self._device)
        self._lengths = torch.zeros(rows, 1, dtype=torch.long, device=self._device)
        self._cache = Cache(layers=[attention.Buffer(rows) for _ in shared])

    def extend(self, tokens: Tokens) -> Tensor:
        """See Batch."""
        ids, fresh = self._aligned(tokens)
        for rows, part in _parts(tokens, _CHUNK_TOKENS):
            logits = self._run(ids[:rows, part], fresh[:, part], keep=1)
        return logits[:, -1]

    def log_likelihood(self, tokens: Tokens, first: Tensor) -> Tensor:
        """See Batch."""
        total = log_probability(first, torch.tensor([row[0] for row in tokens], device=self._device))
        valid, lengths = self._valid, self._lengths
        given, wanted = [row[:-1] for row in tokens], [row[1:] for row in tokens]
        (ids, fresh), (targets, _) = self._aligned(given), self._aligned(wanted)
        for rows, part in _parts(given, _CHUNK_LOGITS // first.shape[1]):
            logits = self._run(ids[:rows, part], fresh[:, part], keep=ids.shape[1])
            total[:rows] += (log_probability(logits, targets[:rows, part]) * fresh[:rows, part]).sum(1)
        if ids.shape[1]:
            self._cache.crop(-ids.shape[1])
        self._valid, self._lengths = valid, lengths
        return total

    def select(self, rows: list[int]) -> None:
        """See Batch."""
        index = torch.tensor(rows, device=self._device)
        self._valid, self._lengths = self._valid[index], self._lengths[index]
        self._cache.batch_select_indices(index)

    def _aligned(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Token ids ``[rows, width]`` that all end in the last column, and where they are not padding."""
        width = max(map(len, tokens))
        ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in tokens], dtype=torch.long)
        lengths = torch.tensor([[len(row)] for row in tokens])
        return ids.to(self._device), (torch.arange(width) >= width - lengths).to(self._device)

    def _run(self, ids: Tensor, fresh: Tensor, keep: int) -> Tensor:
        """Logits of the first rows, which alone have tokens in these columns."""
        rows, start = len(ids), self._valid.shape[1]
        self._valid = torch.cat([self._valid, fresh], 1)
        steps = (self._lengths + fresh.cumsum(1))[:rows]
        self._lengths = self._lengths + fresh.sum(1, keepdim=True)
        logits: Tensor = self._model(
            input_ids=ids,
            attention_mask=self._mask(rows, start),
            position_ids=self._prefix + (steps - 1).clamp(min=0),
            cache=self._cache,
            use_cache=True,
            logits_to_keep=keep,
            shared=self._shared,
        ).logits
        return logits

    def _mask(self, rows: int, start: int) -> Tensor:
        """What the first rows' tokens from column ``start`` on may look at, ``[rows, 1, new, keys]``.

        A float mask to be added to the scores: 0, or the lowest number to hide a key.
        """
        end = self._valid.shape[1]
        columns = torch.arange(end, device=self._device)
        seen = self._valid[:rows, None] & (columns <= columns[start:, None])
        seen = pad(seen, (0, attention.columns(end) - end), value=False)
        mask = torch.zeros(seen.shape, dtype=self._model.dtype, device=self._device)
        return mask.masked_fill_(~seen, torch.finfo(mask.dtype).min)[:, None]


def _parts(tokens: Tokens, limit: int) -> Iterator[tuple[int, slice]]:
    """Columns of the aligned rows that run together, about ``limit`` tokens, and how many first rows have any.

    With the longest row first, short rows cost nothing before they begin.
    """
    width = max(map(len, tokens))
    begun = [max(place for place, row in enumerate(tokens, 1) if len(row) >= width - column) for column in range(width)]
    start = 0
    while start < width:
        end = start + 1
        while end < width and begun[end] * (end + 1 - start) <= limit:
            end += 1
        yield begun[end - 1], slice(start, end)
        start = end


class OneByOne:
    """Rows that run one after the other with caches of their own: slow, and right for any model."""

    def __init__(self, model: PreTrainedModel, cache: Cache, rows: int) -> None:
        """Start rows that continue what ``cache`` holds of one row; it stays as it is."""
        self._model = model
        self._caches = [copy.deepcopy(cache) for _ in range(rows)]

    def extend(self, tokens: Tokens) -> Tensor:
        """See Batch."""
        pairs = zip(tokens, self._caches, strict=True)
        return torch.cat([self._run(row, cache, 1)[:, -1] for row, cache in pairs])

    def log_likelihood(self, tokens: Tokens, first: Tensor) -> Tensor:
        """See Batch."""
        totals = []
        for row, logits, cache in zip(tokens, first, self._caches, strict=True):
            after = logits[None]
            if len(row) > 1:
                after = torch.cat([after, self._run(row[:-1], copy.deepcopy(cache), 0)[0]])
            totals.append(log_probability(after, torch.tensor(row, device=first.device)).sum())
        return torch.stack(totals)

    def select(self, rows: list[int]) -> None:
        """See Batch."""
        self._caches = [self._caches[row] for row in rows]

    def _run(self, row: Sequence[int], cache: Cache, keep: int) -> Tensor:
        ids = torch.tensor([row], device=self._model.device)
        logits: Tensor = self._model(input_ids=ids, cache=cache, use_cache=True, logits_to_keep=keep).logits
        return logits


def log_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of each target under ``logits[..., vocabulary]``."""
    logits = logits.float()
    return logits.gather(-1, targets[..., None])[..., 0] - logits.logsumexp(-1)
