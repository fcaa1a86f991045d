"""The section ``supervise`` of params.yaml: what serves an environment's releases on one machine."""

from typing import Annotated

from pydantic import Field, model_validator

from trunkline.params.types import Count, Positive, Section

Port = Annotated[int, Field(ge=1, le=65535)]


class PortsParams(Section):
    """The ports that engines may take, both ends included."""

    first: Port
    last: Port

    @model_validator(mode="after")
    def _are_enough(self) -> "PortsParams":
        if self.last - self.first < 2:
            raise ValueError("give at least 3 ports: a successor starts while stable and canary still serve")
        return self


class RestartParams(Section):
    """The pause before a program is started again, in seconds: it doubles from one time to the next."""

    first: Positive
    most: Positive

    @model_validator(mode="after")
    def _ordered(self) -> "RestartParams":
        if self.first > self.most:
            raise ValueError(f"first {self.first:g} is longer than most {self.most:g}")
        return self


class SuperviseParams(Section):
    """How releases are served on this machine."""

    folder: str = Field(min_length=1)
    poll_seconds: Positive
    ports: PortsParams
    threads: Count
    start_seconds: Positive
    silent_seconds: Positive
    grace_seconds: Positive
    drain_seconds: Positive
    restart_seconds: RestartParams
