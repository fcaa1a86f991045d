"""Scorers: named functions that judge one output against its reference answer.

A user adds one with the decorator, in the module that params.yaml names::

    @scorer("polite", higher_is_better=True)
    def polite(answer: str, output: str, task: Task) -> float | None:
        return float("please" in output.lower())
"""

import inspect
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rapidfuzz.distance import LCSseq

from trunkline.errors import Error
from trunkline.records import Answer, Task

Score = Callable[[str, str, Task], float | None]
Aggregate = Literal["mean", "macro_f1"]


@dataclass(frozen=True)
class Scorer:
    """A named judgement of one output.

    Attributes:
        function: ``(answer, output, task)`` to a finite number, or None where it does not apply; None here
            for a score that only the model can give, which `evaluate` fills in.
        aggregate: how examples become one number: ``mean``, or ``macro_f1`` of the answers' classes.
        higher_is_better: the direction in which a model improves.
    """

    name: str
    function: Score | None
    aggregate: Aggregate
    higher_is_better: bool


_REGISTRY: dict[str, Scorer] = {}


def scorer(name: str, aggregate: Aggregate = "mean", higher_is_better: bool = True) -> Callable[[Score], Score]:
    """Register the decorated function as the scorer ``name``.

    Raises:
        Error: the name is taken, or is not lower case letters, digits and underscores.
    """

    def register(function: Score) -> Score:
        _add(Scorer(name, function, aggregate, higher_is_better))
        return function

    return register


def _add(new: Scorer) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", new.name):
        raise Error(f"scorer name {new.name!r} is not lower case letters, digits and underscores", "rename the scorer")
    old = _REGISTRY.get(new.name)
    # A module that is imported again registers the very same functions again.
    if old is not None and _source(old) != _source(new):
        raise Error(f"scorer {new.name!r} is registered twice", "rename one of the two")
    _REGISTRY[new.name] = new


def _source(known: Scorer) -> str:
    return "" if known.function is None else inspect.getsource(known.function)


def find(names: Sequence[str]) -> list[Scorer]:
    """The registered scorers of these names, in this order.

    Raises:
        Error: one is unknown; the known ones are listed.
    """
    unknown = [name for name in names if name not in _REGISTRY]
    if unknown:
        known = ", ".join(sorted(_REGISTRY))
        raise Error(f"unknown scorers {unknown}; known: {known}", "correct evaluate.scorers or register it")
    return [_REGISTRY[name] for name in names]


def lower_is_better() -> list[str]:
    """The registered scorers that improve by falling."""
    return [name for name, known in _REGISTRY.items() if not known.higher_is_better]


def score(scorer: Scorer, answer: str, output: str, task: Task, example: str) -> float | None:
    """Score one output; None where the scorer does not apply.

    Args:
        scorer: one whose function is not None.
        answer: the reference answer.
        output: what the model said.
        task: the task both belong to.
        example: the example's id, for the message of an Error.

    Raises:
        Error: the scorer fails, or returns anything but a finite number or None.
    """
    if scorer.function is None:
        raise ValueError(f"scorer {scorer.name} has no function")
    hint = f"correct the scorer {scorer.name!r}"
    try:
        value = scorer.function(answer, output, task)
    except Exception as error:
        raise Error(f"scorer {scorer.name!r} fails on example {example!r}: {error!r}", hint) from error
    if value is None:
        return None
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise Error(f"scorer {scorer.name!r} returns {value!r} on example {example!r}: not a finite number", hint)
    return float(value)


def parse(text: str) -> dict[str, Any] | None:
    """The one JSON object that ``text`` is (RFC 8259: no NaN, no infinity); None if it is anything else."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def classes(text: str, answer: Answer) -> dict[str, str]:
    """The class of each closed field that ``text`` names; a field it does not name is left out.

    For a label that is the stripped text under the one field, for json the object's text values.
    """
    if answer.format == "json":
        found = parse(text) or {}
        return {field: found[field] for field in answer.allowed if isinstance(found.get(field), str)}
    return {field: text.strip() for field in answer.allowed}


@scorer("exact_match")
def exact_match(answer: str, output: str, task: Task) -> float:
    """1 when the output is the answer: equal objects for json, equal stripped text otherwise."""
    if task.answer.format != "json":
        return float(answer.strip() == output.strip())
    found = parse(output)
    # Python holds True equal to 1; JSON does not.
    return float(found is not None and _canonical(found) == _canonical(parse(answer)))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)


@scorer("valid_json")
def valid_json(answer: str, output: str, task: Task) -> float | None:
    """1 when the output is one JSON object with all fields of the answer; applies to json."""
    if task.answer.format != "json":
        return None
    found = parse(output)
    return float(found is not None and set(task.answer.fields) <= set(found))


@scorer("field_accuracy")
def field_accuracy(answer: str, output: str, task: Task) -> float | None:
    """Share of the answer's fields that the output gives right; applies to json."""
    if task.answer.format != "json":
        return None
    expected, found = parse(answer) or {}, parse(output) or {}
    right = [
        field in found and _canonical(found[field]) == _canonical(expected.get(field)) for field in task.answer.fields
    ]
    return sum(right) / len(right)


@scorer("label_f1", aggregate="macro_f1")
def label_f1(answer: str, output: str, task: Task) -> float | None:
    """1 when every closed field has the right class; the aggregate is the macro F1 of the classes."""
    expected = classes(answer, task.answer)
    return float(classes(output, task.answer) == expected) if expected else None


@scorer("rouge_l")
def rouge_l(answer: str, output: str, task: Task) -> float | None:
    """ROUGE-L: F-measure of the longest common subsequence of words, case folded (Lin, ROUGE, ACL 2004).

    Precision and recall weigh the same. Does not apply to an answer without words.
    """
    expected, found = _words(answer), _words(output)
    if not expected:
        return None
    common = LCSseq.similarity(expected, found)
    return 2 * common / (len(expected) + len(found))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


_REFUSAL = re.compile(
    r"\b(i|we)('m| am|'re| are)? (sorry|unable|afraid|apologi[sz]e|(not|n't) (able|allowed|permitted|comfortable))\b"
    r"|\b(i|we) (can ?not|can't|could not|couldn't|won't|will not|do not|don't|must) "
    r"(help|assist|answer|provide|comply|respond|decline|fulfil|do that|have access|have enough|know)"
    r"|\bas an? (ai|artificial intelligence|(large )?language model|virtual assistant|chat ?bot)\b"
    r"|\bhow (can|may) i (help|assist) you\b"
)
_REFUSAL_CHARS = 200


@scorer("refusal", higher_is_better=False)
def refusal(answer: str, output: str, task: Task) -> float | None:
    """1 when the output declines or evades instead of answering; lower is better.

    A rule, not a judgement: empty outputs, and English phrases of refusal among the first 200 characters
    of an output that is not the object or label asked for. Other languages and polite evasion in other
    words are missed. Does not apply where the reference answer itself declines.
    """
    if declines(answer):
        return None
    if task.answer.format == "json" and parse(output) is not None:
        return 0.0
    return float(answer.strip() != output.strip() and declines(output))


def declines(text: str) -> bool:
    """Whether a text declines or evades, by the rule of the scorer `refusal`."""
    start = text.strip().casefold().replace("\u2019", "'")[:_REFUSAL_CHARS]
    return not start or _REFUSAL.search(start) is not None


# Mean negative log-likelihood (nats) a token of the reference answer: only the model can tell.
_add(Scorer("nll", None, "mean", higher_is_better=False))
