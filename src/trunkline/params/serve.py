"""The section ``serve`` of params.yaml: engines that answer requests."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PriceParams(_Section):
    """US dollars for a million tokens."""

    input: Price
    output: Price


class EngineParams(_Section):
    """One engine: what it is, where it is, and what it costs."""

    kind: Literal["embedded", "tgi", "openai"]
    url: str = Field(pattern=r"^https?://[^/@\s]+(/[^?#\s]*)?$")
    model: str | None
    key: str | None = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    usd_per_million: PriceParams
    retries: Annotated[int, Field(ge=0, le=10)]

    @field_validator("url")
    @classmethod
    def _is_the_top(cls, url: str) -> str:
        url = url.rstrip("/")
        if url.endswith("/v1"):
            raise ValueError("leave out the /v1 at its end")
        return url


class TimeoutParams(_Section):
    """How long an engine may take, in seconds."""

    connect: Seconds
    first_token: Seconds
    next_token: Seconds
    total: Seconds


class EmbeddedParams(_Section):
    """What `trunkline engine` takes on."""

    max_concurrent_requests: Count
    max_batch_tokens: Count
    cache_tokens: Count
    drain: Seconds


class ServeParams(_Section):
    """Who answers requests."""

    engines: dict[Literal["stable", "canary"], EngineParams]
    timeouts: TimeoutParams
    embedded: EmbeddedParams
