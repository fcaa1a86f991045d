"""Shift: what changed is found, what did not is not, and the numbers are the textbook's."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trunkline import shift


def frame(**columns):
    return pl.DataFrame(columns)


def one(reference, new, alpha=0.01):
    (found,) = shift.measure(frame(x=reference), frame(x=new), alpha)
    return found


def test_equal_data_have_no_shift():
    for values in (list(range(100)), ["a", "b"] * 50):
        found = one(values, values)
        assert found.effect == 0.0
        assert not found.significant


def test_disjoint_data_have_the_largest_effect():
    assert one([1.0] * 50, [2.0] * 50) == shift.Shift("x", "ks", 1.0, pytest.approx(0, abs=1e-9), True, 50, 50)
    found = one(["a"] * 50, ["b"] * 50)
    assert (found.measure, found.effect, found.significant) == ("tv", 1.0, True)


def test_the_effect_of_categories_is_half_the_sum_of_differences():
    found = one(["a"] * 60 + ["b"] * 40, ["a"] * 45 + ["b"] * 45 + ["c"] * 10)
    assert found.effect == pytest.approx(0.15)


def test_chi_square_is_the_textbooks_when_no_cell_is_rare():
    found = one(["a"] * 60 + ["b"] * 40, ["a"] * 40 + ["b"] * 60)
    assert found.p == pytest.approx(stats.chi2_contingency([[60, 40], [40, 60]], correction=False).pvalue)


def test_a_rare_category_does_not_make_a_shift_of_its_own():
    """One new value in 1,000 rows: the chi-square approximation would call it significant."""
    found = one(["a"] * 2000, ["a"] * 999 + ["typo"])
    assert found.effect == pytest.approx(0.001)
    assert not found.significant


def test_many_rare_categories_by_chance_are_no_shift():
    random = np.random.default_rng(0)
    labels = [f"label {n}" for n in range(77)]
    found = one(random.choice(labels, 300), random.choice(labels, 100))
    assert found.effect > 0.3, "small data differ much by chance: the effect size alone would cry wolf"
    assert not found.significant


def test_a_side_without_values_is_not_measured():
    for empty, values in (([None] * 3, ["a"] * 3), ([], ["a"])):
        found = one(pl.Series(empty, dtype=pl.String), values)
        assert (found.effect, found.p, found.significant) == (None, None, False)
    assert one(pl.Series([], dtype=pl.Float64), [1.0]).effect is None


def test_p_values_are_held_together_by_holm():
    assert shift.holm([]) == []
    assert shift.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert shift.holm([0.5, 0.9]) == [1.0, 1.0]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(values):
    adjusted = shift.holm(values)
    assert all(before <= after <= 1 for before, after in zip(values, adjusted, strict=True))
    order = np.argsort(values, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)


def test_more_columns_ask_for_more_evidence():
    random = np.random.default_rng(3)
    reference, new = random.normal(0, 1, 400), random.normal(0.3, 1, 400)
    noise = {f"c{n}": random.normal(0, 1, 400) for n in range(60)}
    alone = one(reference, new, 0.05)
    among = shift.measure(frame(x=reference, **noise), frame(x=new, **noise), 0.05)[0]
    assert alone.effect == among.effect
    assert alone.p < among.p


def test_false_alarms_stay_below_the_level():
    random = np.random.default_rng(7)
    alarms = 0
    for _ in range(200):
        sides = [
            frame(
                n=random.integers(5, 200, size), c=random.choice(list("abcde"), size), d=random.choice(["x", "y"], size)
            )
            for size in (400, 150)
        ]
        alarms += any(found.significant for found in shift.measure(*sides, 0.05))
    assert alarms <= 20  # 10 expected; P(more than 20) < 0.002


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "b"] * 20, True),
        ([f"text {n}" for n in range(40)], False),
        ([f"label {n % 300}" for n in range(3000)], False),
        (["only"], True),
        ([], True),
    ],
)
def test_free_text_is_told_from_categories(values, expected):
    assert shift.is_categorical(pl.Series(values, dtype=pl.String)) is expected


# Rare words


USUAL = pl.Series(["my card is lost"] * 3 + ["the fee is high"] * 3)


def test_a_word_is_rare_when_the_reference_has_it_less_than_three_times():
    found = shift.rare_words(pl.Series(["my card", "my Roam card", "Mein Geld fehlt", "12.50 !"]), USUAL, among=False)
    assert found.to_list() == ["few", "many", "many", None]
    assert shift.rare_words(pl.Series(["my Roam card is lost is it"]), USUAL, among=False).to_list() == ["many"]
    assert shift.rare_words(pl.Series(["my Roam card is lost"]), USUAL, among=False).to_list() == ["few"]


def test_a_messages_own_words_do_not_make_themselves_usual():
    once = pl.concat([USUAL, pl.Series(["refund refund refund now"])])
    assert shift.rare_words(once, once, among=True).to_list()[-1] == "many"
    assert shift.rare_words(once[-1:], once, among=False).to_list() == ["many"]
    assert shift.rare_words(once.head(6), once, among=True).to_list() == ["many"] * 6
    assert shift.rare_words(USUAL, USUAL, among=False).to_list() == ["few"] * 6


def test_one_foreign_message_in_ten_is_found_where_lengths_see_nothing():
    rng = np.random.default_rng(0)
    words = [f"{first}{second}" for first in "abcdefgh" for second in "abcdefgh"]
    old = pl.Series([" ".join(rng.choice(words, 8)) for _ in range(400)])
    usual = [" ".join(rng.choice(words, 8)) for _ in range(360)]
    new = pl.Series(usual + [" ".join(f"x{word}" for word in rng.choice(words, 8)) for _ in range(40)])
    frames = [
        pl.DataFrame({"characters": side.str.len_chars(), "rare words": shift.rare_words(side, old, among=side is old)})
        for side in (old, new)
    ]
    found = {one.column: one for one in shift.measure(*frames, alpha=0.01)}
    assert found["rare words"].significant
    assert found["rare words"].effect == pytest.approx(0.1, abs=0.02)
    assert found["characters"].effect < 0.2
    same = pl.Series([" ".join(rng.choice(words, 8)) for _ in range(400)])
    again = pl.DataFrame({"characters": same.str.len_chars(), "rare words": shift.rare_words(same, old, among=False)})
    assert not shift.measure(frames[0], again, alpha=0.01)[1].significant
