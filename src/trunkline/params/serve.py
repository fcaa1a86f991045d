"""The section ``serve`` of params.yaml: engines that answer requests, the guard around them, and the log of both."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from trunkline.params.log import GuardParams, LogParams
from trunkline.params.types import Count, Positive, Section

# HOST:PORT; port 0 takes a free one.
Listen = Annotated[str, Field(pattern=r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$")]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PriceParams(Section):
    """US dollars for a million tokens."""

    input: Price
    output: Price


def _top(url: str) -> str:
    url = url.rstrip("/")
    if url.endswith("/v1"):
        raise ValueError("leave out the /v1 at its end")
    return url


Url = Annotated[str, Field(pattern=r"^https?://[^/@\s]+(/[^?#\s]*)?$"), AfterValidator(_top)]
KeyName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class EngineParams(Section):
    """One engine: what it is, where it is, and what it costs."""

    kind: Literal["embedded", "tgi", "openai"]
    url: Url
    model: str | None
    key: KeyName | None
    usd_per_million: PriceParams
    retries: Annotated[int, Field(ge=0, le=10)]


class HostedParams(Section):
    """A provider's model, asked instead of weights."""

    url: Url
    key: KeyName | None
    usd_per_million: PriceParams
    retries: Annotated[int, Field(ge=0, le=10)]
    timeout: Positive
    concurrent: Count
    pins: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    pinned_tokens: Count


class TimeoutParams(Section):
    """How long an engine may take, in seconds."""

    connect: Positive
    first_token: Positive
    next_token: Positive
    total: Positive

    @classmethod
    def of(cls, seconds: float) -> "TimeoutParams":
        """One limit for all of it together."""
        return cls(connect=seconds, first_token=seconds, next_token=seconds, total=seconds)


class EmbeddedParams(Section):
    """What `trunkline engine` takes on."""

    max_concurrent_requests: Count
    max_batch_tokens: Count
    cache_tokens: Count
    drain: Positive


class NameParams(Section):
    """Where a request says something about itself: a header, or else a field of its body."""

    header: str | None = Field(pattern=r"^[a-z][a-z0-9-]*$")
    field: str | None = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")


class GatewayParams(Section):
    """What `trunkline serve` takes on, from whom, and how it knows units and engines."""

    listen: Listen
    environment: Annotated[str, Field(min_length=1, max_length=256)]
    unit: NameParams
    customer: NameParams
    trust_proxy: bool
    keys: str | None = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    requests_per_minute: Count | None
    request_bytes: Count
    body_seconds: Positive
    max_input_chars: Count
    max_new_tokens: Count
    max_concurrent: Count
    queue: Annotated[int, Field(ge=0)]
    probe_seconds: Positive
    repeat_seconds: Positive
    pins: str = Field(min_length=1)
    drain: Positive


class ServeParams(Section):
    """Who answers requests."""

    engines: dict[Literal["stable", "canary"], EngineParams]
    timeouts: TimeoutParams
    embedded: EmbeddedParams
    gateway: GatewayParams
    guard: GuardParams
    log: LogParams
