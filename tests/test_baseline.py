"""The bag of words that an LLM must beat."""

import json

import pytest

from trunkline import baseline
from trunkline.records import Answer

CLASSES = {"card_lost": "I lost my card {}", "fee": "why this fee of {}", "login": "cannot log in since {}"}
INPUTS = [text.format(number) for number in range(12) for text in CLASSES.values()]
LABELS = list(CLASSES) * 12
URGENCY = ["high" if number % 2 else "low" for number in range(36)]
HELD_OUT = ["my card is lost", "a fee was taken", "the log in fails"]
LABEL = Answer(format="label", fields=("intent",), allowed={"intent": tuple(CLASSES)})
JSON = Answer(
    format="json", fields=("intent", "urgency"), allowed={"intent": tuple(CLASSES), "urgency": ("low", "high")}
)


def test_labels_are_learned_from_their_words():
    assert baseline.predict(INPUTS, LABELS, HELD_OUT, LABEL) == list(CLASSES)


def test_each_field_of_an_object_is_learned_by_itself():
    answers = [json.dumps({"intent": i, "urgency": u}) for i, u in zip(LABELS, URGENCY, strict=True)]
    found = [json.loads(answer) for answer in baseline.predict(INPUTS, answers, HELD_OUT, JSON)]
    assert [answer["intent"] for answer in found] == list(CLASSES)
    assert all(list(answer) == ["intent", "urgency"] for answer in found)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(format="text", fields=("reply",), allowed={}),
        Answer(format="label", fields=("intent",), allowed={}),
        Answer(format="json", fields=("reply",), allowed={}),
    ],
    ids=["text", "open label", "only open fields"],
)
def test_free_text_has_no_baseline(answer):
    answers = [json.dumps({"reply": label}) for label in LABELS] if answer.format == "json" else LABELS
    assert baseline.predict(INPUTS, answers, HELD_OUT, answer) is None


@pytest.mark.parametrize(
    ("values", "expected"), [(["none"] * 25 + ["£5"] * 11, "none"), ([1] * 20 + [True] * 16, 1), ([None] * 36, None)]
)
def test_a_bag_of_words_cannot_copy_so_an_open_field_gets_its_most_frequent_value(values, expected):
    answer = Answer(format="json", fields=("intent", "amount"), allowed={"intent": tuple(CLASSES)})
    answers = [json.dumps({"intent": i, "amount": a}) for i, a in zip(LABELS, values, strict=True)]
    found = [json.loads(text) for text in baseline.predict(INPUTS, answers, HELD_OUT, answer)]
    assert [one["intent"] for one in found] == list(CLASSES)
    assert all(one["amount"] is expected or one["amount"] == expected for one in found)
    assert [type(one["amount"]) for one in found] == [type(expected)] * 3


def test_a_single_class_is_predicted_everywhere():
    assert baseline.predict(["a b", "c d"], ["fee", "fee"], ["x"], LABEL) == ["fee"]


def test_inputs_without_words_do_not_stop_it():
    assert set(baseline.predict(["?", "!", "?"], ["fee", "login", "fee"], ["…", "?"], LABEL)) <= set(CLASSES)


def test_training_answers_that_are_no_answers_are_left_out():
    assert baseline.predict(INPUTS, ["not json"] * 36, HELD_OUT, JSON) is None


def test_it_is_the_same_every_time():
    assert baseline.predict(INPUTS, URGENCY, HELD_OUT, LABEL) == baseline.predict(INPUTS, URGENCY, HELD_OUT, LABEL)
