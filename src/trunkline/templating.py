"""Text from the package's templates: configuration, whose values were checked before, and pages, which escape all."""

import base64
import hashlib
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from trunkline.words import cut

_MOST_TEXT = 1200
_STYLE = "report.css"


def fill(template: str, **values: object) -> str:
    """A template of `templates/` with these values; one that it names and does not get is a mistake of ours.

    The filter ``quoted`` makes text one scalar of YAML, whatever is in it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trunkline"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # not HTML
    )
    environment.filters["quoted"] = quoted
    return environment.get_template(template).render(values)


def quoted(text: str) -> str:
    """Text as a double-quoted YAML scalar on one line."""
    return yaml.safe_dump(text, default_style='"', width=float("inf")).rstrip("\n")


def page(template: str, values: dict[str, Any], script: str | None = None) -> str:
    """A template as one HTML file: no request leaves it, and its policy lets only its own style and script run.

    Args:
        template: in `templates/`; besides its values it has ``style``, ``script``, ``policy``, and the filter ``cut``.
        values: every text in them is escaped.
        script: the template that holds the page's script; None: nothing runs.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trunkline"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["cut"] = lambda text: cut(text, _MOST_TEXT)
    names = (_STYLE,) if script is None else (_STYLE, script)
    style, *scripts = (Markup(environment.get_template(name).render()) for name in names)  # noqa: S704
    allowed = "".join(f"script-src '{_hash(one)}'; " for one in scripts)
    policy = f"default-src 'none'; style-src '{_hash(style)}'; {allowed}base-uri 'none'; form-action 'none'"
    around = {"style": style, "script": Markup("").join(scripts), "policy": policy}
    return environment.get_template(template).render(values | around)


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
