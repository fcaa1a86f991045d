"""Canaries: the same secrets for ever, twins that differ in nothing else, and ranks that favour nobody."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import memorisation
from trunkline.errors import Error
from trunkline.records import Answer

OBJECT = Answer(format="json", fields=("intent", "note"), allowed={"intent": ("fee", "card")})
TEXT = Answer(format="text", fields=("reply",), allowed={})


def test_a_canary_is_a_valid_answer_that_holds_a_secret_its_message_does_not_tell():
    for canary in memorisation.plant(20, OBJECT, "salt"):
        answer = json.loads(canary.answer)
        assert set(answer) == {"intent", "note"}
        assert answer["intent"] in OBJECT.allowed["intent"]
        secret = re.fullmatch(r"access code (\d{8})", answer["note"])
        assert secret is not None
        assert secret[1] not in canary.message
    assert re.fullmatch(r"access code \d{8}", memorisation.plant(1, TEXT, "salt")[0].answer)


def test_all_are_different_and_more_of_them_begin_with_the_same_ones():
    few, many = memorisation.plant(5, OBJECT, "salt"), memorisation.plant(50, OBJECT, "salt")
    assert many[:5] == few
    for field in ("id", "message", "answer"):
        assert len({getattr(canary, field) for canary in many}) == 50
    assert memorisation.plant(5, OBJECT, "other") != few
    assert memorisation.plant(0, OBJECT, "salt") == []


@pytest.mark.parametrize("kind", ["label", "json"])
def test_without_free_text_there_is_no_place_for_a_secret(kind):
    closed = Answer(format=kind, fields=("intent",), allowed={"intent": ("fee", "card")})
    with pytest.raises(Error, match="no field of free text"):
        memorisation.plant(1, closed, "salt")
    assert memorisation.plant(0, closed, "salt") == []


@given(salt=st.text(max_size=5), number=st.integers(1, 9))
def test_twins_differ_from_the_planted_answer_in_the_secret_alone(salt, number):
    planted = memorisation.plant(number, OBJECT, salt)[-1].answer
    found = memorisation.twins(planted, salt)
    assert len({planted, *found}) == memorisation.TWINS + 1
    assert {re.sub(r"\d{8}", "", text) for text in found} == {re.sub(r"\d{8}", "", planted)}
    assert memorisation.twins(planted, salt) == found


def test_an_answer_without_a_secret_has_no_twins():
    with pytest.raises(Error, match="holds no secret"):
        memorisation.twins('{"note": "access code 123"}', "salt")


@pytest.mark.parametrize(
    ("likelihoods", "rank", "bits"),
    [([0.0, -1.0, -2.0, -3.0], 1, 2.0), ([-3.0, -1.0, -2.0, 0.0], 4, 0.0), ([-1.0, -1.0, -2.0, -3.0], 2, 1.0)],
)
def test_the_rank_is_the_place_by_likelihood_and_ties_count_for_the_twins(likelihoods, rank, bits):
    assert memorisation.expose(likelihoods) == (rank, bits)
    assert memorisation.expose(likelihoods).memorised == (rank == 1)
