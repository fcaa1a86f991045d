"""Inline SVG: shapes carry classes that a page's style sheet colours, light or dark; all text is escaped."""

from collections.abc import Iterable

from markupsafe import Markup, escape


def drawing(width: float, height: float, title: str, parts: Iterable[Markup]) -> Markup:
    """A figure that scales to the room it has; its title is for those who do not see it."""
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(f"{width:g}", f"{height:g}", title)
    return opening + Markup("").join(parts) + Markup("</svg>")


def document(width: float, height: float, title: str, style: str, parts: Iterable[Markup]) -> Markup:
    """The same as a file of its own, with its own style sheet, which is not escaped."""
    opening = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    styled = Markup("<style>{}</style>").format(Markup(style))  # noqa: S704
    return opening.format(f"{width:g}", f"{height:g}", title) + styled + Markup("").join(parts) + Markup("</svg>\n")


def placed(x: float, y: float, width: float, height: float, figure: Markup) -> Markup:
    """A `drawing` as a part of another one."""
    opening = Markup('<svg x="{}" y="{}" width="{}" height="{}">')
    return opening.format(f"{x:g}", f"{y:g}", f"{width:g}", f"{height:g}") + figure + Markup("</svg>")


def shape(name: str, kind: str, **attributes: object) -> Markup:
    """An element of a class; ``_`` in the name of an attribute stands for ``-``."""
    pairs = Markup(" ").join(
        Markup('{}="{}"').format(key.replace("_", "-"), value) for key, value in {"class": kind, **attributes}.items()
    )
    return Markup("<{} {}/>").format(Markup(name), pairs)  # noqa: S704


def text(x: float, y: float, content: str, kind: str, **attributes: object) -> Markup:
    """A line of text that begins at a point, or as its class says."""
    opening = shape("text", kind, x=f"{x:.1f}", y=f"{y:.1f}", **attributes)
    return opening[:-2] + Markup(">") + escape(content) + Markup("</text>")
