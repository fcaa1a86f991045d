"""Text from the package's templates that is no HTML: configuration, whose values were checked before."""

import jinja2
import yaml


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
