"""The one exception for what a user can fix; anything else is our bug and keeps its traceback."""

from pydantic import ValidationError


class Error(Exception):
    """A problem the user can fix, with the next step.

    Args:
        problem: names the thing, its value and the limit it broke.
        hint: the next command or edit.
    """

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem}\nhint: {self.hint}"


def first_mistake(error: ValidationError, whole: str) -> str:
    """Where a document is first not what it must be, and why; ``whole`` is the place of a mistake in all of it."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or whole
    return f"{where}: {first['msg']}"
