"""The section ``monitor.judge`` of params.yaml, and the sources of feedback that are people."""

from typing import Annotated

from pydantic import AfterValidator, Field

from trunkline.params.serve import KeyName, PriceParams, Url
from trunkline.params.types import Count, OpenShare, Positive, Section, Share
from trunkline.records.judgement import JUDGES


def _person(source: str) -> str:
    if source.startswith(JUDGES):
        raise ValueError(f"{JUDGES}... is what the monitor's judge says: only people's word is true")
    return source


Person = Annotated[str, Field(min_length=1), AfterValidator(_person)]


class JudgeParams(Section):
    """An LLM that reads a sample of what was answered, what it may spend, and when it decides."""

    url: Url
    model: str = Field(min_length=1)
    key: KeyName | None
    usd_per_million: PriceParams
    retries: Annotated[int, Field(ge=0, le=10)]
    timeout: Positive
    concurrent: Count
    prompt: str = Field(min_length=1)
    max_new_tokens: Count
    sample: Annotated[int, Field(ge=20)]
    people: Count
    usd: Positive | None
    agreement: Annotated[float, Field(gt=0.5, lt=1, allow_inf_nan=False)]
    confidence: OpenShare
    unreadable: Share
    decides: str | None = Field(pattern=r"^[0-9a-f]{12}$")
