"""The one exception a user sees."""

from trunkline.errors import Error


def test_an_error_says_the_problem_and_the_next_step():
    error = Error("a.yaml not found", "run this from the top folder")
    assert str(error) == "a.yaml not found\nhint: run this from the top folder"
