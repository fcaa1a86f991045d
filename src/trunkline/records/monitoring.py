"""What `trunkline monitor` found, in ``reports/monitor.json``: what alerts, issues and retraining go by."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from trunkline.records import Record
from trunkline.verdict import FiniteFloat, Verdict

Kind = Literal["serving", "cost", "quality", "drift", "provider"]


# Begins the keys of what the release itself had answered before: newer data do not mend those.
ASKED = "quality/asked/"


class Answered(Record):
    """A question of our own that is answered otherwise than when the release was made.

    Attributes:
        question: its words where we invented it, and else the example's id: never a customer's words.
        then: the answer, or the score, when the release was made.
        now: what is answered, or scored, now.
    """

    question: str
    then: str
    now: str


class Signal(Record):
    """One thing that is watched over a release's windows.

    Attributes:
        key: stable name, such as ``drift/rare_tokens``: one alert and one issue each.
        kind: what it is about.
        verdict: ``pass``; ``inconclusive``: not measured, or with a value, shown without deciding; ``fail``: an alarm.
        value: in the newest window; None where it was not measured.
        reference: what the release's own reference gives; None where there is none.
        effect: how far from the reference, in the unit that ``sentence`` names; None where not measured.
        p: how many windows a month have an alarm like this without any change, at most 1, corrected over signals and
            windows; None where not tested.
        direction: where it went.
        n: predictions (or units, or labels) it was measured on.
        sentence: what was found, for people.
        examples: ids of the predictions that drive it, the worst first.
        since: start of the first window of this alarm, UTC, ISO 8601; None without an alarm or windows, and where it
            began before those that were looked at.
        answers: questions of our own behind an alarm, the worst first, personal data masked.
        fallback: the version that a rollback from this alarm goes to; None where none would mend it.
    """

    key: str = Field(pattern=r"^[a-z_]+(/[a-z0-9_.@-]+)+$")
    kind: Kind
    verdict: Verdict
    value: FiniteFloat | None
    reference: FiniteFloat | None
    effect: FiniteFloat | None
    p: Annotated[float, Field(ge=0, le=1)] | None
    direction: Literal["up", "down", "changed", "none"]
    n: Annotated[int, Field(ge=0)]
    sentence: str
    examples: tuple[str, ...]
    since: str | None
    answers: tuple[Answered, ...] = ()
    fallback: str | None = None

    @property
    def learnable(self) -> bool:
        """Whether newer data may mend it; errors, prices and providers are mended elsewhere."""
        return self.kind in ("drift", "quality") and not self.key.startswith(ASKED)


class Asked(Record):
    """What questions of our own have found.

    Attributes:
        time: when they were asked, UTC, ISO 8601.
        signals: of who answers and how well.
    """

    time: str
    signals: tuple[Signal, ...]


class Counted(Record):
    """One of a release's first windows, in numbers: nobody's id, and no text.

    Attributes:
        since: its start, UTC, ISO 8601.
        until: its end.
        totals: of all its predictions, in the order of `drift.observed.Totals`.
        conversations: by what was measured, a value for each conversation drawn; null where there was none.
        engines: model and fingerprint of who answered, as they said themselves.
        losses: 1 - score of each labelled conversation.
    """

    since: str
    until: str
    totals: tuple[JsonValue, ...]
    conversations: dict[str, tuple[bool | float | None, ...]]
    engines: tuple[tuple[str, str], ...]
    losses: tuple[float, ...]


class Begun(Record):
    """The first windows of a release, in order."""

    windows: tuple[Counted, ...]


class Monitoring(Record):
    """One run of the monitor.

    Attributes:
        model: ``project.name`` of params.yaml.
        environment: such as ``production``.
        release: that served when the newest window ended, such as ``support-triage@v1.2.0``.
        since: start of the newest window, UTC, ISO 8601.
        until: its end.
        predictions: in it.
        labels: of them with a label that is no production's own answer.
        verdict: fail with any alarm; inconclusive where a kind that params.yaml needs was not measured.
        signals: all that are watched, alarms first.
        asked: when what serves was asked the questions of our own that are told here, UTC, ISO 8601; None: it was not.
    """

    model: str
    environment: str
    release: str
    since: str
    until: str
    predictions: Annotated[int, Field(ge=0)]
    labels: Annotated[int, Field(ge=0)]
    verdict: Verdict
    signals: tuple[Signal, ...]
    asked: str | None = None
