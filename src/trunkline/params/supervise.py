"""The section ``supervise`` of params.yaml: what serves an environment's releases on one machine."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from trunkline.params.types import Count, Positive, Section
from trunkline.records.ruled import rule

Port = Annotated[int, Field(ge=1, le=65535)]


class PortsParams(Section):
    """The ports that engines may take, both ends included."""

    first: Port
    last: Port

    @rule
    def _are_enough(self) -> Iterator[str]:
        if self.last - self.first < 2:
            few = f"{self.first} to {self.last} are too few"
            yield f"{few}: give at least 3 ports, as a successor starts while stable and canary still serve"


class RestartParams(Section):
    """The pause before a program is started again, in seconds: it doubles from one time to the next."""

    first: Positive
    most: Positive

    @rule
    def _ordered(self) -> Iterator[str]:
        if self.first > self.most:
            yield f"first {self.first:g} is longer than most {self.most:g}"


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
