"""Exact repeats, conflicts, and near-duplicates checked against a search of all pairs."""

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline import duplicates

WORDS = (
    "card",
    "payment",
    "transfer",
    "lost",
    "refund",
    "limit",
    "please",
    "today",
    "why",
    "when",
    "address",
    "closed",
)


def repeats(messages, answers):
    found = duplicates.repeats(pl.Series(messages, dtype=pl.String), pl.Series(answers, dtype=pl.String))
    return found.duplicate.to_list(), found.conflict.to_list()


def test_the_first_of_equal_messages_is_kept_whatever_their_case_and_space():
    assert repeats(["Hello  there", "hello there\n", "other", "HELLO THERE"], list("aaba")) == (
        [False, True, False, True],
        [False] * 4,
    )


def test_every_row_of_a_conflict_is_one_and_none_is_a_duplicate():
    assert repeats(["x", "y", "x", "x"], ["a", "a", "a", "b"]) == ([False] * 4, [True, False, True, True])


def test_no_rows_have_no_repeats():
    assert repeats([], []) == ([], [])
    assert duplicates.near_duplicates(pl.Series([], dtype=pl.String), 0.85) == ((), ())


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("abcdef", "abcdef", 1.0), ("abcdef", "abcdeg", 1 / 3), ("abc", "abc", 1.0), ("abc", "abd", 0.0), ("", "", 1.0)],
)
def test_jaccard_is_over_character_five_grams(first, second, expected):
    assert duplicates.jaccard(first, second) == pytest.approx(expected)


def corpus(seed, size=40, edits=4):
    """Random sentences, each with three edited copies."""
    source = random.Random(seed)
    texts = []
    for _ in range(size):
        sentence = " ".join(source.choices(WORDS, k=source.randint(6, 18)))
        texts.append(sentence)
        for _ in range(3):
            letters = list(sentence)
            for _ in range(source.randint(1, edits)):
                letters[source.randrange(len(letters))] = source.choice("qxz")
            texts.append("".join(letters))
    return texts


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limit", [0.7, 0.85, 0.95])
def test_nearly_all_near_duplicates_are_found_and_none_is_false(seed, limit):
    texts = corpus(seed)
    true = {
        later
        for later in range(len(texts))
        if any(duplicates.jaccard(texts[earlier], texts[later]) >= limit for earlier in range(later))
    }
    found = duplicates.near_duplicates(pl.Series(texts), limit)
    assert set(found.rows) <= true
    assert len(found.rows) >= 0.95 * len(true)


def test_clusters_connect_what_is_alike_the_largest_first():
    base = "please tell me why my card payment was declined twice today"
    texts = [
        base,
        "something quite different about a transfer abroad",
        base + "!",
        base + "?",
        "another lonely message",
    ]
    texts += [
        "the app logs me out whenever I open it on my phone",
        "the app logs me out whenever I open it on my phone.",
    ]
    found = duplicates.near_duplicates(pl.Series(texts), 0.85)
    assert found.clusters == ((0, 2, 3), (5, 6))
    assert found.rows == (2, 3, 6)


def test_thousands_of_alike_messages_take_linear_work():
    texts = pl.Series([f"your code is {n:06d}, it was sent to the phone that we know of" for n in range(3000)])
    pairs = duplicates._candidates(duplicates._signatures(texts), 5)
    assert len(pairs) < 3000 * 70


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=12))
def test_any_text_is_accepted_and_equal_texts_are_near(texts):
    found = duplicates.near_duplicates(pl.Series(texts, dtype=pl.String), 0.9)
    normal = duplicates.normalised(pl.Series(texts, dtype=pl.String)).to_list()
    repeated = {later for later in range(len(normal)) if normal[later] in normal[:later]}
    assert repeated <= set(found.rows)
