"""The types of values in params.yaml."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from trunkline.records.ruled import Ruled


def _inside(path: str) -> str:
    found = PurePosixPath(path)
    if found.is_absolute() or ".." in found.parts:
        raise ValueError("it lies outside of the repository, where no commit holds it; give a path from its top folder")
    return path


# Of a file or folder that Git or DVC keeps, from the repository's top.
Inside = Annotated[str, AfterValidator(_inside)]

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
OpenShare = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "fp32", "bf16"]
Attention = Literal["auto", "eager", "sdpa"]


class Section(Ruled):
    """A section of params.yaml: frozen, complete, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
