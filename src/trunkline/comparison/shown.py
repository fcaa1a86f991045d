"""Every score of both models side by side, whether it decides or not."""

from typing import NamedTuple

import polars as pl
from pydantic import JsonValue
from scipy import special

from trunkline import gate, scoring
from trunkline.comparison.answered import Answered
from trunkline.errors import Error
from trunkline.gate import Rule
from trunkline.gate.betting import Floats
from trunkline.records import SCORE_PREFIX, SIDES, Terms
from trunkline.scoring import Scorer


class Paired(NamedTuple):
    """One scorer's scores where it applies to both sides.

    Attributes:
        rows: the examples with the columns ``production``, ``candidate`` (as scored) and ``unit``.
    """

    scorer: Scorer
    rows: pl.DataFrame

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is."""
        return 1 if self.scorer.higher_is_better else -1

    def differences(self, rows: pl.DataFrame, seed: int) -> Floats:
        """(units,) improvements in these rows, positive when the candidate is better."""
        candidate, production = rows["candidate"].to_numpy(), rows["production"].to_numpy()
        return self.sign * gate.differences(candidate, production, rows["unit"].to_list(), seed)


def pair(answered: Answered) -> dict[str, Paired]:
    """The scorers that both sides have, by name.

    Raises:
        Error: a scorer is unknown, or a score is no number, NaN or infinite.
    """
    tables = answered.predictions
    names = set.intersection(*({name for name in table.columns} for table in tables.values()))
    scored = sorted(name.removeprefix(SCORE_PREFIX) for name in names if name.startswith(SCORE_PREFIX))
    found = {}
    for scorer in scoring.find(scored):
        column = SCORE_PREFIX + scorer.name
        if any(not tables[side][column].dtype.is_numeric() and tables[side][column].count() for side in SIDES):
            raise Error(f"the scores {scorer.name} are not numbers", "run `dvc repro evaluate` to score again")
        rows = answered.examples.with_columns(tables[side][column].cast(pl.Float64).alias(side) for side in SIDES)
        both = rows.drop_nulls(SIDES)
        if both.select(pl.any_horizontal(pl.col(SIDES).is_finite().not_().any())).item():
            raise Error(f"the scores {scorer.name} hold NaN or infinity", "correct the scorer")
        found[scorer.name] = Paired(scorer, both)
    return found


def metric(paired: Paired, margin: float | None, terms: Terms) -> JsonValue:
    """Both sides and their difference as candidate - production, averaged over units."""
    values: dict[str, JsonValue] = {
        "production": None,
        "candidate": None,
        "difference": None,
        "low": None,
        "high": None,
        "units": paired.rows["unit"].n_unique(),
        "higher_is_better": paired.scorer.higher_is_better,
        "margin": margin,
    }
    if paired.rows.is_empty() or paired.scorer.aggregate != "mean":
        return values
    limits = terms.limits
    rule = Rule(margin or limits.margins[limits.primary], limits.alpha, limits.beta)
    found = _interval(paired, paired.differences(paired.rows, terms.seed), rule)
    return values | {side: unit_mean(paired.rows, side) for side in SIDES} | found


def unit_mean(rows: pl.DataFrame, side: str) -> float:
    """The mean over units of each unit's mean."""
    return float(rows.group_by("unit", maintain_order=True).agg(pl.col(side).mean())[side].to_numpy().mean())


def _interval(paired: Paired, difference: Floats, rule: Rule) -> dict[str, JsonValue]:
    """The gate's interval for scores between 0 and 1; for others the t interval of the same levels, if any."""
    scores = paired.rows.select(pl.col(SIDES)).to_numpy()
    mean = float(difference.mean())
    low: float | None = None
    high: float | None = None
    if scores.min() >= 0 and scores.max() <= 1:
        decision = gate.decide(difference, rule)
        low, high = decision.low, decision.high
    elif difference.size > 1:
        spread = float(difference.std(ddof=1)) / difference.size**0.5
        low = mean - spread * float(special.stdtrit(difference.size - 1, 1 - rule.alpha))
        high = mean + spread * float(special.stdtrit(difference.size - 1, 1 - rule.beta))
    if paired.sign < 0:
        low, high = (None if end is None else -end for end in (high, low))
    return {"difference": paired.sign * mean, "low": low, "high": high}


def changed(paired: Paired) -> JsonValue:
    """Examples on which the candidate's score is better, worse, or the same."""
    change = paired.sign * (paired.rows["candidate"] - paired.rows["production"])
    return {
        "better": int((change > 0).sum()),
        "worse": int((change < 0).sum()),
        "same": int((change == 0).sum()),
    }
