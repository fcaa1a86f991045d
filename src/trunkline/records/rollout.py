"""A rollout's plan: everything its analysis decides by, fixed in Git before the rollout starts."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from trunkline.errors import Error
from trunkline.records import Record
from trunkline.records.documents import Document
from trunkline.records.ruled import Ruled, rule
from trunkline.records.shadow import Shadow

OpenShare = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Minutes = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
# How many times as often an event may happen on the canary.
Tolerated = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Ratio = Annotated[float, Field(gt=1, allow_inf_nan=False)]
# What a log holds besides its outcomes.
LOG_COLUMNS = ("time", "unit", "arm", "weight")
# May be there besides: true for a row that only brings an outcome of an earlier request.
LATE = "late"


class Step(Record):
    """A stretch of the ramp: the canary's share of the units, and how long it lasts at least."""

    weight: OpenShare
    minutes: Minutes


class Alpha(Record):
    """Chances of a false alarm, each for a whole rollout.

    Attributes:
        planned: of rolling back by the test that has a horizon.
        reserve: of rolling back by e-processes, also after the horizon; in a shadow, once more.
        ratio: of holding because the arms' shares seem wrong.
    """

    planned: OpenShare
    reserve: OpenShare
    ratio: OpenShare


class EventMetric(Record):
    """A boolean column, true for harm.

    Attributes:
        kind: ``failure``: null is a request that was never answered, and counts; ``event``: null is not measured.
        tolerated: the risk ratio below which nothing is rolled back.
        margins: by step, the risk ratio that must be ruled out before the step is left.
    """

    kind: Literal["failure", "event"]
    tolerated: Tolerated
    margins: tuple[Ratio, ...]


class AmountMetric(Record):
    """A column of amounts, less is better: how many requests exceed production's quantiles.

    Attributes:
        quantiles: of production before the rollout.
        tolerated: as of events.
        margins: as of events.
    """

    kind: Literal["amount"]
    quantiles: tuple[OpenShare, ...] = Field(min_length=1)
    tolerated: Tolerated
    margins: tuple[Ratio, ...]


class ScoreMetric(Record):
    """A column of scores from 0 to 1, more is better; null where a request was not scored.

    Attributes:
        tolerated: the loss of the mean up to which nothing is rolled back.
        margins: by step, the loss that must be ruled out before the step is left.
    """

    kind: Literal["score"]
    tolerated: Annotated[float, Field(ge=0, lt=1)]
    margins: tuple[OpenShare, ...]


Metric = Annotated[EventMetric | AmountMetric | ScoreMetric, Field(discriminator="kind")]


