"""The shadow of a rollout: requests that the canary answers beside stable, for nobody, before any user is its."""

from typing import Annotated

from pydantic import Field

from trunkline.records import Record


class Shadow(Record):
    """How long, how much, and what is tolerated.

    Attributes:
        share: of stable's requests that are mirrored.
        minutes: from the first of them; the shadow ends earlier by evidence.
        pairs: units that must have been measured when the time is over; with fewer a human decides.
        margin: how many answers in 1 the canary may fail more than stable, signal by signal.
        at_once: so many mirrored requests may be in flight at each gateway; what comes meanwhile is not mirrored.
    """

    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    pairs: Annotated[int, Field(ge=1)]
    margin: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    at_once: Annotated[int, Field(ge=1)]
