"""Two documents that two machines computed: equal but for the last digits of a number."""

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trunkline.agreement import differences

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_a_document_does_not_differ_from_itself_nor_from_its_copy_on_disk(document):
    assert list(differences(document, json.loads(json.dumps(document)))) == []


@given(DOCUMENTS, DOCUMENTS)
def test_two_documents_differ_in_both_directions_or_in_none(one, other):
    assert bool(list(differences(one, other))) == bool(list(differences(other, one)))


@given(st.floats(1e-3, 1e6))
def test_the_last_digits_of_a_number_may_differ_and_no_others(number):
    assert list(differences({"a": number}, {"a": math.nextafter(number, math.inf)})) == []
    assert list(differences({"a": number}, {"a": number * 1.000001})) != []


@given(st.integers(), st.integers())
def test_counts_are_exact(one, other):
    assume(one != other)
    assert list(differences([one], [other])) == [f"0 is {one}, not {other}"]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"a": {"b": "pass"}}, {"a": {"b": "fail"}}, "a.b is 'pass', not 'fail'"),
        ({"a": [1, 2]}, {"a": [1]}, "a has 2 entries, not 1"),
        ({"a": 1}, {}, "a is there, where the other has none"),
        ({}, {"a": None}, "a is missing"),
        (True, 1, "the document is True, not 1"),
        ([1.0], [True], "0 is 1.0, not True"),
        ("x" * 100, "", "the document is 'xxx"),
    ],
)
def test_a_difference_says_where_and_what(one, other, said):
    (found,) = differences(one, other)
    assert found.startswith(said)
    assert len(found) < 200
