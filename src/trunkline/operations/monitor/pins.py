"""A hosted release's pinned answers, asked for again: each once, and what does not come back as often as it takes."""

from trunkline.clients import hosted
from trunkline.drift import pinned, signals
from trunkline.drift.asked import Budget
from trunkline.errors import Error
from trunkline.records.monitoring import Signal
from trunkline.records.serving import Completion, Provider


def ask(recorded: Provider, budget: Budget) -> Signal:
    """Whether the provider moved; inconclusive where it does not answer."""
    try:
        first = hosted.repeat(recorded)
        said = [_who(answer) for answer in first]
        answers = [[answer.text] for answer in first] if recorded.pins else []
        places = pinned.doubtful(recorded, [answer.text for answer in first], said)
        more = pinned.tries(recorded.repeats, budget.level) - 1
        requests = hosted.pinned(recorded)
        again = hosted.ask(recorded, [requests[place] for place in places for _ in range(more)])
    except Error as error:
        return signals.unmeasured(pinned.KEY, "provider", 0, f"could not measure: {error.problem}.")
    for number, place in enumerate(places):
        answers[place] += [answer.text for answer in again[number * more : (number + 1) * more]]
    return pinned.judge(recorded, answers, [*said, *map(_who, again)], budget)


def _who(answer: Completion) -> tuple[str | None, str | None]:
    return answer.model, answer.fingerprint
