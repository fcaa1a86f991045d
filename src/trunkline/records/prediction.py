"""A prediction in words: who was given which arm, what came of it, and what people said about it.

The gateway records an Assignment before it answers, an Outcome after it, and Feedback whenever it comes; they
meet by the prediction's id. An assignment without an outcome is an error of its arm, not a gap.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from trunkline.records import Record
from trunkline.verdict import FiniteFloat

Arm = Literal["stable", "canary"]
# What stands for a version in the name of what was served without being released.
WORKING_COPY = "working-copy"
# RFC 9562, version 7: the first 48 bits are the time, so ids sort as predictions were made.
_ID = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
_MOST = 2**63 - 1


def _storable(value: object) -> object:
    """Text that every database takes: NUL and halves of surrogate pairs become U+FFFD."""
    if not isinstance(value, str) or (value.isascii() and "\x00" not in value):
        return value
    return "".join("\ufffd" if c == "\x00" or "\ud800" <= c <= "\udfff" else c for c in value)


def is_id(text: str) -> bool:
    """Whether a text is a prediction's id."""
    return re.fullmatch(_ID, text) is not None


def time_of(id: str) -> datetime:
    """When an id was made, to the millisecond."""
    return datetime.fromtimestamp(int(id[:8] + id[9:13], 16) / 1000, UTC)


Id = Annotated[str, Field(pattern=_ID)]
Text = Annotated[str, BeforeValidator(_storable)]
# What is indexed must be short: PostgreSQL refuses a row whose index entry is long.
Name = Annotated[Text, Field(min_length=1, max_length=256)]
Count = Annotated[int, Field(ge=0, le=_MOST)]
Amount = Annotated[FiniteFloat, Field(ge=0)]


class Assignment(Record):
    """Which arm a unit was given, written before the answer. Names are 1 to 256 characters long.

    Attributes:
        prediction: UUIDv7 of this prediction.
        time: of the assignment.
        unit: what is randomised: a conversation, or what ``serve`` names.
        customer: whose; as it is, hashed or None, by ``serve.log.customer``.
        arm: ``stable`` or ``canary``; all predictions outside of a rollout are stable.
        weight: the canary's share of units at that moment, 0 to 1.
        rollout: names the rollout and its salt; None outside of one.
        release: name of the release that was to answer.
        environment: such as ``production``.
        input: what was asked; as it is, hashed or None, by ``serve.log.input``.
        shadow_of: the prediction that this one is a shadow of: the canary was asked the same, and nobody got its
            answer. None of what was served.
    """

    prediction: Id
    time: AwareDatetime
    unit: Name
    customer: Name | None
    arm: Arm
    weight: Annotated[FiniteFloat, Field(ge=0, le=1)]
    rollout: Name | None
    release: Name
    environment: Name
    input: Text | None
    # What waits in a spool may be older than shadows are.
    shadow_of: Id | None = None


class Outcome(Record):
    """What came of a prediction, written after the answer; None where it was not measured.

    Attributes:
        prediction: the assignment's id.
        time: when the answer ended.
        status: the HTTP status that the client got.
        error: kind of error: the engine's, such as ``timeout``, or ``unproven``, ``moved`` (a provider answers as
            another model), ``guard``, ``client_left``, ``shutdown`` or ``internal``; None without one.
        latency_ms: from the request to the end of the answer.
        ttft_ms: from the request to the first token.
        tokens_in: of the prompt as the engine counted.
        tokens_out: of the answer.
        usd: what the prediction cost.
        output: the answer; as it is, hashed or None, by ``serve.log.output``.
        format_ok: whether it has the task's answer format.
        findings: what guards found, ``name@version:hash`` each.
        engine_model: the model that the engine says it is.
        engine_fingerprint: the engine's ``system_fingerprint``.
        finish_reason: such as ``eos_token`` or ``length``.
        confidence: mean natural logarithm of the probability of the answer's tokens, with the one that ends it; None
            where the engine does not tell all of them, or they were drawn and not the likeliest.
    """

    prediction: Id
    time: AwareDatetime
    status: Annotated[int, Field(ge=100, le=599)]
    error: Text | None
    latency_ms: Amount
    ttft_ms: Amount | None
    tokens_in: Count | None
    tokens_out: Count | None
    usd: Amount | None
    output: Text | None
    format_ok: bool | None
    findings: tuple[Text, ...]
    engine_model: Text | None
    engine_fingerprint: Text | None
    finish_reason: Text | None
    # What waits in a spool may be older than this is.
    confidence: FiniteFloat | None = None


class Feedback(Record):
    """What somebody said about a prediction: at least one of label, score and comment.

    Attributes:
        id: UUIDv7 of this feedback; a prediction may get several.
        prediction: the assignment's id.
        time: when it came.
        source: who says so, such as ``customer``, ``agent`` or ``judge``.
        label: the right answer, or a class such as ``wrong``.
        score: larger is better.
        comment: in words.
    """

    id: Id
    prediction: Id
    time: AwareDatetime
    source: Name
    label: Text | None
    score: FiniteFloat | None
    comment: Text | None

    @model_validator(mode="after")
    def _says_something(self) -> "Feedback":
        if self.label is None and self.score is None and self.comment is None:
            raise ValueError("feedback has none of label, score and comment")
        return self


class Prediction(Record):
    """All that the log holds of one prediction.

    Attributes:
        erased: whether the customer's data in it were erased.
        outcome: None where no answer was logged.
    """

    assignment: Assignment
    erased: bool
    outcome: Outcome | None
    feedback: tuple[Feedback, ...]


class Held(NamedTuple):
    """A customer's predictions of one release.

    Attributes:
        release: its name.
        number: how many.
        first: when the first was assigned.
        last: when the last was.
    """

    release: str
    number: int
    first: datetime
    last: datetime


class Selection(NamedTuple):
    """Which predictions a query is about: all of these that are not None must hold.

    Attributes:
        since: first moment of the assignment.
        until: the moment after the last.
        shadow: whether shadows are meant, whose answers nobody got, instead of what was served.
    """

    since: datetime | None = None
    until: datetime | None = None
    release: str | None = None
    rollout: str | None = None
    environment: str | None = None
    shadow: bool = False
