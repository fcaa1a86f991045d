"""Prompt templates: jinja2 text with one block a chat role, rendered the same everywhere.

The chat template of the base model turns the rendered messages into tokens; a template must
therefore not contain the model's special tokens itself.
"""

import hashlib
import json
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from trunkline.errors import Error
from trunkline.records import Task

_ROLES = ("system", "user")


def render(task: Task, message: str) -> list[dict[str, str]]:
    """Render a task's chat messages for one transformed customer message.

    Returns:
        Messages ``{"role", "content"}`` in the order of the template's blocks.

    Raises:
        Error: the template is broken, has other blocks, or uses an unknown variable.
    """
    template = _compile(task.template)
    context = template.new_context({**task.variables, "message": message})
    try:
        return [{"role": role, "content": "".join(block(context)).strip()} for role, block in template.blocks.items()]
    except Exception as error:  # what a template computes may fail in any way
        known = ", ".join(["message", *task.variables])
        raise Error(f"the prompt template fails: {error}", f"variables it may use: {known}") from None


def identify(template: str, variables: dict[str, tuple[str, ...]]) -> str:
    """The id of a prompt: a hash of its text and of what fills it besides the message."""
    content = json.dumps([template, variables], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


@lru_cache(maxsize=16)
def _compile(source: str) -> Template:
    hint = "write `{% block system %}...{% endblock %}{% block user %}{{ message }}{% endblock %}`"
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    try:
        template = environment.from_string(source)
    except TemplateError as error:
        raise Error(f"the prompt template is not valid jinja2: {error}", hint) from None
    roles = tuple(template.blocks)
    if roles not in (_ROLES, _ROLES[1:]):
        raise Error(f"the prompt template has the blocks {list(roles)}, not [system,] user", hint)
    return template
