"""The report as one HTML file: no request leaves it, and its policy lets only its own style and script run."""

from typing import Any

from markupsafe import Markup

from trunkline import templating
from trunkline.operations.report import figures, story, view
from trunkline.operations.report.evidence import Evidence
from trunkline.operations.report.figures import Interval
from trunkline.params import Params
from trunkline.records import SIDES
from trunkline.words import as_number, as_object


def render(shown: dict[str, Any], evidence: Evidence, params: Params) -> str:
    """The whole page.

    Args:
        shown: the templates' context.
        evidence: for the figures and for all examples and slices.
        params: names the scorers.
    """
    values = shown | {
        "figures": [figure for figure in _figures(evidence, params) if figure[1]],
        "every_slice": view.slices(evidence),
        "every_example": story.examples(evidence),
        "rows_in_all": 0 if evidence.answers is None else evidence.answers.height,
    }
    return templating.page("report.html.j2", values, "report.js")


def _figures(evidence: Evidence, params: Params) -> list[tuple[str, Markup]]:
    """Captions and drawings; an empty drawing where there is nothing to draw."""
    drawn = [
        ("Scores with their intervals", figures.scores(_intervals(evidence, params), "scores of both models")),
        ("Training loss by step", figures.curve(story.loss_curve(evidence), "training loss")),
    ]
    drawn += [
        (f"{field}: right answers (rows) and the candidate's (columns)", figures.confusion(names, counts, field))
        for field, names, counts in story.confusions(evidence)
    ]
    shifts = figures.bars(story.shifts(evidence), "shift of each column")
    return [*drawn, ("Shift of the new data, 0 none to 1 entirely; marked where it is more than chance", shifts)]


def _intervals(evidence: Evidence, params: Params) -> list[tuple[str, Interval | None, Interval | None]]:
    rows = []
    for name in params.evaluate.scorers:
        sides = [_interval(as_object(evidence.metrics("evaluate").get(side)).get(name)) for side in SIDES]
        ends = [end for side in sides if side is not None for end in side]
        if ends and view.is_share(name, list(ends)):
            rows.append((name, sides[0], sides[1]))
    return rows


def _interval(estimate: object) -> Interval | None:
    found = as_object(estimate)  # type: ignore[arg-type]
    value, low, high = (as_number(found.get(key)) for key in Interval._fields)
    return None if value is None or low is None or high is None else Interval(value, low, high)
