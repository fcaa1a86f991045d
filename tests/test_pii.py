"""Personal data: found where it is, and nowhere else."""

import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline import pii


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail bob.smith+x@mail.example.co.uk, please", "mail <EMAIL>, please"),
        ("(ann@example.com)", "(<EMAIL>)"),
        ("jörg@bücher.example", "<EMAIL>"),
        ("IBAN DE89 3704 0044 0532 0130 00 thanks", "IBAN <IBAN> thanks"),
        ("de89370400440532013000.", "<IBAN>."),
        ("at 12 GB29-NWBK-6016-1331-9268-19", "at 12 <IBAN>"),
        ("FR14 2004 1010 0505 0001 3M02 606", "<IBAN>"),
        ("card 4111 1111 1111 1111 123 exp 12/27", "card <CARD> 123 exp 12/27"),
        ("4111-1111-1111-1111", "<CARD>"),
        ("5500005555555559", "<CARD>"),
        ("amex 3782 822463 10005", "amex <CARD>"),
        ("call +44 7700 900123 now", "call <PHONE> now"),
        ("+49 (0)30 12345678", "<PHONE>"),
        ("+1-202-555-0143.", "<PHONE>."),
        ("+33 6 12 34 56 78 2 times", "<PHONE> 2 times"),
        ("0033 6 12 34 56 78", "<PHONE>"),
        ("my number is 030 12345678", "my number is <PHONE>"),
        ("(212) 555-0143", "<PHONE>"),
        ("mobile 01712345678", "mobile <PHONE>"),
        ("paid 0171 2345678", "paid <PHONE>"),
        ("a@example.com or +49 30 12345678", "<EMAIL> or <PHONE>"),
    ],
)
def test_personal_data_are_masked(text, masked):
    assert pii.mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111112",  # Luhn fails
        "9999 9999 9999 9995",  # Luhn holds, no issuer
        "$4,111,111,111,111,111",
        "4111111111111111.50 EUR",
        "ORD4111111111111111",
        "DE89 3704 0044 0532 0130 01",  # check digits fail
        "order 2125550143",
        "order 01712345678",
        "order 0171 2345678",
        "on 01.02.2026 10:30",
        "2026-07-01 10:00:00",
        "from 12/27/2026 to 03/04/2026 12 items",
        "order 2024-118-4432",
        "case 1234-5678-9012",
        "paid 1 234 567.89 EUR",
        "EUR 12,345,678.00",
        "+1000000",
        "txn 20260701123456789",
        "me@home and @support",
        "",
    ],
)
def test_amounts_dates_and_order_numbers_are_left_alone(text):
    assert pii.mask(text) == text
    assert pii.find(text) == ()


def test_find_tells_what_is_where():
    text = "a@example.com, card 4111 1111 1111 1111"
    found = pii.find(text)
    assert [(match.kind, text[match.start : match.end]) for match in found] == [
        ("email", "a@example.com"),
        ("card", "4111 1111 1111 1111"),
    ]


def test_only_the_kinds_asked_for_are_looked_for():
    text = "a@example.com or +49 30 12345678"
    assert pii.mask(text, ("phone",)) == "a@example.com or <PHONE>"
    assert pii.mask(text, ()) == text


PIECES = st.one_of(
    st.sampled_from(
        [
            "a@example.com",
            "+49 30 12345678",
            "4111 1111 1111 1111",
            "DE89 3704 0044 0532 0130 00",
            "0171 2345678",
            "212-555-0143",
            "<CARD>",
            "+",
            "@",
            "00",
            " ",
        ]
    ),
    st.text(alphabet="0123456789 +-.()@aBx,/", max_size=12),
)
MESSAGES = st.lists(PIECES, max_size=6).map("".join)


@settings(max_examples=400, deadline=None)
@given(MESSAGES)
def test_masking_again_changes_nothing(text):
    once = pii.mask(text)
    assert pii.mask(once) == once


@settings(max_examples=400, deadline=None)
@given(MESSAGES)
def test_matches_are_ordered_and_apart(text):
    edges = [edge for match in pii.find(text) for edge in (match.start, match.end)]
    assert edges == sorted(edges)
    assert all(match.start < match.end <= len(text) for match in pii.find(text))


@settings(max_examples=300, deadline=None)
@given(st.lists(MESSAGES, max_size=5), st.sets(st.sampled_from(pii.ALL)))
def test_a_column_is_masked_like_its_texts(texts, kinds):
    kinds = tuple(kinds)
    column = pl.Series(texts, dtype=pl.String)
    masked = pii.mask_column(column, kinds)
    assert masked.texts.to_list() == [pii.mask(text, kinds) for text in texts]
    assert masked.held.to_list() == [bool(pii.find(text, kinds)) for text in texts]
    assert set(masked.counts) == set(kinds)
    assert column.to_list() == texts, "the column that was given is not changed"


def test_a_column_may_have_nulls_and_counts_every_match():
    masked = pii.mask_column(pl.Series(["a@example.com b@example.com", None, "x"]))
    assert masked.texts.to_list() == ["<EMAIL> <EMAIL>", None, "x"]
    assert masked.held.to_list() == [True, False, False]
    assert masked.counts == {"email": 2, "iban": 0, "card": 0, "phone": 0}


@pytest.mark.parametrize(
    "text", ["a" * 50_000 + "@", "a." * 25_000 + "@b", "1 " * 25_000, "+1(" * 20_000, "aa11" * 9_000]
)
def test_no_text_takes_quadratic_time(text):
    pii.mask(text)


def test_every_kind_has_its_mask():
    assert {re.sub("[<>]", "", pii.mask(t)) for t in ("a@example.com", "+49 30 12345678")} == {"EMAIL", "PHONE"}


def test_what_was_masked_before_is_told_and_masking_is_found_by_it():
    texts = pl.Series(["write to ann@example.com", "nothing", None, "<email> is no mask", "<CARD>"])
    masked = pii.mask_column(texts)
    assert pii.masked_before(texts).to_list() == [False, False, False, False, True]
    assert pii.masked_before(masked.texts).to_list() == [True, False, False, False, True]
    assert pii.masked_before(texts, ["email"]).to_list() == [False] * 5
    assert pii.masked_before(texts, []).to_list() == [False] * 5
