"""Scorers: what each built-in one counts, and how a user adds one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import scoring
from trunkline.errors import Error
from trunkline.records import Answer, Task

ALLOWED = {"intent": ("card_lost", "fee"), "urgency": ("low", "high")}
RIGHT = '{"intent": "card_lost", "urgency": "high"}'


def task(kind: str) -> Task:
    fields = ("intent", "urgency") if kind == "json" else ("intent",)
    allowed = {field: ALLOWED[field] for field in fields} if kind != "text" else {}
    answer = Answer(format=kind, fields=fields, allowed=allowed)
    return Task(prompt_id="p", template="", variables={}, transforms=(), answer=answer)


JSON, LABEL, TEXT = task("json"), task("label"), task("text")


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(scoring, "_REGISTRY", dict(scoring._REGISTRY))


@pytest.mark.parametrize(
    ("output", "exact", "valid", "fields"),
    [
        (RIGHT, 1, 1, 1),
        ('{"urgency":"high","intent":"card_lost"}', 1, 1, 1),
        ('{"intent": "card_lost", "urgency": "low"}', 0, 1, 0.5),
        ('{"intent": "card_lost", "urgency": "high", "note": 1}', 0, 1, 1),
        ('{"intent": "card_lost"}', 0, 0, 0.5),
        (f"Sure! {RIGHT}", 0, 0, 0),
        (f"[{RIGHT}]", 0, 0, 0),
        ('{"intent": NaN, "urgency": Infinity}', 0, 0, 0),
        ('{"intent": ["card_lost"], "urgency": null}', 0, 1, 0),
        ("[" * 100_000, 0, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_json_answers(output, exact, valid, fields):
    assert scoring.exact_match(RIGHT, output, JSON) == exact
    assert scoring.valid_json(RIGHT, output, JSON) == valid
    assert scoring.field_accuracy(RIGHT, output, JSON) == fields


def test_json_tells_true_from_one():
    assert scoring.exact_match('{"a": 1}', '{"a": true}', JSON) == 0


def test_text_and_labels_match_when_their_stripped_text_is_equal():
    assert scoring.exact_match("card_lost", " card_lost\n", LABEL) == 1
    assert scoring.exact_match("card_lost", "Card_lost", LABEL) == 0
    assert scoring.exact_match("We are sorry.", "We are sorry. ", TEXT) == 1


def test_what_is_for_json_does_not_apply_to_other_answers():
    assert scoring.valid_json("card_lost", "card_lost", LABEL) is None
    assert scoring.field_accuracy("hello", "hello", TEXT) is None


def test_label_f1_needs_every_closed_field():
    assert scoring.label_f1(RIGHT, '{"intent": "card_lost", "urgency": "high", "note": "x"}', JSON) == 1
    assert scoring.label_f1(RIGHT, '{"intent": "card_lost"}', JSON) == 0
    assert scoring.label_f1("fee", " fee ", LABEL) == 1
    assert scoring.label_f1("hello", "hello", TEXT) is None


@pytest.mark.parametrize(
    ("answer", "output", "expected"),
    [
        ("police killed the gunman", "police kill the gunman", 0.75),  # the paper's example
        ("police killed the gunman", "the gunman kill police", 0.5),
        ("The card, please!", "the CARD please", 1),
        ("card", "", 0),
        ("?!", "card", None),
    ],
)
def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence(answer, output, expected):
    assert scoring.rouge_l(answer, output, TEXT) == expected


@given(st.text(), st.text())
def test_rouge_l_is_symmetric_and_between_0_and_1(one, other):
    forth, back = scoring.rouge_l(one, other, TEXT), scoring.rouge_l(other, one, TEXT)
    if forth is not None and back is not None:
        assert forth == back
        assert 0 <= forth <= 1


@pytest.mark.parametrize(
    "output",
    [
        "I'm sorry, but I cannot help with that.",
        "I am unable to provide this information.",
        "As an AI language model, I do not have access to your account.",
        "I\u2019m not able to block a card.",
        "Hello! How can I help you today?",
        "   ",
        "",
    ],
)
def test_refusals_and_evasions_are_recognised(output):
    assert scoring.refusal(RIGHT, output, JSON) == 1
    assert scoring.refusal("Your card is blocked.", output, TEXT) == 1


@pytest.mark.parametrize("output", [RIGHT, '{"intent": "I am sorry"}', "Your card is blocked.", "card_lost"])
def test_an_answer_is_no_refusal(output):
    assert scoring.refusal(RIGHT, output, JSON) == 0


def test_a_refusal_late_in_a_long_answer_is_an_answer():
    assert scoring.refusal("x", "Your card is blocked. " * 20 + "I am sorry.", TEXT) == 0


def test_where_the_reference_declines_a_refusal_is_not_judged():
    assert scoring.refusal("I am sorry, we cannot change that.", "I am unable to.", TEXT) is None


@given(st.text(), st.text(), st.sampled_from([JSON, LABEL, TEXT]))
def test_every_built_in_scorer_takes_any_text(answer, output, kind):
    for scorer in scoring.find(["exact_match", "valid_json", "field_accuracy", "label_f1", "rouge_l", "refusal"]):
        value = scoring.score(scorer, answer, output, kind, "m-1")
        assert value is None or 0 <= value <= 1


@given(st.dictionaries(st.sampled_from(["intent", "urgency"]), st.text(), min_size=2))
def test_an_answer_matches_itself_however_it_is_written(fields):
    answer = json.dumps(fields)
    output = json.dumps(fields, ensure_ascii=False, indent=1, sort_keys=True)
    assert scoring.exact_match(answer, output, JSON) == 1


def test_only_the_first_of_two_objects_is_not_an_answer():
    assert scoring.parse(RIGHT + RIGHT) is None


def test_a_users_scorer_is_found_by_its_name(registry):
    @scoring.scorer("polite", higher_is_better=True)
    def polite(answer: str, output: str, task: Task) -> float | None:
        return float("please" in output)

    (found,) = scoring.find(["polite"])
    assert scoring.score(found, "", "please", TEXT, "m-1") == 1
    assert (found.aggregate, found.higher_is_better) == ("mean", True)


def test_a_taken_name_is_refused_but_the_same_source_may_be_imported_again(registry):
    def register(value: float):
        if value:

            @scoring.scorer("twice")
            def twice(answer: str, output: str, task: Task) -> float:
                return 1.0

        else:

            @scoring.scorer("twice")
            def other(answer: str, output: str, task: Task) -> float:
                return 0.0

    register(1)
    register(1)
    with pytest.raises(Error, match="'twice' is registered twice"):
        register(0)
    with pytest.raises(Error, match="'exact_match' is registered twice"):
        scoring.scorer("exact_match")(lambda answer, output, task: 1.0)


@pytest.mark.parametrize("name", ["", "Exact", "exact match", "../x", "1st"])
def test_a_name_that_is_no_column_name_is_refused(name):
    with pytest.raises(Error, match="is not lower case letters, digits and underscores"):
        scoring.scorer(name)(lambda answer, output, task: 1.0)


def test_unknown_names_are_told_with_the_known_ones():
    with pytest.raises(Error, match=r"unknown scorers \['bleu'\]; known: exact_match, field_accuracy, label_f1, nll"):
        scoring.find(["exact_match", "bleu"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", [1.0]])
def test_a_scorer_must_return_a_finite_number(registry, value):
    scoring.scorer("odd")(lambda answer, output, task: value)
    with pytest.raises(Error, match="scorer 'odd' returns .* on example 'm-7'"):
        scoring.score(scoring.find(["odd"])[0], "", "", TEXT, "m-7")


def test_what_a_scorer_raises_is_told_with_the_example(registry):
    scoring.scorer("odd")(lambda answer, output, task: 1 / 0)
    with pytest.raises(Error, match="scorer 'odd' fails on example 'm-7': ZeroDivisionError"):
        scoring.score(scoring.find(["odd"])[0], "", "", TEXT, "m-7")
