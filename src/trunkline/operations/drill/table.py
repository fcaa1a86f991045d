"""What the drill found, as Markdown that a terminal shows as well."""

from collections.abc import Iterable, Sequence

from trunkline import estimates
from trunkline.gate.sentences import points
from trunkline.operations.drill.broken import BROKEN, Refusal
from trunkline.operations.drill.resample import OURS, Tried, needed
from trunkline.params import Params
from trunkline.records import Report
from trunkline.verdict import Check, Verdict


def render(report: Report, tried: Sequence[Tried], refused: Sequence[Refusal], params: Params) -> str:
    """The whole of ``reports/drill.md``, ending in a newline."""
    settings, gate = params.drill, params.gate
    parts = [
        f"# Drill: {report.verdict}",
        f"The gate, tried on {settings.resamples:,} resamples of this holdout for each loss. The better of the two "
        f"models plays production. The candidate gives its answers, except in {100 * settings.changed:g} % of the "
        "units, where it gives those of another unit; then so many units are spoiled that it loses what the column "
        f"says. A loss of the margin or more may pass in {100 * gate.alpha:g} % of the resamples, and no loss may fail "
        f"in {100 * gate.beta:g} %. In brackets are {100 * params.evaluate.confidence:g} % limits.",
        *(_criterion(one, params) for one in tried),
        "## Broken inputs",
        _table([("input", "verdict", "what the comparison said"), *refused]),
        "## Checks",
        "\n".join(f"- **{check.verdict}** {check.message}" for check in _telling(report)),
    ]
    return "\n\n".join(parts) + "\n"


def _telling(report: Report) -> list[Check]:
    """All checks but those of broken inputs that were refused: the table above has them."""
    return [check for check in report.checks if check.name != BROKEN or check.verdict is not Verdict.PASS]


def _criterion(tried: Tried, params: Params) -> str:
    name, margin, size = tried.criterion.name, tried.criterion.margin, tried.scores.size
    head = f"## {name}, margin {points(margin)}, {size} {tried.unit}s"
    ours = [one for one in tried.counts if one.rule == OURS]
    if not ours:
        return f"{head}\n\nNot measured."

    def shares(name: str, counts: Iterable[int]) -> tuple[str, ...]:
        return name, *(_share(count, ours[0].of, params.evaluate.confidence) for count in counts)

    rows = [
        ("true loss", *(points(one.loss * margin) if one.loss else "none (A/A)" for one in ours)),
        shares(f"{OURS} passes", [one.passed for one in ours]),
        shares("inconclusive", [one.open for one in ours]),
        shares("fails", [one.failed for one in ours]),
        (f"{tried.unit}s used", *(f"{one.used:.0f}" for one in ours)),
    ]
    for rule in dict.fromkeys(one.rule for one in tried.counts if one.rule != OURS):
        rows.append(shares(f"{rule} passes", [one.passed for one in tried.counts if one.rule == rule]))
    enough = f"About {needed(tried, params.drill.changed):,} {tried.unit}s pass nine of ten equal candidates."
    return "\n\n".join([head, _table(rows), enough])


def _share(count: int, of: int, confidence: float) -> str:
    low, high = estimates.clopper_pearson(count, of, confidence)
    return f"{100 * count / of:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _table(rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns, so that it can be read as it is."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in cells]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])
