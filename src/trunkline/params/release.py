"""The section of params.yaml that says what a merged candidate becomes."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from trunkline.params.types import Section
from trunkline.records.ruled import rule


class ReleaseParams(Section):
    """What a merged candidate becomes, and who vouches for it."""

    weights: Literal["lora", "merged"]
    sign: Literal["none", "key", "sigstore"]
    public_key: str | None
    identity: str | None
    issuer: str
    hub: str | None = Field(pattern=r"^[\w.-]+/[\w.-]+$")

    @rule
    def _signature_can_be_verified(self) -> Iterator[str]:
        needed = {"key": "public_key", "sigstore": "identity"}.get(self.sign)
        if needed is not None and getattr(self, needed) is None:
            yield f"sign: {self.sign} needs {needed}: without it nobody could verify the signature"
