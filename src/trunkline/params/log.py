"""The sections `serve.log` and `serve.guard` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from trunkline.params.types import Count, Positive, Section

Form = Literal["text", "hash", "none"]
GuardParams = dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*@[1-9][0-9]*$")], Literal["flag", "block"]]


class LogParams(Section):
    """Where predictions are logged, and what of them."""

    database: str = Field(pattern=r"^(sqlite:///.+|postgresql\+psycopg://.+)$")
    spool: str = Field(min_length=1)
    spool_mb: Annotated[int, Field(ge=1, le=4096)]
    fsync_seconds: Positive
    keep_days: Count | None
    customer: Form
    input: Form
    output: Form
    confidence: bool

    @field_validator("database")
    @classmethod
    def _has_no_password(cls, value: str) -> str:
        user = value.partition("://")[2].rpartition("@")[0]
        if ":" in user or "password=" in value:
            raise ValueError("holds a password; leave it out and set PGPASSWORD in the environment")
        return value
