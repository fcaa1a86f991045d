"""The user's own module."""

import pytest

from trunkline import transforms
from trunkline.clients import project
from trunkline.errors import Error


def test_its_transforms_are_registered_and_loading_twice_is_harmless(tmp_path):
    path = tmp_path / "project.py"
    path.write_text(
        "from trunkline.transforms import transform\n"
        "@transform('lower_for_test', 1)\ndef lower(message: str) -> str:\n    return message.lower()\n"
    )
    project.load(str(path))
    project.load(str(path))
    assert transforms.apply(("lower_for_test@1",), "ABC") == "abc"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not a Python file"),
        ("def f(:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(0)\n", "SystemExit: 0"),
    ],
)
def test_a_broken_module_is_the_users_to_fix(tmp_path, content, said):
    path = tmp_path / "project.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Error, match=said) as caught:
        project.load(str(path))
    assert "project.module" in caught.value.hint
