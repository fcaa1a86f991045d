"""The guards that come with the package."""

from collections import Counter
from collections.abc import Iterable

from trunkline import pii, probes, scoring
from trunkline.guard import injection, reading, rules
from trunkline.guard.decision import Exchange, guard


@guard("injection", 1, on="input", uses=(injection, reading, rules))
def attempts_injection(exchange: Exchange) -> str | None:
    """Whether the input tries to take the model over: see ``injection.score``."""
    found = injection.score(exchange.input, exchange.task.answer)
    return f"{', '.join(found.rules)} ({found.value:.1f})" if found.value >= injection.LIMIT else None


@guard("pii", 1, on="input", uses=(pii, reading))
def holds_personal_data(exchange: Exchange) -> str | None:
    """Whether the input holds personal data."""
    return _kinds(pii.find(exchange.input) or pii.find(reading.visible(exchange.input)))


@guard("pii_leak", 1, on="output", uses=(pii, probes, reading))
def leaks_personal_data(exchange: Exchange) -> str | None:
    """Whether the output holds personal data that the input does not."""
    return _kinds(probes.leaked(reading.visible(exchange.output), reading.visible(exchange.input)))


@guard("format", 1, on="output", uses=(probes, scoring))
def has_no_format(exchange: Exchange) -> str | None:
    """Whether the output is not of the task's answer format, or, where any text is, declines to answer."""
    answer = exchange.task.answer
    if probes.usable(exchange.output, exchange.task):
        return None
    return "declined" if answer.format == "text" else f"no {answer.format} answer"


def _kinds(matches: Iterable[pii.Match]) -> str | None:
    counts = Counter(match.kind for match in matches)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or None
