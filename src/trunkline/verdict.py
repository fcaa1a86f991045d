"""Verdicts of data checks, gates, canaries and monitors: pass < inconclusive < fail.

Nothing measured is never a pass: the worst of no verdicts is inconclusive, and so is a check on a
missing value or NaN.
"""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]


class Verdict(StrEnum):
    """What a measurement says: go on, ask a human, or stop."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"


_ORDER = list(Verdict)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst verdict; inconclusive when there is none."""
    return max(verdicts, key=_ORDER.index, default=Verdict.INCONCLUSIVE)


class Check(BaseModel):
    """One measured value against its limit, with the sentence a reader sees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    verdict: Verdict
    value: FiniteFloat | None
    limit: FiniteFloat | None
    message: str


class Limit(BaseModel):
    """Two limits on one value: up to ``pass`` it passes, above ``fail`` it fails, between a human decides."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    pass_: FiniteFloat = Field(alias="pass")
    fail: FiniteFloat


def within(name: str, value: float | None, limit: Limit, message: str) -> Check:
    """Judge a value of which less is better.

    Args:
        name: the params.yaml path of the limit, such as ``data.limits.rejected``.
        value: the measurement; None or NaN was not measured and is inconclusive.
        limit: the two limits.
        message: a sentence for the reader, without the numbers of the limit.
    """
    if value is None or math.isnan(value):
        return Check(
            name=name,
            verdict=Verdict.INCONCLUSIVE,
            value=None,
            limit=limit.pass_,
            message=f"{message}: not measured",
        )
    if value <= limit.pass_:
        verdict = Verdict.PASS
    elif value <= limit.fail:
        verdict = Verdict.INCONCLUSIVE
    else:
        verdict = Verdict.FAIL
    bound = limit.fail if verdict is Verdict.FAIL else limit.pass_
    return Check(name=name, verdict=verdict, value=value, limit=bound, message=message)
