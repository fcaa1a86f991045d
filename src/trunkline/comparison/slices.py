"""The primary score in each value of each slice column and each closed answer field."""

from collections.abc import Iterator

import polars as pl
from pydantic import JsonValue

from trunkline import gate, scoring
from trunkline.comparison.shown import Paired, unit_mean
from trunkline.gate import Part, Rule
from trunkline.gate.slices import Name
from trunkline.records import EXAMPLE_COLUMNS, INPUT_COLUMN, SIDES, Answer, Terms
from trunkline.verdict import Check, Verdict

# A column with more values than this is not a slice but an identifier or free text.
_MOST_VALUES = 100
_PATH = "gate.slice_margin"


def judge(paired: Paired, answer: Answer, terms: Terms) -> tuple[list[JsonValue], tuple[Check, ...]]:
    """Every slice as a row for the report, and the check that none fails; no check where there is no slice."""
    parts = dict(_parts(paired.rows, answer))
    if not parts:
        return [], ()
    limits = terms.limits
    whole = Rule(limits.margins[limits.primary], limits.alpha, limits.beta)
    values = {name: paired.differences(rows, terms.seed) for name, rows in parts.items()}
    found = gate.judge_slices(values, whole, terms.slice_margin)
    rows = [_row(name, parts[name], part, paired.sign) for name, part in found.items()]
    return rows, (_check(found, whole.margin, terms.slice_margin),)


def _parts(rows: pl.DataFrame, answer: Answer) -> Iterator[tuple[Name, pl.DataFrame]]:
    fields = [scoring.classes(text, answer) for text in rows["answer"]]
    rows = rows.with_columns(
        pl.Series(f"answer.{field}", [found.get(field) for found in fields], dtype=pl.String)
        for field in answer.allowed
    )
    known = {*EXAMPLE_COLUMNS, INPUT_COLUMN, *SIDES, "unit"}
    for column in (name for name in rows.columns if name not in known):
        values = rows[column].cast(pl.String).drop_nulls().unique().sort()
        for value in values if 1 < len(values) <= _MOST_VALUES else []:
            yield (column, value), rows.filter(pl.col(column).cast(pl.String) == value)


def _row(name: Name, rows: pl.DataFrame, part: Part, sign: int) -> JsonValue:
    low, high = (part.low, part.high) if sign > 0 else (-part.high, -part.low)
    return {
        "column": name[0],
        "value": name[1],
        "examples": rows.height,
        "units": part.units,
        **{side: unit_mean(rows, side) for side in SIDES},
        "difference": sign * part.difference,
        "low": low,
        "high": high,
        "verdict": str(part.verdict),
        "p": part.p,
    }


def _check(found: dict[Name, Part], whole: float, margin: float) -> Check:
    """The worst slice decides: none may be shown to lose, and at least one must have been measured."""
    by_verdict = {verdict: [name for name, part in found.items() if part.verdict is verdict] for verdict in Verdict}
    lost, measured, small = (by_verdict[verdict] for verdict in (Verdict.FAIL, Verdict.PASS, Verdict.INCONCLUSIVE))
    worst = min(found, key=lambda name: found[name].difference)
    verdict = Verdict.FAIL if lost else Verdict.PASS if measured else Verdict.INCONCLUSIVE
    loss = f"{100 * margin:g} points"
    parts = [
        f"{len(lost)} of {len(found)} slices are shown to lose more than the whole may"
        + (f" ({', '.join(_named(name, found[name]) for name in lost[:3])})" if lost else ""),
        f"in {len(measured)} a loss of {loss} is ruled out" if measured else "",
        f"{len(small)} are too small to tell: not measured" if small else "",
    ]
    message = "; ".join(part for part in parts if part)
    return Check(name=_PATH, verdict=verdict, value=found[worst].difference, limit=-whole, message=message)


def _named(name: Name, part: Part) -> str:
    return f"{name[0]} {name[1]!r}: {100 * part.difference:+.1f} points"
