"""The section `retrain` of params.yaml: which new rows are learned from, and when."""

from typing import Annotated

from pydantic import Field

from trunkline.params.judge import Person
from trunkline.params.types import Count, Section

# As GitHub names users and, after a slash, an organization's teams.
Reviewer = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+(/[\w.-]+)?$")]


class RetrainParams(Section):
    """Which new rows are learned from, and when."""

    sources: tuple[Person, ...]
    drop: str | None = Field(min_length=1)
    opt_out: str | None = Field(min_length=1)
    min_rows: Count
    cooldown_days: Annotated[int, Field(ge=0)]
    usd_per_gpu_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    auto_merge: bool
    reviewers: tuple[Reviewer, ...]
