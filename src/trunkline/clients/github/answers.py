"""GitHub's answers as what its API promises them to be."""

from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from trunkline.errors import Error, first_mistake

Answer = TypeVar("Answer", bound=BaseModel)


def read_as(kind: type[Answer], content: JsonValue) -> Answer:
    """Read an answer.

    Raises:
        Error: it is of another shape, and where.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise Error(
            f"GitHub's answer is not what its API promises: {first_mistake(error, '')}",
            "check GITHUB_API_URL and GITHUB_GRAPHQL_URL, and that no proxy answers in GitHub's place",
        ) from None
