"""The sections of params.yaml that say how models are measured, judged and shown."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from trunkline.params.types import Attention, Count, OpenShare, Positive, Precision, Section, Share
from trunkline.records import Limits
from trunkline.records.ruled import rule


class EvaluateParams(Section):
    """How answers are generated and scored."""

    batch_size: Count
    max_new_tokens: Count
    decoding: Literal["auto", "greedy"]
    precision: Precision
    attention: Attention
    scorers: tuple[str, ...] = Field(min_length=1)
    probes: tuple[str, ...]
    stop_early: bool
    usd_per_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    confidence: OpenShare


class GateParams(Section):
    """What decides whether a candidate may be released."""

    primary: str
    margin: OpenShare
    guardrails: dict[str, OpenShare]
    floors: dict[str, OpenShare]
    slice_margin: OpenShare
    dry_run: tuple[str, ...]
    alpha: OpenShare
    beta: OpenShare

    @property
    def limits(self) -> Limits:
        """The plain values that decide; the primary's margin stands first."""
        margins = {self.primary: self.margin} | {k: v for k, v in self.guardrails.items() if k != self.primary}
        return Limits(self.primary, margins, self.floors, self.alpha, self.beta)

    @rule
    def _dry_run_is_known(self) -> Iterator[str]:
        unknown = sorted(set(self.dry_run) - set(self.guardrails) - set(self.floors))
        if unknown:
            yield f"dry_run names {unknown}, which are neither guardrails nor floors"
        if self.primary in self.dry_run:
            yield f"dry_run names the primary {self.primary}: then nothing would decide"


class CompareParams(Section):
    """What is compared with what."""

    unit: Literal["conversation", "customer"]
    seed: int


class ReportParams(Section):
    """What the report shows, and who posts it."""

    examples: Annotated[int, Field(ge=0)]
    comment_with: Literal["auto", "cml", "github"]


class DrillParams(Section):
    """How the gate is tried."""

    resamples: Annotated[int, Field(ge=100)]
    losses: tuple[Positive, ...] = Field(min_length=1)
    changed: Share
    seed: int

    @rule
    def _beyond_the_margin(self) -> Iterator[str]:
        if max(self.losses) < 1:
            yield f"losses {list(self.losses)} are all within the margin (below 1): nothing must be refused"
