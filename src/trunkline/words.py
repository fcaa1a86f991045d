"""Numbers and untrusted text as a reader sees them.

Customers and models write whatever they like; none of it may become markup. In Markdown every
character that could start a construct is written as a numeric character reference, which CommonMark
(section 2.5) never takes for structure.
"""

import re
import unicodedata

import jinja2
from markupsafe import Markup
from pydantic import JsonValue

_STRUCTURE = re.compile(r"[\\`*\[\]|<>&~$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//|\S*@)|(?<=www)\.", re.IGNORECASE)
_REFERENCE = re.compile(r"(?<=@)(?=\w)|(?<=#)(?=\d)")  # a mention, an issue: GitHub links them in rendered text
_SPARKS = "▁▂▃▄▅▆▇█"
_JOINERS = "\u200c\u200d"  # of emoji and of some scripts: wanted, unlike other invisible characters


def plain(text: object) -> str:
    """One line of visible characters: no control codes, no hidden or direction-changing characters."""
    shown = (
        "\ufffd"
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co") and character not in _JOINERS
        else character
        for character in re.sub(r"\s+", " ", str(text)).strip()
    )
    return "".join(shown)


def cut(text: object, characters: int) -> str:
    """`plain` text, cut with an ellipsis to at most this many characters."""
    line = plain(text)
    return line if len(line) <= characters else line[: characters - 1] + "…"


def markdown(text: object) -> Markup:
    """Text that Markdown, its tables and GitHub's mentions take literally; Markup passes as it is."""
    if isinstance(text, Markup):
        return text
    return Markup(_inert(_REFERENCE.sub("\u200b", plain(text))))  # noqa: S704


def unlinked(text: object) -> str:
    """`plain` text for the message of a commit, in which GitHub would tell whoever is mentioned."""
    return _REFERENCE.sub("\u200b", plain(text))


def code(text: object, characters: int = 300) -> Markup:
    """The same in a code element, in which GitHub links nothing either."""
    inside = _inert(cut(text, characters))
    return Markup(f"<code>{inside}</code>" if inside else "(empty)")  # noqa: S704


def template(name: str) -> jinja2.Template:
    """A Markdown template of this package, in which every value is `markdown`, or `code` by the filter."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trunkline"),
        finalize=markdown,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - `markdown` escapes every value, and for Markdown
        keep_trailing_newline=True,
    )
    environment.filters["code"] = code
    return environment.get_template(name)


def _inert(text: str) -> str:
    return _STRUCTURE.sub(lambda match: "".join(f"&#{ord(character)};" for character in match[0]), text)


def share(value: float | None) -> str:
    """``71.0 %``; a dash where nothing was measured."""
    return "-" if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    """Three significant digits, thousands separated; a dash where nothing was measured."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def change(difference: float | None, low: float | None, high: float | None, unit: str) -> str:
    """A difference with its interval: ``+71.0 points (+67.1 to +74.9)``; shares in points or ``%``, or plain."""
    if difference is None:
        return "-"
    scale, form = (100, "+.1f") if unit else (1, "+.3g")
    text = f"{scale * difference:{form}} {unit}".rstrip()
    return text if low is None or high is None else f"{text} ({scale * low:{form}} to {scale * high:{form}})"


def span(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval: ``98.2 % (94.0 to 99.6)``."""
    return (
        "-" if value is None or low is None or high is None else f"{share(value)} ({100 * low:.1f} to {100 * high:.1f})"
    )


def bars(values: dict[str, float], width: int = 24) -> list[Markup]:
    """Shares of 1 as aligned lines of block characters for a code block, named and with their numbers."""
    names = {name: plain(name).replace("`", "") for name in values}
    label = max(map(len, names.values()), default=0)
    lines = (f"{names[name].ljust(label)} {_bar(value, width)} {share(value):>7}" for name, value in values.items())
    return [Markup(line) for line in lines]  # noqa: S704


def _bar(value: float, width: int) -> str:
    whole, rest = divmod(round(8 * width * min(max(value, 0.0), 1.0)), 8)
    return ("█" * whole + " ▏▎▍▌▋▊▉"[rest].strip()).ljust(width, "░")


def sparkline(values: list[float], width: int = 40) -> str:
    """A curve as one line of block characters, thinned to at most ``width``."""
    if not values:
        return ""
    thinned = [values[index * len(values) // min(width, len(values))] for index in range(min(width, len(values)))]
    low, high = min(thinned), max(thinned)
    steps = len(_SPARKS) - 1
    return "".join(_SPARKS[round(steps * (value - low) / (high - low or 1))] for value in thinned)


def as_number(value: JsonValue) -> float | None:
    """A JSON number as float; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_object(value: JsonValue) -> dict[str, JsonValue]:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_rows(value: JsonValue) -> list[dict[str, JsonValue]]:
    """The objects of a JSON list; none for anything else."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
