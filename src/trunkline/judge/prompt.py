"""What a judge is asked, with customers' and models' texts as data, and its verdict, strictly read."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from trunkline.errors import Error
from trunkline.records.judgement import Judge
from trunkline.records.serving import Completion
from trunkline.words import cut

_ROLES = (("system", "user"), ("user",))
_TEXTS = ("message", "answer")
# JSON needs none of them escaped; a template's tags, a model's special tokens and a page of lines do.
_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u0085\u2028\u2029"}
_MOST_NAME = 200


def quoted(text: str) -> str:
    """Text as one JSON string on one line that holds no ``<``, ``>`` or ``&``.

    Nothing in it ends the string, begins a line, closes a tag or is a model's special token such as ``<|im_end|>``.
    """
    return json.dumps(text, ensure_ascii=False).translate(_ESCAPED)


def render(
    template: str, variables: Mapping[str, Sequence[str]], message: str, answer: str
) -> tuple[dict[str, str], ...]:
    """The chat messages that ask for a verdict on one answer.

    Args:
        template: jinja2 with the blocks ``system`` (or none) and ``user``; it must use ``message`` and ``answer``,
            which are `quoted`.
        variables: what else it may use: the task's, such as the labels.
        message: what the customer asked.
        answer: what the model answered.

    Raises:
        Error: the template is broken, has other blocks, lacks one of the two, or uses an unknown variable.
    """
    compiled = _compile(template)
    context = compiled.new_context({**variables, "message": quoted(message), "answer": quoted(answer)})
    try:
        return tuple(
            {"role": role, "content": "".join(block(context)).strip()} for role, block in compiled.blocks.items()
        )
    except TemplateError as error:
        known = ", ".join([*_TEXTS, *variables])
        raise Error(f"the judge's prompt template fails: {error}", f"variables it may use: {known}") from None


@lru_cache(maxsize=4)
def _compile(source: str) -> Template:
    hint = "write `{% block user %}Message: {{ message }} Answer: {{ answer }} Is it right? Say 1 or 0.{% endblock %}`"
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    try:
        used = meta.find_undeclared_variables(environment.parse(source))
        template = environment.from_string(source)
    except TemplateError as error:
        raise Error(f"the judge's prompt template is not valid jinja2: {error}", hint) from None
    if tuple(template.blocks) not in _ROLES:
        raise Error(f"the judge's prompt template has the blocks {list(template.blocks)}, not [system,] user", hint)
    lacking = [name for name in _TEXTS if name not in used]
    if lacking:
        raise Error(f"the judge's prompt template does not use {' and '.join(lacking)}", hint)
    return template


def verdict(answer: Completion) -> float | None:
    """1 where the judge calls the answer right and 0 where wrong; None where it says anything else, or more."""
    said = re.fullmatch(r"\s*([01])\s*", answer.text)
    return float(said[1]) if said is not None and answer.finish == "eos_token" else None


def identified(model: str, prompt: str, answer: Completion) -> Judge:
    """The judge that gave an answer.

    Args:
        model: the name that it was asked by.
        prompt: hash of the template and its variables.
    """
    said, fingerprint = (None if name is None else cut(name, _MOST_NAME) for name in (answer.model, answer.fingerprint))
    return Judge(model=model, said=said, fingerprint=fingerprint, prompt=prompt)


def drawn(ids: Iterable[str], most: int) -> list[str]:
    """At most so many of these predictions, by the hash of their ids: nobody chooses them, and each look the same."""
    return sorted(ids, key=lambda id: hashlib.blake2b(id.encode(), digest_size=8).digest())[:most]
