"""Prompt injection by rules: each names one habit of attacks and has a weight, and their sum is the score.

No habit alone proves an attack, as customers too say "please ignore my last message" or quote a system; two weak
ones or a strong one do. What is hidden in HTML entities, Base64, ROT13 or digits for letters is read as well. The
words are English, German and Spanish. Every pattern is bounded, so that no text takes quadratic time.

This stops the common and the lazy attack. A new one that is written like a customer writes passes: the numbers
are in docs/serving.md, and a model must withstand attacks by itself, which ``evaluate.probes`` measures.
"""

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from trunkline.guard.rules import RULES, of_answer
from trunkline.records import Answer

LIMIT = 1.0
_MOST_CHARS = 20_000


class Score(NamedTuple):
    """The rules that fit, the heaviest first, and the sum of their weights."""

    value: float
    rules: tuple[str, ...]


_HIDDEN_WEIGHT = 0.6
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{16,4000}={0,2}")
_WORDS = re.compile(r"[^\W\d_]{2,}(?: [^\W\d_]+){2,}")
_LEET = str.maketrans("0134578", "oieastb")
_LEET_WORD = re.compile(r"\b[a-z]*(?:[a-z][013457]|[013457][a-z])[a-z013457]*\b")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]|[\U000e0000-\U000e007f]")


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
    plain = _folded(text)
    rules = (*RULES, *of_answer(answer))
    found = {rule.name: rule.weight for rule in rules if rule.pattern.search(plain)}
    for hidden in _hidden(text, plain):
        held = {rule.name: rule.weight for rule in rules if rule.name not in found and rule.pattern.search(hidden)}
        if held:
            found |= {"hides it": _HIDDEN_WEIGHT, **held}
    ordered = sorted(found, key=lambda name: -found[name])
    return Score(round(sum(found.values()), 3), tuple(ordered))


def _folded(text: str) -> str:
    """Lower case without invisible characters or other ways to write the same letter; one blank, lines kept."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return re.sub(r"[^\S\n]+", " ", text.replace("\u2019", "'"))


def _hidden(text: str, plain: str) -> Iterator[str]:
    """What the text says to a reader who decodes it."""
    unescaped = html.unescape(text)
    if unescaped != text:
        yield _folded(unescaped)
    for blob in _BASE64.findall(text):
        try:
            said = base64.b64decode(blob + "=" * (-len(blob) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        if _WORDS.search(said):
            yield _folded(said)
    if len(_LEET_WORD.findall(plain)) >= 3:
        yield plain.translate(_LEET)
    yield codecs.encode(plain, "rot13")
