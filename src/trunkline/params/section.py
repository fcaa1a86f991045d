"""What every section of params.yaml is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of params.yaml: frozen, complete, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
