"""The section ``monitor`` of params.yaml: how what serves is watched."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from trunkline.params.judge import JudgeParams, Person
from trunkline.params.serve import EngineParams
from trunkline.params.types import Count, OpenShare, Positive, Section, Share
from trunkline.records.ruled import rule

Feature = Literal[
    "unknown_words",
    "language",
    "long_inputs",
    "short_inputs",
    "symbols",
    "pii",
    "labels",
    "no_format",
    "refusals",
    "long_outputs",
    "low_confidence",
]


class ConversationParams(Section):
    """How many conversations of a window are looked at."""

    least: Annotated[int, Field(ge=20)]
    most: Count

    @rule
    def _ordered(self) -> Iterator[str]:
        if self.least > self.most:
            yield f"least {self.least} is larger than most {self.most}"


class ToleratedParams(Section):
    """Differences in points of 1 that are no alarm, however sure they are."""

    serving: Share
    drift: Share
    quality: Share


class AskedParams(Section):
    """What is asked of whoever answers, past the gateway."""

    engine: EngineParams | None
    a_month: Count
    holdout: Annotated[int, Field(ge=0)]
    probes: tuple[str, ...]


class MonitorParams(Section):
    """What `trunkline monitor` looks at, and what decides."""

    environment: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    hours: Annotated[float, Field(gt=0, le=720, allow_inf_nan=False)]
    windows: Count
    together: Count
    first: Count
    conversations: ConversationParams
    alpha: OpenShare
    clear: OpenShare
    tolerated: ToleratedParams
    features: tuple[Feature, ...]
    sources: tuple[Person, ...]
    usd_per_1000: Positive | None
    needs: tuple[Literal["serving", "drift", "quality", "cost", "provider"], ...] = Field(min_length=1)
    examples: Annotated[int, Field(ge=0)]
    asked: AskedParams
    judge: JudgeParams | None

    @rule
    def _windows_hold_what_is_looked_at_together(self) -> Iterator[str]:
        if self.together > self.windows:
            yield f"together {self.together} is larger than windows {self.windows}"

    @rule
    def _features_are_told_once(self) -> Iterator[str]:
        if len(set(self.features)) < len(self.features):
            yield f"features repeats one: {list(self.features)}"
