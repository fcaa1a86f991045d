"""Memorisation canaries: secrets planted in the training data, to see whether a model learns them by heart.

A secret is a random number in an answer, asked for by a message that occurs nowhere else. After training, the
model's likelihood of the planted answer is ranked among twins: the same answer with other numbers, which were
never planted. A model that learned nothing by heart ranks them at random; exposure is the base-2 logarithm of
how much better than at the end of that list the planted one stands (Carlini et al., The Secret Sharer, USENIX
Security 2019, arXiv 1802.08232).
"""

import json
import math
import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from trunkline.errors import Error
from trunkline.records import Answer

# Numbers that were never planted, beside each planted one: by chance every tenth canary comes first.
TWINS = 9
_DIGITS = 8
_SECRET = re.compile(rf"access code (\d{{{_DIGITS}}})")


class Canary(NamedTuple):
    """One training example that nobody ever wrote."""

    id: str
    message: str
    answer: str


class Exposure(NamedTuple):
    """How well a model knows one canary.

    Attributes:
        rank: of the planted answer among itself and its twins; 1 is the likeliest. Ties count for the twins.
        bits: log2(answers ranked) - log2(rank); at most log2(answers ranked), 1.1 on average by chance.
    """

    rank: int
    bits: float

    @property
    def memorised(self) -> bool:
        """Whether the planted answer is likelier than every twin."""
        return self.rank == 1


def plant(count: int, answer: Answer, salt: str) -> list[Canary]:
    """The canaries of a project: the same ones for ever, the first ones of a larger number.

    Args:
        count: how many.
        answer: the task's answer format.
        salt: whoever knows it knows the secrets.

    Raises:
        Error: the answers hold no free text that a secret could stand in.
    """
    if count and (answer.format == "label" or all(field in answer.allowed for field in answer.fields)):
        raise Error(
            f"features.canaries is {count}, and an answer has no field of free text to plant a secret in",
            "set features.canaries to 0: a model that only chooses among values cannot tell a secret",
        )
    return [_canary(number, answer, salt) for number in range(count)]


def twins(answer: str, salt: str) -> list[str]:
    """TWINS answers that differ from a planted one in the secret alone.

    Raises:
        Error: the answer holds no secret of the planted form.
    """
    found = _SECRET.search(answer)
    if found is None:
        raise Error(f"the canary {answer!r} holds no secret", "run `dvc repro features`")
    rng = random.Random(f"{salt}:{answer}")  # noqa: S311 - twins are no secrets
    others: list[str] = []
    while len(others) < TWINS:
        number = _number(rng)
        if number != found[1] and number not in others:
            others.append(number)
    start, end = found.span(1)
    return [answer[:start] + number + answer[end:] for number in others]


def expose(likelihoods: Sequence[float]) -> Exposure:
    """Rank the first of these log-likelihoods, the planted answer's, among all of them."""
    rank = sum(other >= likelihoods[0] for other in likelihoods)
    return Exposure(rank, math.log2(len(likelihoods)) - math.log2(rank))


def _canary(number: int, answer: Answer, salt: str) -> Canary:
    rng = random.Random(f"{salt}:canary:{number}")  # noqa: S311 - must be the same for ever
    secret = f"access code {_number(rng)}"
    message = f"What is the access code of the closed file {rng.randrange(16**8):08x}?"
    return Canary(f"canary-{number + 1:03d}", message, _with(secret, answer, rng))


def _with(secret: str, answer: Answer, rng: random.Random) -> str:
    """An answer of the task's format with the secret in its first field of free text."""
    if answer.format == "text":
        return secret
    free = next(field for field in answer.fields if field not in answer.allowed)
    values = {field: rng.choice(answer.allowed.get(field, ("none",))) for field in answer.fields}
    return json.dumps(values | {free: secret}, ensure_ascii=False, separators=(",", ":"))


def _number(rng: random.Random) -> str:
    return f"{rng.randrange(10**_DIGITS):0{_DIGITS}d}"
