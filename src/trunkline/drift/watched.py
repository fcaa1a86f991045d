"""What is watched: each thing with its key, what it is compared with, and the words that a reader sees."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from trunkline.drift.features import DOUBT, LABEL
from trunkline.records import Answer
from trunkline.records.monitoring import Kind
from trunkline.words import number, plain, share

# flag: the conversation has it or not. most: it is among those with the largest amounts, of window and reference
# together. beyond: its amount is larger than nearly all of the reference. label: its value.
Form = Literal["flag", "most", "beyond", "label"]
# training: the release's training data and holdout. holdout: its answers to the holdout. start: its first windows.
Against = Literal["training", "holdout", "start"]

GUARD = "guard:"
NAMES: dict[Against, str] = {
    "training": "its training data",
    "holdout": "its holdout",
    "start": "its first windows",
}
# The features of params.yaml: what they are compared with, their form, and the column that holds them.
_FEATURES: dict[str, tuple[Against, Form, str]] = {
    "unknown_words": ("training", "beyond", "input of which more than {share} of the words are unknown to training"),
    "language": ("training", "beyond", "input with more than {amount} words in a row that are uncommon in training"),
    "long_inputs": ("training", "most", "input longer than {amount} characters"),
    "short_inputs": ("training", "most", "input shorter than {minus} characters"),
    "symbols": ("training", "most", "input of which more than {share} of the characters are no letters"),
    "pii": ("training", "flag", "input with personal data"),
    "long_outputs": ("holdout", "most", "answer longer than {amount} characters"),
    "no_format": ("holdout", "flag", "answer without the task's format"),
    "refusals": ("holdout", "flag", "answer that declines"),
    DOUBT: ("holdout", "beyond", "answer whose tokens have a mean log-probability below {minus}"),
}
LABELS = "labels"


class Watched(NamedTuple):
    """One thing that is watched.

    Attributes:
        key: of its signal.
        column: of the tables of conversations.
        words: what a conversation is counted for, with a place for the amount or the value.
    """

    key: str
    kind: Kind
    against: Against
    form: Form
    column: str
    words: str

    def told(self, at: float, value: str) -> str:
        """The words with their amount or value."""
        places = {"share": share(at), "amount": number(at), "minus": number(-at), "value": plain(value)}
        return self.words.format(**places)


def everything(features: Sequence[str], answer: Answer, guards: Iterable[str]) -> tuple[Watched, ...]:
    """All that is compared with a reference, in the order of a report.

    Args:
        features: by their names in params.yaml.
        answer: the release's; each closed field has labels.
        guards: ``name@version`` each.
    """
    found = [
        Watched("serving/errors", "serving", "start", "flag", "failed", "request that failed"),
        Watched("serving/latency", "serving", "start", "most", "latency_ms", "answer slower than {amount} ms"),
        Watched("serving/first_token", "serving", "start", "most", "ttft_ms", "first token later than {amount} ms"),
    ]
    for name in guards:
        words = f"request to which the guard {name} objected"
        found.append(Watched(f"serving/guard/{name}", "serving", "start", "flag", GUARD + name, words))
    words = "feedback worse than {minus}"
    found.append(Watched("quality/feedback", "quality", "start", "most", "displeasure", words))
    for name in features:
        if name in _FEATURES:
            against, form, words = _FEATURES[name]
            found.append(Watched(f"drift/{name}", "drift", against, form, name, words))
    if LABELS in features:
        found += [_label(field) for field in answer.allowed]
    return tuple(found)


def _label(field: str) -> Watched:
    words = f"answer with {field.replace('{', '(').replace('}', ')')} {{value}}"
    return Watched(f"drift/labels/{slug(field)}", "drift", "holdout", "label", LABEL + field, words)


def slug(text: str) -> str:
    """Text as a part of a key: lower case letters, digits, ``_ . @ -``."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.@-") else "-" for c in text.lower()) or "-"
