"""Bodies read strictly: nothing is ignored, nothing is turned into another type, and all mistakes are told at once."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError


class Strict(BaseModel):
    """A part of a body that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _off(value: bool) -> bool:
    if value:
        raise ValueError("is not supported")
    return value


# Parameters that are understood only at the value that changes nothing. Not `Literal`, to which true is 1.
One = Annotated[int, Field(ge=1, le=1)]
Off = Annotated[bool, AfterValidator(_off)]


def present(value: Any, depth: int) -> Any:  # noqa: ANN401 (whatever JSON holds)
    """The value without nulls, down to so many levels: null stands for what is not there."""
    if depth and isinstance(value, dict):
        return {name: present(inner, depth - 1) for name, inner in value.items() if inner is not None}
    if depth and isinstance(value, list):
        return [present(inner, depth - 1) for inner in value]
    return value


def mistakes(error: ValidationError) -> str:
    """All that is wrong with a body, in one line."""
    return "; ".join(_mistake(detail) for detail in error.errors())


def _mistake(detail: Any) -> str:  # noqa: ANN401 (pydantic's)
    where = ".".join(str(part) for part in detail["loc"]) or "the body"
    said = "is not supported" if detail["type"] == "extra_forbidden" else detail["msg"]
    return f"{where}: {said}"[:200]
