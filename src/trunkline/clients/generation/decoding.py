"""How the next token is chosen, for all rows of a batch at once."""

import time
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from trunkline.clients.generation.batch import Batch, log_probability

# A batch drops finished rows when they are at least this share of it: dropping copies the others' cache.
_FINISHED = 1 / 8

Node = dict[int, "Node"]


class Written(NamedTuple):
    """The tokens of one answer, with the one that ends it, and when (``time.perf_counter``) they were there.

    Attributes:
        likelihood: their log-likelihood (nats) under the model, whatever it was allowed to say.
    """

    tokens: list[int]
    finished: float
    likelihood: float


def greedy(batch: Batch, logits: Tensor, stops: frozenset[int], limit: int) -> list[Written]:
    """The likeliest token each time, until one of ``stops`` or ``limit`` tokens.

    Args:
        batch: rows of which the prompts have run.
        logits: ``[rows, vocabulary]`` after the prompts.
        stops: tokens that end an answer.
        limit: the largest number of tokens.
    """
    tokens: list[list[int]] = [[] for _ in range(len(logits))]
    finished, likelihoods = [0.0] * len(tokens), [0.0] * len(tokens)
    rows = list(range(len(tokens)))  # the answer of each row still in the batch
    while True:
        # max() finds the first of equals, as argmax() does, several times faster.
        best = logits.max(-1).indices
        chosen = best.tolist()
        now = time.perf_counter()
        likely = log_probability(logits, best).tolist()
        for row, token, found in zip(rows, chosen, likely, strict=True):
            if not finished[row]:
                tokens[row].append(token)
                likelihoods[row] += found
                if token in stops or len(tokens[row]) == limit:
                    finished[row] = now
        kept = [place for place, row in enumerate(rows) if not finished[row]]
        if not kept:
            return [Written(*answer) for answer in zip(tokens, finished, likelihoods, strict=True)]
        if len(kept) <= (1 - _FINISHED) * len(rows):
            batch.select(kept)
            rows, chosen = [rows[place] for place in kept], [chosen[place] for place in kept]
        logits = batch.extend([[token] for token in chosen])


def constrained(batch: Batch, logits: Tensor, root: Node) -> list[Written]:
    """The likeliest token each time among those that lead to an allowed answer.

    Tokens without an alternative are not asked of the model; they run together with the next choice.

    Args:
        batch: rows of which the prompts have run.
        logits: ``[rows, vocabulary]`` after the prompts.
        root: the allowed answers.
    """
    opening, start = _forced(root)
    tokens = [list(opening) for _ in range(len(logits))]
    finished = [time.perf_counter()] * len(tokens)
    likelihoods = batch.log_likelihood(tokens, logits).tolist() if opening else [0.0] * len(tokens)
    nodes = [start] * len(tokens)
    rows = list(range(len(tokens))) if start else []
    if rows and opening:
        logits = batch.extend([opening] * len(rows))
    while rows:
        chosen = _likeliest(logits, [list(nodes[row]) for row in rows])
        now = time.perf_counter()
        runs = []
        for row, token in zip(rows, chosen, strict=True):
            rest, nodes[row] = _forced(nodes[row][token])
            runs.append([token, *rest])
            tokens[row] += runs[-1]
            finished[row] = now
        # Before the rows go on: what is forced was not asked of the model, and how likely it was is not known yet.
        for row, found in zip(rows, batch.log_likelihood(runs, logits).tolist(), strict=True):
            likelihoods[row] += found
        kept = [place for place, row in enumerate(rows) if nodes[row]]
        if not kept:
            break
        if len(kept) < len(rows):
            batch.select(kept)
        rows = [rows[place] for place in kept]
        logits = batch.extend([runs[place] for place in kept])
    return [Written(*answer) for answer in zip(tokens, finished, likelihoods, strict=True)]


def trie(answers: Iterable[list[int]]) -> Node:
    """The tree of token sequences that each end with the end-of-text token, so none begins another."""
    root: Node = {}
    for tokens in answers:
        node = root
        for token in tokens:
            node = node.setdefault(token, {})
    return root


def _forced(node: Node) -> tuple[list[int], Node]:
    """The tokens without an alternative from ``node`` on, and the node with a choice, or the empty end."""
    tokens = []
    while len(node) == 1:
        token, node = next(iter(node.items()))
        tokens.append(token)
    return tokens, node


def _likeliest(logits: Tensor, allowed: list[list[int]]) -> list[int]:
    """Of each row's allowed tokens the likeliest; of equals the lowest, as a search over all tokens finds."""
    union = sorted({token for tokens in allowed for token in tokens})
    place = {token: number for number, token in enumerate(union)}
    hidden = torch.ones(len(allowed), len(union), dtype=torch.bool)
    for row, tokens in enumerate(allowed):
        hidden[row, [place[token] for token in tokens]] = False
    scores = logits[:, union].masked_fill(hidden.to(logits.device), -torch.inf)
    return [union[number] for number in scores.max(-1).indices.tolist()]
