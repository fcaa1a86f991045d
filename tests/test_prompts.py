"""Prompt templates: one block a chat role, strict about what they use."""

import pytest

from trunkline import prompts
from trunkline.errors import Error
from trunkline.records import Answer, Task

TEMPLATE = (
    "{% block system %}Intents: {{ intent | join(', ') }}.{% endblock %}{% block user %}{{ message }}{% endblock %}"
)
ANSWER = Answer(format="json", fields=("intent",), allowed={"intent": ("a", "b")})


def task(template: str) -> Task:
    return Task(
        prompt_id=prompts.identify(template, ANSWER.allowed),
        template=template,
        variables=ANSWER.allowed,
        transforms=(),
        answer=ANSWER,
    )


def test_blocks_become_chat_messages():
    assert prompts.render(task(TEMPLATE), "lost my card") == [
        {"role": "system", "content": "Intents: a, b."},
        {"role": "user", "content": "lost my card"},
    ]


def test_a_message_is_text_and_never_template():
    assert prompts.render(task(TEMPLATE), "{{ 7 * 7 }}{% raw %}")[1]["content"] == "{{ 7 * 7 }}{% raw %}"


def test_the_id_changes_with_the_text_and_with_what_fills_it():
    ids = {
        prompts.identify(TEMPLATE, ANSWER.allowed),
        prompts.identify(TEMPLATE + " ", ANSWER.allowed),
        prompts.identify(TEMPLATE, {"intent": ("a",)}),
    }
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% block user %}{{ mesage }}{% endblock %}", "mesage"),
        ("{% block user %}{{ message", "not valid jinja2"),
        ("{{ message }}", r"blocks \[\]"),
        ("{% block assistant %}{{ message }}{% endblock %}", "assistant"),
        ("{% block user %}{{ 1 / 0 }}{{ message }}{% endblock %}", "template fails: division by zero"),
        ("{% block user %}{{ ''.__class__.__mro__ }}{% endblock %}", "unsafe"),
    ],
)
def test_a_broken_template_is_a_clear_error(template, said):
    with pytest.raises(Error, match=said):
        prompts.render(task(template), "x")
