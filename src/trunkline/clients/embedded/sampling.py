"""How the embedded engine chooses tokens: each request in its own way, all in one batch.

transformers' own processors for continuous batching know temperature, top_k and top_p only. These choose in
Python for each row that asks for more than the likeliest token, so that a seed, a repetition penalty and a
closed set of answers need no generation of their own beside the batch.
"""

import random
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessorList
from transformers.generation.continuous_batching.requests import FutureRequestState, RequestState

from trunkline.clients.generation.batch import log_probability
from trunkline.clients.generation.decoding import Node
from trunkline.records.serving import Request

# Below it only the likeliest token is left anyway, and a float32 would be 0, by which nothing is divided.
_COLDEST = 1e-6


class Sampling:
    """How one request chooses, and what it has chosen.

    Attributes:
        logprobs: of the tokens so far, where they are asked for.
    """

    def __init__(self, request: Request, prompt_tokens: int, choices: Node | None) -> None:
        """Prepare a request.

        Args:
            prompt_tokens: length of its prompt.
            choices: the tree of the only answers there may be; None: any.
        """
        self.temperature, self.top_k, self.top_p = request.temperature, request.top_k, request.top_p
        self.penalty, self.choices = request.repetition_penalty, choices
        self.seed = random.getrandbits(64) if request.seed is None else request.seed
        self.prompt_tokens = prompt_tokens
        self.logprobs: list[float] | None = [] if request.details else None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sampling":
        """The same: a request that is pushed out of the cache and starts again goes on where it was."""
        return self

    @property
    def plain(self) -> bool:
        """Whether the likeliest token is taken as the model gives it."""
        return self.temperature == 0 and self.penalty == 1 and self.choices is None

    def choose(self, logits: Tensor, tokens: list[int]) -> int:
        """The next token.

        Args:
            logits: ``[vocabulary]``.
            tokens: the prompt and the answer so far.
        """
        if self.penalty != 1:
            logits = _penalised(logits, tokens, self.penalty)
        if self.choices is not None:
            logits = _only(logits, _allowed(self.choices, tokens[self.prompt_tokens :]))
        if self.temperature == 0:
            return int(logits.argmax())
        # By position and not by call: the sequence is the same whatever else is in the batch.
        uniform = random.Random(f"{self.seed}:{len(tokens)}").random()  # noqa: S311 (no secret)
        return sample(logits, self.temperature, self.top_k, self.top_p, uniform)


def sample(logits: Tensor, temperature: float, top_k: int | None, top_p: float | None, uniform: float) -> int:
    """Draw a token by inversion of the cumulative distribution; filters as in transformers, in its order.

    Args:
        logits: ``[vocabulary]``.
        uniform: from [0, 1); the same one draws the same token.
    """
    size = len(logits) if top_k is None else min(top_k, len(logits))
    values, order = logits.topk(size)
    probabilities = ((values - values[0]) / max(temperature, _COLDEST)).softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    if top_p is not None:
        # Kept while those before it have not reached top_p: the likeliest always is.
        probabilities = probabilities.masked_fill((before >= top_p) & (before > 0), 0.0)
    # In the order of their numbers: two that are as likely change places by rounding, with what else is in the batch.
    placed = torch.zeros_like(logits, dtype=torch.float64).index_copy(0, order, probabilities.double())
    ends = placed.cumsum(-1)
    return int(torch.searchsorted(ends, ends[-1] * uniform, right=True).clamp(max=len(logits) - 1))


class Sampler(ContinuousBatchingLogitsProcessorList):
    """Chooses for every row of a step: the token chosen becomes the row's largest score.

    The manager asks `prepare_tensor_args` and then calls this, in one thread, once a step. It must take the
    largest score (``do_sample=False``).
    """

    def __init__(self) -> None:
        super().__init__(LogitsProcessorList())
        self.do_processing = True
        self._rows: list[RequestState] = []

    def check_kwargs(self, kwargs: dict[str, Any]) -> None:
        """Every request carries one `Sampling`, made by us."""

    def prepare_tensor_args(self, requests_in_batch: list[FutureRequestState], arg_storage: Tensor) -> Tensor:
        """Remember which requests get a token in this step, in the order of their rows."""
        self._rows = [future.state for future in requests_in_batch if future.has_new_token]
        return arg_storage

    def __call__(self, input_ids: Tensor, scores: Tensor, logits_processor_args: Tensor) -> Tensor:
        """Scores ``[rows, vocabulary]``; rows behind those that get a token are filling."""
        for row, state in enumerate(self._rows):
            sampling: Sampling = state.logit_processor_kwargs["sampling"]
            logits = scores[row]
            if sampling.plain and sampling.logprobs is None:
                continue
            chosen = int(logits.argmax()) if sampling.plain else sampling.choose(logits, _tokens(state))
            if sampling.logprobs is not None:
                sampling.logprobs.append(float(log_probability(logits, torch.tensor(chosen, device=logits.device))))
            if not sampling.plain:
                logits.fill_(-torch.inf)
                logits[chosen] = 0.0
        return scores


def _tokens(state: RequestState) -> list[int]:
    return [*state.initial_tokens, *state.generated_tokens]


def _penalised(logits: Tensor, tokens: list[int], penalty: float) -> Tensor:
    seen = torch.tensor(sorted(set(tokens)), device=logits.device)
    values = logits[seen]
    return logits.index_copy(0, seen, torch.where(values < 0, values * penalty, values / penalty))


def _allowed(root: Node, answer: list[int]) -> list[int]:
    node = root
    for token in answer:
        node = node[token]
    return list(node)


def _only(logits: Tensor, allowed: list[int]) -> Tensor:
    index = torch.tensor(allowed, device=logits.device)
    return torch.full_like(logits, -torch.inf).index_copy(0, index, logits[index])
