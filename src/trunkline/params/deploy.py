"""The section `deploy` of params.yaml: where releases run, on a cluster or on machines."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from trunkline.params.types import Count, Section
from trunkline.records.ruled import rule

# What Kubernetes takes as a name, a host's name and an amount.
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Host = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
Amount = Annotated[str, Field(pattern=r"^[1-9][0-9]*(m|Mi|Gi)?$")]


def _fixed(image: str) -> str:
    if image.endswith(":latest"):
        raise ValueError("the tag latest names another image tomorrow")
    return image


# A container image by a tag or, better, a digest.
Image = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][\w.-]*(:\d+)?(/[\w.-]+)*(:[\w.-]+|@sha256:[0-9a-f]{64})$"),
    AfterValidator(_fixed),
]
Address = Annotated[str, Field(pattern=r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):[1-9][0-9]{0,4}$")]
Bind = Annotated[str, Field(pattern=r"^([A-Za-z0-9.*-]+|\[[0-9A-Fa-f:]+\]):[1-9][0-9]{0,4}$")]
PathText = Annotated[str, Field(pattern=r"^/[\w./-]+$")]


class GatewayParams(Section):
    """The Gateway API's Gateway through which requests come."""

    name: Name
    namespace: Name
    hostname: Host


class KubernetesEngineParams(Section):
    """What computes the answers in a pod."""

    kind: Literal["vllm", "tgi"]
    image: Image
    gpus: Count
    cpu: Amount
    memory: Amount


class ReplicasParams(Section):
    """How many pods there are."""

    min: Count
    max: Count
    waiting: Count

    @rule
    def _ordered(self) -> Iterator[str]:
        if self.min > self.max:
            yield f"min {self.min} is larger than max {self.max}"


class KubernetesParams(Section):
    """The cluster that serves releases."""

    namespace: Name
    image: Image
    weights: Name | None
    gateway: GatewayParams
    monitoring: Name
    engine: KubernetesEngineParams
    replicas: ReplicasParams
    poll_seconds: Count


class HAProxyParams(Section):
    """The proxy in front of gateways on machines."""

    bind: Bind
    metrics: Bind
    unit_header: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    timeout: Count
    socket: PathText
    map: PathText
    stable: tuple[Address, ...] = Field(min_length=1)
    canary: tuple[Address, ...]


class DeployParams(Section):
    """Where releases run."""

    kubernetes: KubernetesParams
    haproxy: HAProxyParams
