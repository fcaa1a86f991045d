"""Figures as SVG: shapes carry classes that a style sheet colours; every text and value is escaped."""

from collections.abc import Iterable

from markupsafe import Markup, escape


def figure(size: tuple[float, float], title: str, parts: Iterable[Markup]) -> Markup:
    """A drawing that scales to its place, for an HTML page.

    Args:
        size: width and height, in units of its coordinates.
        title: says to those who do not see it what it shows.
        parts: from `shape` and `text`.
    """
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(*map(_number, size), title)
    return opening + Markup("").join(parts) + Markup("</svg>")


def document(size: tuple[float, float], title: str, style: str, parts: Iterable[Markup]) -> Markup:
    """The same as a file of its own, with its own style sheet, which is not escaped."""
    opening = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    styled = Markup("<style>{}</style>").format(Markup(style))  # noqa: S704
    return opening.format(*map(_number, size), title) + styled + Markup("").join(parts) + Markup("</svg>\n")


def shape(name: str, kind: str, **attributes: object) -> Markup:
    """An element such as ``line``, of a class; underscores in attributes stand for hyphens."""
    pairs = Markup(" ").join(
        Markup('{}="{}"').format(key.replace("_", "-"), value) for key, value in {"class": kind, **attributes}.items()
    )
    return Markup("<{} {}/>").format(Markup(name), pairs)  # noqa: S704


def text(x: float, y: float, content: str, kind: str, **attributes: object) -> Markup:
    """Words at a place."""
    opening = shape("text", kind, x=f"{x:.1f}", y=f"{y:.1f}", **attributes)
    return opening[:-2] + Markup(">") + escape(content) + Markup("</text>")


def _number(value: float) -> str:
    return f"{value:g}"
