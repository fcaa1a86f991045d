"""The figures of all alarms as one image, which a pull request can show: it holds keys and numbers, and no message."""

from collections.abc import Sequence

from markupsafe import Markup

from trunkline import svg
from trunkline.operations.monitor import figures

_COLUMNS, _GAP, _HEAD = 2, 16, 28
_STYLE = (
    "text{font:12px sans-serif;fill:#5d636d}.title{font-weight:600}.end{text-anchor:end}"
    ".grid{stroke:#8884;stroke-width:1}.line{stroke:#1f6feb;stroke-width:2;stroke-linejoin:round}"
    ".reference{stroke:#8a8f98;stroke-width:1.5}.limit{stroke:#b3261e;stroke-width:1;stroke-dasharray:4 4}"
    ".dot{fill:#1f6feb}.dot.alarm{fill:#b3261e}"
)


def draw(groups: Sequence[tuple[str, Sequence[tuple[str, Markup, str]]]]) -> str | None:
    """The alarms among the page's figures, two a row.

    Args:
        groups: headings with figures: caption, drawing, verdict.

    Returns:
        None where no alarm has a figure.
    """
    alarms = [(caption, drawing) for _, drawn in groups for caption, drawing, verdict in drawn if verdict == "fail"]
    if not alarms:
        return None
    parts: list[Markup] = []
    for number, (caption, drawing) in enumerate(alarms):
        row, column = divmod(number, _COLUMNS)
        x, y = column * (figures.WIDTH + _GAP), row * (_HEAD + figures.HEIGHT + _GAP)
        parts.append(svg.text(x + 4, y + _HEAD - 10, caption, "title"))
        parts.append(svg.placed(x, y + _HEAD, figures.WIDTH, figures.HEIGHT, drawing))
    across = min(len(alarms), _COLUMNS)
    width = across * figures.WIDTH + (across - 1) * _GAP
    return str(svg.document(width, y + _HEAD + figures.HEIGHT, "alarms over time", _STYLE, parts))
