"""Inputs that no comparison may pass: copies of this repository's answers, each damaged in one way.

They are read and compared by the code that `compare` uses. Undamaged, the candidate of these copies is
the best there can be, so a damage that nobody notices passes.
"""

from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from trunkline import comparison, criteria
from trunkline.clients import answers, files, scratch
from trunkline.clients.answers import HOLDOUT, PREDICTIONS, Tables
from trunkline.errors import Error
from trunkline.records import AMOUNTS, SIDES, Answer, Terms
from trunkline.verdict import Verdict

BROKEN = "drill.broken"

Sides = dict[str, pl.DataFrame]


class Refusal(NamedTuple):
    """How a damaged input was taken.

    Attributes:
        name: of the damage.
        verdict: pass when it was refused, fail when it passed, inconclusive when it cannot be told.
        answer: what the comparison said.
    """

    name: str
    verdict: Verdict
    answer: str


def refusals(tables: Tables, answer: Answer, terms: Terms) -> list[Refusal]:
    """Try every damage.

    Args:
        tables: what both models answered.
        answer: the task's answer format.
        terms: what decides.
    """
    sides, probes = _best(tables, terms)
    untouched, _ = _verdict(tables.holdout, sides, probes, answer, terms)
    found = []
    for name, damage in _damages(terms).items():
        verdict, said = _verdict(tables.holdout, damage(dict(sides)), probes, answer, terms)
        if verdict is Verdict.PASS:
            found.append(Refusal(name, Verdict.FAIL, said))
        elif verdict is None or untouched is Verdict.PASS:
            found.append(Refusal(name, Verdict.PASS, said))
        else:
            found.append(Refusal(name, Verdict.INCONCLUSIVE, f"{said} (but so it is when nothing is broken)"))
    return found


def _verdict(
    holdout: pl.DataFrame, sides: Sides, probes: Sides, answer: Answer, terms: Terms
) -> tuple[Verdict | None, str]:
    """What the comparison says of these tables once they are files; no verdict where it refuses them."""
    with scratch.folder() as folder:
        files.write_table(folder / HOLDOUT, holdout)
        for side, table in [*sides.items(), *((f"{side}_probes", table) for side, table in probes.items())]:
            files.write_table(folder / PREDICTIONS / f"{side}.parquet", table)
        try:
            report = comparison.compare(comparison.match(*answers.read(folder), terms), answer, terms)
        except Error as error:
            return None, f"refused: {error.problem.replace(f'{folder}/', '')}"
    return report.verdict, f"judged: {report.verdict}"


def _best(tables: Tables, terms: Terms) -> tuple[Sides, Sides]:
    """A candidate that gets everything right at production's price, and a production that gets nothing right."""
    sides, probes = dict(tables.predictions), dict(tables.probes)
    production, candidate = SIDES
    sides[candidate] = (
        sides[candidate]
        .drop(AMOUNTS.values())
        .join(sides[production].select("id", *AMOUNTS.values()), on="id", how="left", maintain_order="left")
    )
    for criterion in comparison.plan(terms):
        for side, right in ((production, False), (candidate, True)):
            value = float(criterion.higher_is_better is right)
            column = criteria.column_of(criterion)
            if criterion.kind in ("score", "floor") and column in sides[side].columns:
                score = pl.when(pl.col(column).is_null()).then(None).otherwise(value)
                sides[side] = sides[side].with_columns(score.alias(column))
            elif side in probes:
                score = pl.when(pl.col("metric") == criterion.name).then(value).otherwise("score")
                probes[side] = probes[side].with_columns(score.alias("score"))
    return sides, probes


def _damages(terms: Terms) -> dict[str, Callable[[Sides], Sides]]:
    production, candidate = SIDES
    primary = criteria.column_of(comparison.plan(terms)[0])
    first = pl.int_range(pl.len()) == 0

    def edited(side: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Sides], Sides]:
        return lambda sides: sides | {side: change(sides[side])}

    def only(side: str) -> Callable[[Sides], Sides]:
        return lambda sides: {side: sides[side]}

    return {
        "no candidate": only(production),
        "no production": only(candidate),
        "the candidate's answers on both sides": lambda sides: sides | {production: sides[candidate]},
        "no answers": edited(candidate, lambda table: table.head(0)),
        "different examples": edited(candidate, lambda table: table.with_columns(id=pl.format("other-{}", "id"))),
        "an example less": edited(candidate, lambda table: table.slice(1)),
        "the same example less on both sides": lambda sides: {side: table.slice(1) for side, table in sides.items()},
        "duplicated examples": edited(candidate, lambda table: pl.concat([table, table.head(1)])),
        "a metric missing": edited(candidate, lambda table: table.drop(primary)),
        "a score missing": edited(candidate, lambda table: _with(table, primary, first, None)),
        "a score that is NaN": edited(candidate, lambda table: _with(table, primary, first, float("nan"))),
        "an infinite score": edited(candidate, lambda table: _with(table, primary, first, float("inf"))),
    }


def _with(table: pl.DataFrame, column: str, where: pl.Expr, value: float | None) -> pl.DataFrame:
    return table.with_columns(pl.when(where).then(pl.lit(value, dtype=pl.Float64)).otherwise(column).alias(column))
