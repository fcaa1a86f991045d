"""Lay out the examples of a training step so that nothing is computed twice.

What all prompts share is left out of the rows: it runs once. The rest of each example, its body, is put
beside others in rows of similar length, each body seeing the shared prefix and itself only.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Encoded(NamedTuple):
    """An example in token ids: the prompt (at least one token) and the answer with its end token."""

    prompt: list[int]
    answer: list[int]


class Layout(NamedTuple):
    """The bodies of a step in rows.

    Attributes:
        tokens: [rows, width] token ids, 0 where nothing is.
        positions: [rows, width] position of each token in its own example, the shared prefix counted.
        bodies: [rows, width] which of the examples a token belongs to, from 1; 0 where nothing is.
        sources: [targets] flat indices into rows x width of the tokens that predict an answer token.
        targets: [targets] the answer tokens to predict, in the same order.
    """

    tokens: Ints
    positions: Ints
    bodies: Ints
    sources: Ints
    targets: Ints


def shared_prefix(prompts: list[list[int]]) -> int:
    """Number of leading tokens that all prompts have in common.

    The last token of a prompt never counts: it predicts the first token of its own answer, so it must be
    in a body for that answer token to be learned.
    """
    first, last = min(prompts), max(prompts)
    limit = min(len(prompt) for prompt in prompts) - 1
    differing = (index for index in range(limit) if first[index] != last[index])
    return next(differing, max(limit, 0))


def lay_out(examples: Sequence[Encoded], prefix: int, pack_tokens: int) -> Layout:
    """Pack the bodies of examples into rows.

    Args:
        examples: at least one; all share their first ``prefix`` prompt tokens.
        prefix: shared tokens that are left out.
        pack_tokens: tokens a row holds; a longer body widens all rows to its own length.
    """
    texts = [[*example.prompt[prefix:], *example.answer] for example in examples]
    rows = _fill_rows([len(text) for text in texts], pack_tokens)
    width = max(sum(len(texts[index]) for index in row) for row in rows)
    tokens, positions, bodies = (np.zeros((len(rows), width), dtype=np.int64) for _ in range(3))
    sources: list[int] = []
    targets: list[int] = []
    for number, row in enumerate(rows):
        start = 0
        for index in row:
            text, answer = texts[index], examples[index].answer
            place = slice(start, start + len(text))
            tokens[number, place] = text
            positions[number, place] = np.arange(prefix, prefix + len(text))
            bodies[number, place] = index + 1
            first = number * width + place.stop - len(answer) - 1
            sources.extend(range(first, first + len(answer)))
            targets.extend(answer)
            start = place.stop
    return Layout(tokens, positions, bodies, np.array(sources), np.array(targets))


def _fill_rows(lengths: list[int], capacity: int) -> list[list[int]]:
    """Indices of bodies by row: as few rows as first-fit decreasing needs, then evened out.

    All rows are as wide as the fullest, so even rows waste the least; where evening them out would
    exceed the capacity, first-fit's own rows stay.
    """
    capacity = max(capacity, *lengths)
    longest_first = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    rows: list[list[int]] = []
    loads: list[int] = []
    for index in longest_first:
        fitting = (row for row, load in enumerate(loads) if load + lengths[index] <= capacity)
        row = next(fitting, len(rows))
        if row == len(rows):
            rows.append([])
            loads.append(0)
        rows[row].append(index)
        loads[row] += lengths[index]
    even: list[list[int]] = [[] for _ in rows]
    even_loads = [0] * len(rows)
    for index in longest_first:
        row = even_loads.index(min(even_loads))
        even[row].append(index)
        even_loads[row] += lengths[index]
    return even if max(even_loads) < max(loads) else rows
