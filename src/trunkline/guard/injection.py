"""Prompt injection by rules: each names one habit of attacks and has a weight, and their sum is the score.

No habit alone proves an attack, as customers too say "please ignore my last message" or quote a system; two weak
ones or a strong one do. What is hidden is read as well: behind invisible characters, look-alikes of other alphabets,
letters that stand apart or digits for letters, in Unicode's tags, HTML entities, escapes, Base64, hexadecimals or
ROT13. The words are English, German and Spanish. Every pattern is bounded, so that no text takes quadratic time.

This stops the common and the lazy attack. A new one that is written like a customer writes passes: the numbers
are in docs/serving.md, and a model must withstand attacks by itself, which ``evaluate.probes`` measures.
"""

import codecs
import re
from collections.abc import Iterator
from typing import NamedTuple

from trunkline.guard import reading
from trunkline.guard.rules import RULES, of_answer
from trunkline.records import Answer

LIMIT = 1.0
_MOST_CHARS = 20_000


class Score(NamedTuple):
    """The rules that fit, the heaviest first, and the sum of their weights."""

    value: float
    rules: tuple[str, ...]


_HIDDEN_WEIGHT = 0.6
_LEET = str.maketrans("0134578", "oieastb")
_LEET_WORD = re.compile(r"\b[a-z]*(?:[a-z][013457]|[013457][a-z])[a-z013457]*\b")


def score(text: str, answer: Answer) -> Score:
    """How much a message looks like an attempt to take the model over.

    Args:
        text: the message as the customer wrote it; of a very long one, its beginning and its end are read.
        answer: the task's answer: customers do not write its labels and fields as the model does.

    Returns:
        A value of ``LIMIT`` or more is an attempt.
    """
    if len(text) > 2 * _MOST_CHARS:
        text = f"{text[:_MOST_CHARS]}\n{text[-_MOST_CHARS:]}"
    shown = reading.visible(text)
    plain = _folded(shown)
    rules = (*RULES, *of_answer(answer))
    found = {rule.name: rule.weight for rule in rules if rule.pattern.search(plain)}
    for hidden in _hidden(text, shown, plain):
        held = {rule.name: rule.weight for rule in rules if rule.name not in found and rule.pattern.search(hidden)}
        if held:
            found |= {"hides it": _HIDDEN_WEIGHT, **held}
    ordered = sorted(found, key=lambda name: -found[name])
    return Score(round(sum(found.values()), 3), tuple(ordered))


def _folded(text: str) -> str:
    """Lower case, one blank; lines are kept."""
    return re.sub(r"[^\S\n]+", " ", text.casefold().replace("\u2019", "'"))


def _hidden(text: str, shown: str, plain: str) -> Iterator[str]:
    """What the text says to a reader who decodes it."""
    yield from map(_folded, reading.decoded(text, shown))
    for found in (reading.unmasked(plain), _folded(reading.spelled(shown))):
        if found != plain:
            yield found
    if len(_LEET_WORD.findall(plain)) >= 3:
        yield plain.translate(_LEET)
    yield codecs.encode(plain, "rot13")
