"""A window counted piece by piece, beside the plain way: all of its rows in one table."""

import hashlib
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_drift import rows
from trunkline.drift import observed
from trunkline.drift.observed import Totals
from trunkline.drift.tally import Tally

GUARDS = ("pii@1", "format@1")


def tally(pieces: list[pl.DataFrame], most: int = 1000, guards: tuple[str, ...] = GUARDS) -> Tally:
    found = Tally(guards, most, 2)
    for piece in pieces:
        found.add(piece)
    return found


# --- the plain way


def mean(values: list) -> float | None:
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else None


def quantile(values: list, part: float) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.quantile(known, part)) if known else None


def plain_totals(frame: pl.DataFrame) -> Totals:
    every = {name: frame[name].to_list() for name in frame.columns}
    known = frame.filter(pl.col("usd").is_not_null())
    usd = mean(known["usd"].to_list())
    tokens = sum(value or 0 for name in ("tokens_in", "tokens_out") for value in known[name].to_list())
    middle, high = (quantile(every["latency_ms"], part) for part in (0.5, 0.95))
    return Totals(
        predictions=frame.height,
        conversations=len(set(every["unit"])),
        failed=mean(every["failed"]),
        latency_ms=None if middle is None or high is None else (middle, high),
        ttft_ms=quantile(every["ttft_ms"], 0.95),
        tokens_in=mean(every["tokens_in"]),
        tokens_out=mean(every["tokens_out"]),
        usd_per_1000=None if usd is None else 1000 * usd,
        usd_per_million=1e6 * sum(known["usd"].to_list()) / tokens if tokens else None,
        guards={name: mean(every[f"guard:{name}"]) or 0.0 for name in GUARDS},
    )


def plain_conversations(frame: pl.DataFrame, most: int) -> list[str]:
    """The prediction of each conversation that is drawn."""
    chosen: dict[str, str] = {}
    for id, unit in sorted(frame.select("prediction", "unit").iter_rows(), key=lambda row: row[0][-12:]):
        chosen.setdefault(unit, id)
    order = sorted(chosen, key=lambda unit: hashlib.blake2b(unit.encode(), digest_size=8).hexdigest())
    return sorted(chosen[unit] for unit in order[:most])


def plain_engines(frame: pl.DataFrame) -> dict[tuple[str, str], tuple[str, ...]]:
    said: dict[tuple[str, str], list[str]] = {}
    for id, model, print_ in frame.select("prediction", "engine_model", "engine_fingerprint").iter_rows():
        if model is not None:
            said.setdefault((model, print_ or ""), []).append(id)
    return {name: tuple(sorted(said[name])[:2]) for name in sorted(said)}


# --- any log, in any pieces


def maybe(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | values


ANSWERED = st.fixed_dictionaries(
    {
        "status": st.sampled_from([200, 200, 200, 403, 422, 499, 500]),
        "error": maybe(st.sampled_from(["timeout", "client_left", "guard"])),
        "latency_ms": st.floats(0, 1e5, allow_subnormal=False),
        "ttft_ms": maybe(st.floats(0, 1e4, allow_subnormal=False)),
        "tokens_in": maybe(st.integers(0, 9000)),
        "tokens_out": maybe(st.integers(0, 500)),
        "usd": maybe(st.floats(0, 1, allow_subnormal=False)),
        "findings": st.lists(st.sampled_from(["pii@1:12", "pii@1", "format@1:1", "pii@12:7"]), max_size=3),
        "engine_model": maybe(st.sampled_from(["m", "n"])),
        "engine_fingerprint": maybe(st.sampled_from(["f1", "f2"])),
    }
)
LOST = st.just(dict.fromkeys(rows([]).columns[2:]))
LOGS = st.lists(st.tuples(st.integers(0, 9), ANSWERED | LOST), max_size=40)


@settings(deadline=None, max_examples=40)
@given(LOGS, st.integers(1, 12), st.data())
def test_pieces_in_any_order_come_to_what_the_whole_table_does(log, most, data):
    units = [f"u-{unit}" for unit, _ in log]
    columns = {name: [row[name] for _, row in log] for name in rows([]).columns[2:]}
    whole = rows(units, **columns)
    shuffled = whole[data.draw(st.permutations(range(whole.height)))] if log else whole
    cuts = sorted({0, whole.height, *data.draw(st.lists(st.integers(0, whole.height), max_size=4))})
    pieces = [shuffled[start:end] for start, end in itertools.pairwise(cuts)] or [whole]
    found = tally(pieces, most)
    frame = observed.measured(whole, GUARDS)
    plain = plain_totals(frame)
    for name, value in found.totals()._asdict().items():
        expected = getattr(plain, name)
        assert value == (None if expected is None else pytest.approx(expected, rel=1e-12, abs=1e-12)), name
    drawn = found.conversations()
    assert drawn["prediction"].to_list() == plain_conversations(frame, most)
    assert drawn.equals(frame.filter(pl.col("prediction").is_in(drawn["prediction"].implode())).sort("prediction"))
    assert list(found.engines().items()) == list(plain_engines(frame).items())
    again = tally([shuffled.reverse()], most)
    assert (again.totals(), again.engines()) == (found.totals(), found.engines()), "to the last digit"


# --- by example


def test_totals_count_predictions_and_leave_out_what_was_not_measured():
    found = tally([rows(["a", "a", "b", "c"], usd=[0.001, 0.003, None, None], tokens_in=[10, 20, 5, None])]).totals()
    assert (found.predictions, found.conversations, found.failed) == (4, 3, 0.0)
    assert found.usd_per_1000 == pytest.approx(2.0)
    assert found.usd_per_million == pytest.approx(0.004 / 40 * 1e6)
    assert (found.tokens_in, found.ttft_ms) == (pytest.approx(35 / 3), None)


def test_an_empty_window_measured_nothing():
    found = tally([rows([])]).totals()
    assert (found.predictions, found.failed, found.latency_ms, found.usd_per_1000) == (0, None, None, None)
    assert tally([rows([])]).conversations().is_empty()


def test_a_conversation_counts_once_however_often_it_writes():
    units = [f"u-{number}" for number in range(50) for _ in range(number % 5 + 1)]
    found = tally([rows(units)]).conversations()
    assert sorted(found["unit"]) == sorted(set(units))


def test_what_is_kept_of_many_pieces_are_the_conversations_drawn():
    found = Tally(GUARDS, 20, 2)
    for number in range(40):
        found.add(rows([f"u-{number}-{row}" for row in range(50)]))
        assert found.conversations().height == 20
    assert (found.totals().predictions, found.totals().conversations) == (2000, 2000)
