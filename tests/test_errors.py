"""The one exception a user sees."""

import pytest
from pydantic import BaseModel, ValidationError

from trunkline.errors import Error, first_mistake


def test_an_error_says_the_problem_and_the_next_step():
    error = Error("a.yaml not found", "run this from the top folder")
    assert str(error) == "a.yaml not found\nhint: run this from the top folder"


def test_a_mistake_says_where_it_is_or_that_it_is_everywhere():
    class Inner(BaseModel):
        count: int

    class Outer(BaseModel):
        inner: list[Inner]

    def told(content: object) -> str:
        with pytest.raises(ValidationError) as caught:
            Outer.model_validate(content)
        return first_mistake(caught.value, "the document")

    assert told({"inner": [{"count": 1}, {"count": "x"}]}).startswith("inner.1.count: Input should be a valid integer")
    assert told([]).startswith("the document: Input should be a valid dictionary")