class Plan(Document, Ruled):
    """What a rollout decides by.

    Attributes:
        method: ``placebo`` (canaries that were not deployed, exact for units that come back) or ``counts`` (the
            exact conditional test, for units of one request each).
        salt: of the units' hash; None until a rollout draws one.
        placebos: salts that the real one is compared with.
        steps: the ramp; after the last step the canary is promoted.
        horizon_minutes: over which ``alpha.planned`` is spent; without proof by then a human decides.
        poll_seconds: how often the analysis looks.
        silence_seconds: the longest gap between two requests for which the clock runs.
        alpha: chances of false alarms.
        beta: chance to leave a step although the canary is as bad as the step's margin, metric by metric.
        metrics: by column.
        hard_stops: by boolean column, how many true ones in a row on the canary end the rollout at once.
        ab: an A/B test: the only step's weight stays until the horizon, when a human decides by the effects, whose
            intervals all hold at once but for a chance of ``beta``.
        shadow: what comes before the first step; None: nothing does.
    """

    method: Literal["placebo", "counts"]
    salt: Annotated[str, Field(min_length=8)] | None
    placebos: Annotated[int, Field(ge=99, le=9999)]
    steps: tuple[Step, ...] = Field(min_length=1)
    horizon_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    poll_seconds: Seconds
    silence_seconds: Seconds
    alpha: Alpha
    beta: OpenShare
    metrics: dict[str, Metric] = Field(min_length=1)
    hard_stops: dict[str, Count]
    # Rollouts that were written down before there were A/B tests and shadows have none.
    ab: bool = False
    shadow: Shadow | None = None

    @rule
    def _steps_go_up(self) -> Iterator[str]:
        weights = [step.weight for step in self.steps]
        if sorted(set(weights)) != weights:
            yield f"the steps' weights must go up, got {weights}"

    @rule
    def _an_ab_test_has_one_step(self) -> Iterator[str]:
        if self.ab and len(self.steps) > 1:
            yield f"an A/B test has one step, got {len(self.steps)}"

    @rule
    def _margins_fit(self) -> Iterator[str]:
        for name, metric in self.metrics.items():
            if len(metric.margins) != len(self.steps):
                yield f"{name} has {len(metric.margins)} margins for {len(self.steps)} steps"
            if any(margin <= metric.tolerated for margin in metric.margins):
                yield f"{name} tolerates {metric.tolerated}, so every margin must be above it"

    @rule
    def _names_are_free(self) -> Iterator[str]:
        taken = sorted({*self.metrics, *self.hard_stops} & {*LOG_COLUMNS, LATE})
        if taken:
            yield f"metrics and hard_stops may not name {taken}, which a log holds for itself"
        booleans = {name for name, metric in self.metrics.items() if isinstance(metric, EventMetric)}
        wrong = sorted(set(self.hard_stops) & (set(self.metrics) - booleans))
        if wrong:
            yield f"hard_stops names {wrong}, which are no boolean columns"

    def tested_at(self, split: float) -> "Plan":
        """The A/B test with the canary on this share of the units, by the margins of the last step.

        Raises:
            Error: it is no share between 0 and 1.
        """
        if not 0 < split < 1:
            raise Error(f"{split:g} of the units is no split", "give a share between 0 and 1, such as --split 0.5")
        metrics = {
            name: metric.model_copy(update={"margins": metric.margins[-1:]}) for name, metric in self.metrics.items()
        }
        step = Step(weight=split, minutes=self.horizon_minutes)
        return self.model_copy(update={"steps": (step,), "metrics": metrics, "ab": True})


class Rollout(Document):
    """A rollout as its environment's branch holds it, in ``<model>.rollout.yaml``: one commit for each change.

    Attributes:
        name: in the prediction log; another one for each rollout, such as ``support-triage#production#v1.3.0#1``.
        model: ``project.name`` of params.yaml.
        environment: such as ``production``.
        stable: the version that serves all other units.
        canary: the version that is tried.
        state: ``running``; ``held``: a human decides; ``promoted`` and ``rolled_back`` are over.
        weight: the canary's share of the units that is asked for now; 0 in the shadow and after a rollback, 1 after a
            promotion.
        plan: with its salt, fixed when the rollout started.
        started: UTC time, ISO 8601.
        since: when it last changed, UTC, ISO 8601.
        action: what was done last: ``start``, ``advance``, ``hold``, ``resume``, ``promote``, ``rollback`` or ``stop``.
        because: what decided, such as ``worse``, ``enough`` or ``human``.
        reason: why, in a sentence.
        by: who did it; ``trunkline`` where the statistics decided.
        assigned: the tag by which the stable version served when it started; once another one is, the rollout is over.
        accepted: the reasons to ask a human that a human has answered by ``resume``; they do not hold it again.
    """

    name: str
    model: str
    environment: str
    stable: str
    canary: str
    state: Literal["running", "held", "promoted", "rolled_back"]
    weight: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    plan: Plan
    started: str
    since: str
    action: str
    because: str
    reason: str
    by: str
    assigned: str
    accepted: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Whether it was promoted or rolled back."""
        return self.state in ("promoted", "rolled_back")
