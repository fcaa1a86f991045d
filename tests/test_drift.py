"""Drift: exact tests with limits, features, alarms whose rate holds over windows, labels against the holdout."""

import importlib
import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import finished
import starter
from trunkline.clients.predictions import WINDOW
from trunkline.drift import comparison, exact, features, judging, observed, quality, signals, watched, windows
from trunkline.drift.detector import Detector
from trunkline.drift.exact import Counts
from trunkline.drift.judging import Rule
from trunkline.drift.observed import Seen
from trunkline.drift.watched import Watched
from trunkline.drift.windows import Window
from trunkline.params.monitor import Feature
from trunkline.verdict import Verdict

START = datetime(2026, 10, 1, tzinfo=UTC)
BEYOND = Watched("drift/unknown_words", "drift", "training", "beyond", "unknown_words", "input of more than {share}")
FLAG = Watched("drift/refusals", "drift", "holdout", "flag", "refusals", "answer that declines")
MOST = Watched("drift/unknown_words", "drift", "training", "most", "unknown_words", "input of more than {share}")
LABEL = Watched("drift/labels/intent", "drift", "holdout", "label", "label:intent", "answer with intent {value}")
TERMS = comparison.Terms(least=20, level=1e-4, examples=5)


def rule(**changes: object) -> Rule:
    plain = Rule(
        least=20,
        alpha=0.05,
        clear=0.05,
        tolerated={"serving": 0.0, "drift": 0.0, "quality": 0.0},
        a_month=30.0,
        together=1,
        first=2,
        examples=5,
    )
    return plain._replace(**changes)


# --- the exact test


@given(st.integers(1, 60), st.integers(1, 60), st.data(), st.floats(0.001, 0.5))
def test_without_a_change_a_test_alarms_at_most_as_often_as_its_level_says(size, reference, data, level):
    """All possible windows, each weighed by how likely it is."""
    having = data.draw(st.integers(0, size + reference))
    hits = np.arange(max(0, having - reference), min(size, having) + 1)
    likely = stats.hypergeom.pmf(hits, size + reference, having, size)
    alarms = [exact.chance(Counts(int(h), size, having - int(h), reference)) <= level for h in hits]
    assert likely[alarms].sum() <= level * (1 + 1e-9)


@given(st.integers(1, 300), st.integers(1, 300), st.data(), st.floats(1e-6, 0.5), st.booleans())
def test_the_limit_is_the_smallest_share_that_alarms(size, reference, data, level, of_all):
    theirs = data.draw(st.integers(0, reference))
    mine = data.draw(st.integers(0, size))
    counts = Counts(mine, size, theirs, reference)
    limit = exact.limit(counts, level, of_all)
    most = min(size, mine + theirs) if of_all else size

    def alarms(hits: int) -> bool:
        rest = mine + theirs - hits if of_all else theirs
        return 0 <= rest <= reference and exact.chance(Counts(hits, size, rest, reference)) <= level

    possible = [hits for hits in range(most + 1) if alarms(hits)]
    if limit is None:
        assert not possible
    else:
        assert round(limit * size) == min(possible)


