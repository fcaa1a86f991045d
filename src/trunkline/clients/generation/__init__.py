"""Answers of a model to many conversations: greedy, or constrained to a closed set of labels."""

import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor

from trunkline.clients.generation import decoding
from trunkline.clients.generation.batch import Batch
from trunkline.clients.generation.prefix import Prefix, common, running
from trunkline.clients.model import LoadedModel, encode_answer, encode_prompt, end_tokens
from trunkline.errors import Error

Conversation = list[dict[str, str]]


class Generation(NamedTuple):
    """One answer of a model.

    Attributes:
        output: the text, without the token that ends it.
        tokens_in: of the prompt.
        tokens_out: of the answer, with the token that ends it.
        latency_ms: from the start of the example's batch to its last token. Examples of a batch wait for
            each other, so this is what a caller of the batch waits, not what one request alone would take.
        seconds: its share of the time that its batch took: what one answer costs where many are asked for.
        nll: mean negative log-likelihood (nats) a token of the reference answer; None where it was not asked
            for, or the model does not tell.
        confidence: mean log-probability (nats) of a token of the answer, with the one that ends it: 0 is certain.
    """

    output: str
    tokens_in: int
    tokens_out: int
    latency_ms: float
    seconds: float
    nll: float | None
    confidence: float


class LocalGenerator:
    """A model in this process, greedy, in batches of similar length behind their common prefix."""

    def __init__(
        self,
        loaded: LoadedModel,
        batch_size: int,
        max_new_tokens: int,
        labels: Sequence[str] | None,
        show: Callable[[int, str], None],
    ) -> None:
        """Take a model into service.

        Args:
            loaded: the model.
            batch_size: conversations answered at once.
            max_new_tokens: an answer is cut here; labels never are.
            labels: the only answers there may be, or None for any.
            show: called now and then with the number of finished conversations and a note on speed.
        """
        self._model, self._tokenizer, self._device = loaded
        self._batch_size, self._max_new_tokens, self._show = batch_size, max_new_tokens, show
        self._stops = end_tokens(loaded)
        self.seconds = 0.0
        self._trie, self._room = None, max_new_tokens
        if labels is not None:
            answers = [encode_answer(self._tokenizer, label) for label in labels]
            self._trie, self._room = decoding.trie(answers), max(map(len, answers))

    @torch.inference_mode()
    def generate(self, conversations: Sequence[Conversation], references: Sequence[str] | None) -> list[Generation]:
        """Answer each conversation; one Generation each, in their order.

        Args:
            conversations: chat messages ``{"role", "content"}``.
            references: the answer each should have got, to tell its ``nll``; None costs less.

        Raises:
            Error: a conversation is longer than the model can read.
        """
        prompts = [encode_prompt(self._tokenizer, conversation) for conversation in conversations]
        answers = None if references is None else [encode_answer(self._tokenizer, text) for text in references]
        if not prompts:
            return []
        self._check_lengths(prompts, answers or [])
        done: dict[int, Generation] = {}
        tokens, start = 0, time.perf_counter()
        order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
        with running(self._model, common(prompts)) as prefix:
            self.seconds += time.perf_counter() - start
            for first in range(0, len(order), self._batch_size):
                numbers = order[first : first + self._batch_size]
                likely = None if answers is None else [answers[number] for number in numbers]
                results = self._answer(prefix, [prompts[number] for number in numbers], likely)
                done.update(zip(numbers, results, strict=True))
                tokens += sum(result.tokens_out for result in results)
                self._show(len(done), f"{tokens / self.seconds:.0f} tokens/s")
        return [done[number] for number in range(len(prompts))]

    def _answer(self, prefix: Prefix, prompts: list[list[int]], answers: list[list[int]] | None) -> list[Generation]:
        """Answer one batch, and score its reference answers on the way, where there are."""
        start = time.perf_counter()
        bodies = [prompt[prefix.length :] for prompt in prompts]
        batch = prefix.batch(len(bodies))
        logits = batch.extend(bodies)
        paused = time.perf_counter()
        scored = [None] * len(prompts) if answers is None else _mean_nll(batch, answers, logits)
        # Scoring the reference is no part of the answer's latency.
        start += time.perf_counter() - paused
        if self._trie is None:
            written = decoding.greedy(batch, logits, self._stops, self._max_new_tokens)
        else:
            written = decoding.constrained(batch, logits, self._trie)
        elapsed = time.perf_counter() - start
        self.seconds += elapsed
        rows = zip(prompts, scored, written, strict=True)
        return [
            Generation(
                output=self._text(tokens),
                tokens_in=len(prompt),
                tokens_out=len(tokens),
                latency_ms=(finished - start) * 1000,
                seconds=elapsed / len(prompts),
                nll=nll,
                confidence=likelihood / len(tokens),
            )
            for prompt, nll, (tokens, finished, likelihood) in rows
        ]

    @torch.inference_mode()
    def likelihoods(self, conversations: Sequence[Conversation], answers: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log-likelihood (nats) of each of some answers to each conversation.

        What all answers to a conversation begin with runs once and is left out of all of them.

        Args:
            conversations: chat messages.
            answers: as many for each conversation, and no two of them the same.
        """
        if not conversations:
            return []
        encoded = [[encode_answer(self._tokenizer, text) for text in texts] for texts in answers]
        same = [common(rows) for rows in encoded]
        starts = [
            encode_prompt(self._tokenizer, conversation) + begun
            for conversation, begun in zip(conversations, same, strict=True)
        ]
        found: list[list[float]] = []
        with running(self._model, common(starts)) as prefix:
            for first in range(0, len(starts), self._batch_size):
                part = slice(first, first + self._batch_size)
                batch = prefix.batch(len(starts[part]))
                logits = batch.extend([start[prefix.length :] for start in starts[part]])
                rows = list(zip(encoded[part], same[part], strict=True))
                columns = [
                    batch.log_likelihood([texts[place][len(begun) :] for texts, begun in rows], logits).tolist()
                    for place in range(len(answers[0]))
                ]
                found += [list(row) for row in zip(*columns, strict=True)]
        return found

    def _text(self, tokens: list[int]) -> str:
        if tokens[-1] in self._stops:
            tokens = tokens[:-1]
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _check_lengths(self, prompts: list[list[int]], answers: list[list[int]]) -> None:
        limit = getattr(self._model.config, "max_position_embeddings", None)
        pairs = zip_longest(prompts, answers, fillvalue=())
        longest = max(len(prompt) + max(self._room, len(answer)) for prompt, answer in pairs)
        if limit is not None and longest > limit:
            raise Error(
                f"a prompt with its answer has {longest} tokens, but the model reads at most {limit}",
                "lower data.message_chars.max or evaluate.max_new_tokens in params.yaml, or shorten the prompt",
            )


def _mean_nll(batch: Batch, answers: list[list[int]], logits: Tensor) -> list[float]:
    totals = batch.log_likelihood(answers, logits).tolist()
    return [-total / len(answer) for total, answer in zip(totals, answers, strict=True)]
