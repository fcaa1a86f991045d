"""Which release answers which share of the units on one machine: written by the supervisor, read by its gateway."""

from typing import Annotated

from pydantic import Field, model_validator

from trunkline.records import Record


class Served(Record):
    """One arm of a gateway.

    Attributes:
        release: its name, such as ``support-triage@v1.2.0``.
        bundle: folder of its verified bundle, which says prompt, transforms, guard and weights.
        url: of the engine that serves it, or of a hosted release's provider, without /v1.
    """

    release: str
    bundle: str
    url: str


class Mirror(Record):
    """Which of stable's requests the canary is asked too, though nobody gets its answer.

    Attributes:
        share: of the requests.
        at_once: so many shadows may be in flight; what comes meanwhile is not mirrored.
    """

    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    at_once: Annotated[int, Field(ge=1)]


class Traffic(Record):
    """What a gateway answers with, in ``traffic.json``; it changes while the gateway runs.

    Attributes:
        environment: such as ``production``.
        rollout: names the rollout, as the prediction log records it; None outside of one.
        salt: of the units' hash; None outside of a rollout.
        weight: the canary's share of the units, 0 to 1.
        stable: answers all other units.
        canary: None outside of a rollout.
        shadow: while a rollout is in its shadow; None otherwise.
    """

    environment: str
    rollout: str | None
    salt: Annotated[str, Field(min_length=8)] | None
    weight: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    stable: Served
    canary: Served | None
    # A file that was written before there were shadows says nothing of them.
    shadow: Mirror | None = None

    @model_validator(mode="after")
    def _canary_is_whole(self) -> "Traffic":
        if self.weight > 0 and (self.canary is None or self.salt is None or self.rollout is None):
            raise ValueError(f"weight {self.weight:g} without canary, salt or rollout")
        if self.shadow is not None and (self.weight > 0 or None in (self.canary, self.salt, self.rollout)):
            raise ValueError("a shadow needs canary, salt and rollout, and weight 0")
        return self