def test_a_larger_reference_and_a_larger_window_have_a_lower_limit():
    shares = [
        exact.limit(Counts(0, n, m // 50, m), 1e-4) for n, m in ((100, 100), (500, 100), (500, 5000), (5000, 5000))
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.04 < 0.15 < shares[0]


@given(st.lists(st.integers(0, 12), min_size=2, max_size=80), st.data(), st.sampled_from([0.05, 0.25, 0.5]))
def test_what_is_extreme_does_not_depend_on_who_is_in_the_window(pool, data, part):
    """Otherwise the window would be tried by a threshold that it chose itself."""
    cut = data.draw(st.integers(1, len(pool) - 1))
    values = np.array(pool, dtype=float)
    shuffled = np.array(data.draw(st.permutations(pool)), dtype=float)
    first, second = (exact.largest(side[:cut], side[cut:], part) for side in (values, shuffled))
    if first is None or second is None:
        assert first is second is None
        assert len(set(pool)) == 1
        return
    assert first.at == second.at
    extreme = int(first.window.sum() + first.reference.sum())
    assert extreme == int((values > first.at).sum())
    assert 0 < extreme < len(pool)
    possible = [np.mean(values > at) for at in sorted(set(pool))[:-1]]
    assert abs(extreme / len(pool) - part) == pytest.approx(min(abs(share - part) for share in possible))


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=9), st.data(), st.sampled_from([0.0, 0.2, 0.5]))
def test_beyond_the_reference_alarms_at_most_as_often_as_its_level_says(pool, data, part):
    """All possible windows, each as likely, also where amounts are equal."""
    size = data.draw(st.integers(1, len(pool) - 1))
    chances = []
    for chosen in itertools.combinations(range(len(pool)), size):
        window = np.array([pool[place] for place in chosen], dtype=float)
        reference = np.array([pool[place] for place in range(len(pool)) if place not in chosen], dtype=float)
        counts, at = exact.beyond(window, reference, part)
        assert (reference > at).sum() <= counts.reference_hits
        chances.append(exact.chance(counts))
    for level in sorted(set(chances)):
        assert np.mean(np.array(chances) <= level + 1e-12) <= level + 1e-9


def test_few_foreign_messages_among_many_usual_ones_are_found():
    """A few in a hundred, of which each is far beyond: what the largest twentieth of all did not show."""
    rng = np.random.default_rng(4)
    usual = rng.exponential(0.02, 4000)
    window = np.concatenate([rng.exponential(0.02, 190), np.full(10, 0.3)])
    found = compare(BEYOND, table("unknown_words", window.tolist()), table("unknown_words", usual.tolist()), TERMS)
    assert found is not None
    assert found.p < 1e-4
    assert 0.03 < found.effect < 0.07
    most = compare(MOST, table("unknown_words", window.tolist()), table("unknown_words", usual.tolist()), TERMS)
    assert most is not None and most.p > 1e-3


@given(st.integers(0, 50), st.integers(0, 80))
def test_either_direction_costs_twice_the_chance_of_one(mine, theirs):
    counts = Counts(mine, 50, theirs, 80)
    p, direction = exact.either(counts)
    assert p <= 1
    if direction == "up":
        assert counts.share > counts.reference_share
        assert p == pytest.approx(min(1, 2 * exact.chance(counts)))
    elif direction == "down":
        assert counts.share < counts.reference_share


# --- features

TEXTS = [f"please block the card of number {number}" for number in range(30)]


def test_words_that_few_training_messages_hold_are_unknown():
    words = features.vocabulary(pl.Series([*TEXTS, "zebra zebra zebra zebra", "zebra"]))
    assert "card" in words.known
    assert "zebra" not in words.known
    found = features.of_inputs(pl.Series(["Block the CARD", "the zebra", "12345", None]), words)
    assert found["unknown_words"].to_list() == [0.0, 0.5, None, None]


def test_a_stretch_ends_at_a_common_word_and_scripts_without_spaces_have_a_word_a_character():
    words = features.vocabulary(
        pl.Series(["please block the card", "the card is here", "the app", "我的卡在哪里我的"] * 3)
    )
    assert words.common.to_list() == ["card", "the", "我", "的"]
    texts = pl.Series(
        ["wo ist die Karte THE karte bitte", "我的卡在哪里请尽快告诉我", "abc中文 the", "the card", "12", "", None]
    )
    assert features.of_inputs(texts, words)["language"].to_list() == [4.0, 9.0, 3.0, 0.0, None, None, None]


def test_another_language_shows_as_one_and_a_new_product_in_the_same_language_does_not(monkeypatch):
    monkeypatch.syspath_prepend(str(starter.ROOT))
    compose, wording = (importlib.import_module(f"data.generator.{name}") for name in ("compose", "wording"))
    draw = np.random.default_rng(1)

    def stretches(language: str, intents: list[str], count: int) -> list[float]:
        composer = compose.Composer(language, random.Random(language + intents[0]))
        made = [
            composer.message(intents[n % len(intents)], wording.URGENCIES[n % 3], "chat", 9, []) for n in range(count)
        ]
        texts = draw.permutation([one.text for one in made])
        if not words:
            words.append(features.vocabulary(pl.Series(texts[:600])))
        return features.of_inputs(pl.Series(texts), words[0])["language"].to_list()

    words: list[features.Vocabulary] = []
    known, new = list(wording.INTENTS[:-2]), list(wording.INTENTS[-2:])
    usual = stretches("en", known, 2000)[600:]
    kinds = {name: stretches(name[:2], new if name == "en, new" else known, 200) for name in ("en, new", "de", "es")}
    kinds["none"] = usual[700:]
    alarms = dict.fromkeys(kinds, 0)
    for name, foreign in kinds.items():
        for _ in range(12):
            window = [*draw.choice(usual[700:], 450, replace=False), *draw.choice(foreign, 50, replace=False)]
            found = compare(BEYOND, table("unknown_words", window), table("unknown_words", usual[:700]), TERMS)
            alarms[name] += found is not None and found.p <= TERMS.level
    assert alarms == {"en, new": 0, "de": 12, "es": 12, "none": 0}


def test_lengths_symbols_and_personal_data_of_inputs():
    texts = pl.Series(["ab 1!", "write to ann@example.com", "masked: <EMAIL>", None, ""])
    found = features.of_inputs(texts, features.vocabulary(texts))
    assert found["long_inputs"].to_list() == [5.0, 24.0, 15.0, None, 0.0]
    assert found["short_inputs"].to_list() == [-5.0, -24.0, -15.0, None, 0.0]
    assert found["symbols"].to_list() == [0.4, pytest.approx(2 / 24), pytest.approx(3 / 15), None, None]
    assert found["pii"].to_list() == [False, True, True, None, False]


def test_labels_format_and_refusals_of_outputs():
    said = ['{"intent": "card_lost", "urgency": "low"}', '{"intent": "other"}', "I'm sorry, I cannot help.", None]
    found = features.of_outputs(said, finished.TASK)
    assert found["label:intent"].to_list() == ["card_lost", features.OTHER, features.OTHER, None]
    assert found["no_format"].to_list() == [False, True, True, None]
    assert found["refusals"].to_list() == [False, False, True, None]
    assert found["long_outputs"].to_list() == [41.0, 19.0, 25.0, None]


def test_doubt_is_the_negative_of_confidence_and_unknown_where_that_was_not_kept():
    made = pl.DataFrame({"confidence": [-0.25, None, 0.0]})
    assert features.of_confidence(made)["low_confidence"].to_list() == [0.25, None, 0.0]
    assert features.of_confidence(pl.DataFrame({"output": ["a", "b"]}))["low_confidence"].to_list() == [None, None]


# --- a window beside its reference


def compare(thing: Watched, window: pl.DataFrame, reference: pl.DataFrame, terms: comparison.Terms):
    here, there = (comparison.values(frame, thing.column) for frame in (window, reference))
    return comparison.compare(thing, here, there, terms)


def table(column: str, values: list) -> pl.DataFrame:
    return pl.DataFrame({"prediction": [f"p-{number:04d}" for number in range(len(values))], column: values})


def test_a_flag_that_became_frequent_is_told_with_its_examples():
    found = compare(FLAG, table("refusals", [False] * 80 + [True] * 20), table("refusals", [False] * 300), TERMS)
    assert found is not None
    assert (found.counts.share, found.counts.reference_share, found.direction) == (0.2, 0.0, "up")
    assert found.effect == pytest.approx(0.2)
    assert found.examples == tuple(f"p-{number:04d}" for number in range(80, 85))
    assert found.limit is not None and found.limit < 0.2
    assert found.p < 1e-10


def test_of_amounts_the_largest_are_the_examples():
    rng = np.random.default_rng(0)
    amounts = rng.random(200) * 0.2
    amounts[17], amounts[3] = 0.9, 0.8
    found = compare(
        MOST, table("unknown_words", amounts.tolist()), table("unknown_words", (rng.random(400) * 0.1).tolist()), TERMS
    )
    assert found is not None
    assert found.examples[:2] == ("p-0017", "p-0003")
    assert found.p < 1e-10
    assert 0.1 < found.counts.share < 0.2


def test_equal_amounts_are_no_drift():
    found = compare(MOST, table("unknown_words", [0.5] * 100), table("unknown_words", [0.5] * 100), TERMS)
    assert found is not None
    assert (found.p, found.effect, found.examples) == (1.0, 0.0, ())


@pytest.mark.parametrize(("mine", "direction", "value"), [("abbb", "up", "b"), ("aaac", "down", "b")])
def test_of_labels_the_one_that_moved_is_told_in_its_direction(mine, direction, value):
    found = compare(LABEL, table("label:intent", list(mine) * 100), table("label:intent", list("ab") * 200), TERMS)
    assert found is not None
    assert (found.direction, found.told) == (direction, f"answer with intent {value}")
    assert found.p < 1e-6
    assert found.examples


@pytest.mark.parametrize(("window", "reference"), [([True] * 19, [True] * 300), ([True] * 300, [True] * 19), ([], [])])
def test_too_little_says_nothing(window, reference):
    sides = (pl.DataFrame({"prediction": ["p"] * len(side), "refusals": side}) for side in (window, reference))
    assert compare(FLAG, *sides, TERMS) is None


def test_what_a_table_does_not_hold_says_nothing():
    other = table("pii", [True] * 100)
    assert compare(FLAG, other, table("refusals", [False] * 100), TERMS) is None
    nothing = other.with_columns(refusals=pl.lit(None, dtype=pl.Boolean))
    assert compare(FLAG, nothing, table("refusals", [False] * 100), TERMS) is None


# --- windows of the log


def test_windows_are_fixed_by_the_start_whenever_one_looks():
    now = START + timedelta(hours=49)
    assert windows.whole(START, now, 24) == 2
    assert windows.at(START, 1, 24) == Window(1, START + timedelta(hours=24), START + timedelta(hours=48))
    assert windows.whole(START, START - timedelta(hours=1), 24) == 0
    assert windows.numbers(10, 2, 3) == [0, 1, 7, 8, 9]
    assert windows.numbers(1, 2, 3) == [0]
    assert windows.a_month(24) == 30


def rows(units: list[str], **columns: object) -> pl.DataFrame:
    rng = np.random.default_rng(len(units))
    count = len(units)
    plain = {
        "prediction": [f"01a22507-e9bb-7037-b020-{rng.integers(16**12):012x}" for _ in units],
        "unit": units,
        "status": [200] * count,
        "error": [None] * count,
        "latency_ms": [100.0] * count,
        "ttft_ms": [None] * count,
        "tokens_in": [10] * count,
        "tokens_out": [5] * count,
        "usd": [0.001] * count,
        "findings": [[]] * count,
        "engine_model": ["m"] * count,
        "engine_fingerprint": [None] * count,
    }
    schema = {name: kind for name, kind in WINDOW.items() if name in plain}
    return pl.DataFrame(plain | columns, schema_overrides=schema)


def test_a_failure_is_ours_unless_a_client_left_or_a_guard_refused_what_was_asked():
    frame = rows(
        list("abcdefg"),
        status=[200, 500, 200, 499, 403, None, 422],
        error=[None, None, "timeout", "client_left", "guard", None, "guard"],
        findings=[["pii@1:12"], [], [], [], ["pii@1:12", "format@1:1"], None, ["pii_leak@1:12"]],
        engine_model=["m", "m", "m", "m", None, None, "m"],
        tokens_out=[24, 24, 24, 24, None, None, 24],
        ttft_ms=[40.0, 40.0, 40.0, 40.0, None, None, 40.0],
    )
    found = observed.measured(frame, ("pii@1",))
    assert found["failed"].to_list() == [False, True, True, False, False, True, True]
    assert found["latency_ms"].to_list() == [100.0, None, None, None, None, None, None]
    assert found["guard:pii@1"].to_list() == [True, False, False, False, True, None, False]


def test_every_so_many_windows_in_a_row_go_round():
    assert windows.runs([0, 1, 2], 1) == [[0], [1], [2]]
    assert windows.runs([0, 1, 2], 2) == [[0, 1], [1, 2], [2, 0]]
    assert windows.runs([0, 1, 2], 3) == windows.runs([0, 1, 2], 9) == [[0, 1, 2]]


# --- alarms over windows


def seen(number: int, **columns: list) -> Seen:
    count = len(next(iter(columns.values()), []))
    ids = [f"p-{number}-{row}" for row in range(count)]
    frame = pl.DataFrame({"prediction": ids, "unit": ids, **columns})
    totals = observed.Totals(count, count, None, None, None, None, None, None, None, {})
    return Seen(windows.at(START, number, 24), totals, frame, {}, np.empty(0), ())


def test_a_month_without_any_change_has_at_most_alpha_windows_with_an_alarm_on_average():
    """Windows share one small reference, and what is watched hangs together: nothing of that breaks the bound."""
    things = [MOST, FLAG, MOST._replace(key="drift/a", column="a"), MOST._replace(key="drift/b", column="b")]
    rng, months, alpha = np.random.default_rng(5), 150, 0.9
    counts = np.zeros(months)

    def sample(size: int) -> dict[str, list]:
        amounts = rng.exponential(size=size)
        return {
            "unknown_words": amounts.tolist(),
            "refusals": (amounts + rng.exponential(size=size) > 3).tolist(),
            "a": (amounts + 0.1 * rng.random(size)).tolist(),
            "b": rng.integers(0, 4, size).astype(float).tolist(),
        }

    for month in range(months):
        reference = pl.DataFrame(sample(60))
        found = judging.series(
            [seen(number + 2, **sample(50)) for number in range(4)],
            things,
            {"training": reference, "holdout": reference},
            rule(alpha=alpha, a_month=4.0, together=2, clear=1e-12),
        )
        counts[month] = sum(any(step.alarm for step in window) for window in zip(*found.values(), strict=True))
    # The tests of windows have half of alpha.
    assert 0 < counts.mean() <= alpha / 2 + 3 * counts.std() / np.sqrt(months)


def drifting(shares: list[float], size: int = 400, **changes: object) -> list[judging.Step]:
    every = [
        seen(number + 2, refusals=[row < share * 200 for row in range(200)]) for number, share in enumerate(shares)
    ]
    reference = pl.DataFrame({"refusals": [row < size // 100 for row in range(size)]})
    return judging.series(every, [FLAG], {"holdout": reference}, rule(**changes))["drift/refusals"]


def test_an_alarm_goes_on_until_a_window_is_as_usual():
    assert [step.alarm for step in drifting([0.01, 0.3, 0.05, 0.01, 0.05])] == [False, True, True, False, False]


def test_a_difference_that_is_tolerated_is_no_alarm_however_sure_it_is():
    steps = drifting([0.1, 0.3], tolerated={"drift": 0.2})
    assert [step.alarm for step in steps] == [False, True]
    assert steps[0].p is not None and steps[0].p < 0.05


def test_a_small_change_that_stays_is_found_in_the_last_windows_together():
    shares = [0.01, 0.01, 0.03, 0.03, 0.03, 0.03, 0.03]
    assert not any(step.alarm for step in drifting(shares, 4000))
    steps = drifting(shares, 4000, together=5)
    assert [step.alarm for step in steps] == [False] * 5 + [True] * 2
    assert (steps[-1].windows, steps[-1].own.counts.size, steps[-1].compared.counts.size) == (5, 200, 1000)


def test_what_is_over_is_no_alarm_though_the_last_windows_together_still_show_it():
    assert [step.alarm for step in drifting([0.01, 0.5, 0.01, 0.01], together=4)] == [False, True, False, False]


def test_windows_that_are_too_small_by_themselves_are_looked_at_together():
    every = [seen(number + 2, refusals=[row < 5 for row in range(15)]) for number in range(3)]
    reference = pl.DataFrame({"refusals": [row < 4 for row in range(400)]})
    steps = judging.series([*every, seen(5, refusals=[])], [FLAG], {"holdout": reference}, rule(together=3))[FLAG.key]
    assert [step.alarm for step in steps] == [False, True, True, False]
    assert steps[1].own is None
    assert steps[3].compared is None, "no traffic is no measurement, whatever came before"


def of_weeks(shares: list[float], size: int = 1000) -> list[judging.Step]:
    """The steps after a first week, with the shares of its days and of those that come."""
    every = [seen(number, refusals=[row < share * size for row in range(size)]) for number, share in enumerate(shares)]
    days = [one.conversations.with_columns(window=pl.lit(one.window.number)) for one in every[:7]]
    start = FLAG._replace(against="start")
    steps = judging.series(every, [start], {"start": pl.concat(days)}, rule(first=7, together=7))[start.key]
    assert not any(step.alarm for step in steps[:7])
    return steps[7:]


WEEK = [0.06, 0.06, 0.05, 0.05, 0.05, 0.01, 0.01]


def test_days_of_a_week_that_differ_are_no_alarm_and_one_that_is_like_none_of_them_is():
    steps = of_weeks([*WEEK, *WEEK, *WEEK])
    assert not any(step.alarm for step in steps)
    assert (steps[0].own.counts.reference_share, steps[0].own.counts.reference_size) == (0.06, 1000)
    assert [step.alarm for step in of_weeks([*WEEK, 0.06, 0.14])] == [False, True]
    # A Saturday as bad as a Monday is not told by itself; a week of such days is.
    steps = of_weeks([*WEEK, *[0.07] * 7])
    assert [step.alarm for step in steps][-1]
    assert steps[-1].windows == 7


def test_a_reference_is_not_compared_with_itself():
    start = FLAG._replace(against="start")
    every = [seen(number, refusals=[number > 1] * 50) for number in range(4)]
    steps = judging.series(every, [start], {"start": pl.DataFrame({"refusals": [False] * 100})}, rule(first=2))
    assert [step.compared is None for step in steps[FLAG.key]] == [True, True, False, False]


# --- labels


def test_the_mean_time_to_a_false_alarm_is_at_least_the_limit():
    limit, runs, most = 15.0, 250, 400
    times = []
    for run in range(runs):
        rng, detector = np.random.default_rng(run), Detector(0.2)
        times.append(
            next(
                (n for n in range(1, most) if detector.add((rng.random(3) < 0.2).astype(float)) >= np.log(limit)), most
            )
        )
    assert min(times) < most
    assert np.mean(times) >= limit - 3 * np.std(times) / np.sqrt(runs)


def test_a_change_is_found_soon_however_long_nothing_happened_before():
    rng, detector = np.random.default_rng(1), Detector(0.1)
    for _ in range(300):
        detector.add((rng.random(20) < 0.08).astype(float))
    found = [detector.add((rng.random(20) < 0.4).astype(float)) >= np.log(1000) for _ in range(10)]
    assert found[-1] and not found[0]


def test_windows_without_labels_let_no_time_pass():
    detector = Detector(0.3)
    assert detector.log == -np.inf
    before = detector.add(np.array([0.0, 1.0]))
    assert detector.add(np.empty(0)) == before


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=5, max_size=60), st.floats(0.05, 0.9))
def test_capital_is_never_negative_and_falls_where_nothing_is_wrong(losses, claimed):
    detector = Detector(claimed)
    assert np.isfinite(detector.add(np.array(losses)))
    assert Detector(claimed).add(np.zeros(30)) < Detector(claimed).add(np.zeros(1)) < 0


def test_the_holdouts_bound_holds_for_shares_and_for_other_scores():
    rng = np.random.default_rng(2)
    for draw in (lambda: (rng.random(100) < 0.8).astype(float), lambda: rng.beta(8, 2, 100)):
        bounds = [quality.proven("score", draw(), 0.05) for _ in range(200)]
        assert np.mean([bound.low > 0.8 for bound in bounds]) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
        assert min(bound.low for bound in bounds) > 0.5
    assert quality.proven("nll", np.array([1.4, 2.0]), 0.05) is None
    assert quality.proven("score", np.empty(0), 0.05) is None


def labelled(losses: list[list[float]]) -> list[Seen]:
    return [
        seen(number, refusals=[False])._replace(losses=np.array(window, dtype=float), wrong=(f"p-{number}",))
        for number, window in enumerate(losses)
    ]


def of_labels(losses: list[list[float]], **changes: object) -> signals.Signal:
    claim = quality.proven("exact_match", np.array([1.0] * 180 + [0.0] * 20), 0.05)
    every, terms = labelled(losses), rule(**changes)
    return quality.signal(every, claim, quality.track(every, claim, terms), "", terms)


def test_wrong_answers_to_messages_that_look_as_always_are_found_by_their_labels():
    good, bad = [0.0] * 18 + [1.0] * 2, [0.0] * 8 + [1.0] * 12
    found = of_labels([good] * 10 + [bad] * 3)
    assert (found.verdict, found.direction, found.n) == (Verdict.FAIL, "down", 60)
    assert (found.value, found.reference) == (pytest.approx(0.4), pytest.approx(0.9))
    assert found.since == (START + timedelta(days=10)).isoformat()
    assert found.examples == ("p-12", "p-11", "p-10")
    assert found.p is not None and found.p <= 0.05
    assert of_labels([good] * 13).verdict is Verdict.PASS


def test_no_labels_are_never_a_pass():
    assert of_labels([[], []]).verdict is Verdict.INCONCLUSIVE
    assert of_labels([[0.0] * 50, []]).verdict is Verdict.INCONCLUSIVE
    unknown = quality.signal(labelled([[0.0]]), None, None, "it is not here.", rule())
    assert (unknown.verdict, unknown.sentence) == (Verdict.INCONCLUSIVE, "Not measured: it is not here.")


def test_labels_that_come_late_are_told_of_the_newest_window_that_has_any():
    good = [0.0] * 18 + [1.0] * 2
    found = of_labels([good, good, [], []], together=3)
    assert (found.verdict, found.n, found.value) == (Verdict.PASS, 20, pytest.approx(0.9))
    assert found.sentence.endswith("Later predictions than of 2026-10-03 00:00 UTC have no label yet.")
    unknown = of_labels([good, [], [], []], together=3)
    assert unknown.sentence == "Not measured: no prediction of the last 3 windows has a label."


# --- signals


def test_when_an_alarm_began_is_not_told_where_it_may_be_older_than_what_is_looked_at():
    """Otherwise it would begin anew with every window that leaves, and its issue be opened again each time."""
    every = [windows.at(START, number, 24) for number in (0, 1, 2, 7, 8)]
    told = [windows.began(every, place) for place in range(5)]
    assert told == [*((START + timedelta(days=day)).isoformat() for day in (0, 1, 2)), None, every[4].since.isoformat()]
    losses = [[1.0] * 20] * 6
    assert of_labels(losses).since == START.isoformat()
    claim = quality.proven("exact_match", np.array([1.0] * 180 + [0.0] * 20), 0.05)
    later = labelled(losses)[1:]
    found = quality.signal(later, claim, quality.track(later, claim, rule()), "", rule())
    assert (found.verdict, found.since) == (Verdict.FAIL, None)


def engines(*names: tuple[str, str] | None) -> list[Seen]:
    every = [seen(number, refusals=[]) for number in range(len(names))]
    return [
        one._replace(engines={} if name is None else {name: ("p",)}) for one, name in zip(every, names, strict=True)
    ]


def test_the_provider_moved_we_moved_or_it_could_not_be_measured():
    a, b = ("m", "f1"), ("m", "f2")
    moved = signals.provider(engines(a, a, a, b, b), 2, "m@v2", "v1")
    assert (moved.verdict, moved.direction) == (Verdict.FAIL, "changed")
    assert moved.sentence.startswith("Provider moved: m@v2 is unchanged, but m (f2) answers now")
    assert moved.since == (START + timedelta(days=3)).isoformat()
    we = signals.provider(engines(b), 2, "m@v2", "v1")
    assert (we.verdict, we.direction) == (Verdict.PASS, "changed")
    assert we.sentence.startswith("We moved: m@v2 serves after v1")
    assert signals.provider(engines(a, a, a), 2, "m@v2", "v1").direction == "none"
    nobody = signals.provider(engines(a, a, None), 2, "m@v2", "v1")
    assert nobody.verdict is Verdict.INCONCLUSIVE
    assert "could not measure" in nobody.sentence
    assert signals.provider(engines(a, a, b, a), 2, "m@v2", "v1").verdict is Verdict.PASS, "it is back"


def test_only_the_model_that_a_hosted_release_was_made_with_may_answer_from_its_first_window_on():
    a, b, c = ("m-1", "f1"), ("m-2", "f1"), ("m-1", "f2")
    moved = signals.provider(engines(b, b), 2, "m@v2", None, "m-1")
    assert moved.verdict is Verdict.FAIL
    assert moved.sentence == "Provider moved: m@v2 is unchanged, but m-2 (f1) answers now, and it was made with m-1."
    assert moved.since == START.isoformat()
    (both,) = engines(a)
    both = both._replace(engines={a: ("p",), b: ("q",)})
    found = signals.provider([both], 2, "m@v2", None, "m-1")
    assert (found.verdict, found.examples) == (Verdict.FAIL, ("q",))
    assert signals.provider(engines(c), 2, "m@v2", None, "m-1").verdict is Verdict.PASS, "the same model"
    assert signals.provider(engines(a, b, a), 2, "m@v2", None, "m-1").verdict is Verdict.PASS, "it is back"


def test_cost_is_held_to_its_budget():
    def cheap(usd: float | None, number: int = 5) -> Seen:
        one = seen(number, usd=[None, *(number / 1000 for number in range(49))])
        return one._replace(totals=one.totals._replace(usd_per_1000=usd))

    assert signals.cost([cheap(0.5)], 1.0, rule()).verdict is Verdict.PASS
    over = signals.cost([cheap(0.5, 3), cheap(1.5, 4), cheap(2.0)], 1.0, rule())
    assert (over.verdict, over.direction, over.effect) == (Verdict.FAIL, "up", 1.0)
    assert over.since == (START + timedelta(days=4)).isoformat()
    assert over.examples[:2] == ("p-5-49", "p-5-48"), "the dearest"
    assert signals.cost([cheap(None)], 1.0, rule()).verdict is Verdict.INCONCLUSIVE
    assert "no price is set" in signals.cost([cheap(0.0)], 1.0, rule()).sentence, "which is not within any budget"
    assert signals.cost([cheap(5.0)], None, rule()).verdict is Verdict.PASS


def test_the_verdict_is_a_pass_only_where_enough_was_measured():
    passed = signals.cost([seen(5, refusals=[False] * 50)._replace(totals=_paid())], None, rule())
    unknown = signals.unmeasured("drift/pii", "drift", 0, "nothing came.")
    assert signals.verdict_of([passed, unknown], ("cost",)) is Verdict.PASS
    assert signals.verdict_of([passed, unknown], ("cost", "drift")) is Verdict.INCONCLUSIVE
    assert signals.verdict_of([unknown], ("drift",)) is Verdict.INCONCLUSIVE
    assert signals.verdict_of([], ("drift",)) is Verdict.INCONCLUSIVE
    failed = passed.model_copy(update={"verdict": Verdict.FAIL})
    assert signals.verdict_of([unknown, failed], ("drift",)) is Verdict.FAIL
    assert signals.sort([unknown, passed, failed]) == (failed, passed, unknown)


def _paid() -> observed.Totals:
    return observed.Totals(50, 50, None, None, None, None, None, 0.5, None, {})


@given(st.text(max_size=20))
def test_any_field_has_a_key_of_its_own_signal(field):
    answer = finished.TASK.answer.model_copy(update={"fields": (field,), "allowed": {field: ("a",)}})
    things = watched.everything(get_args(Feature), answer, ("pii@1",))
    for thing in things:
        assert signals.unmeasured(thing.key, thing.kind, 0, "why").key == thing.key
        assert thing.told(0.5, "{value}")
