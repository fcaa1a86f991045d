"""A judge in plain functions: data stay data, verdicts are read strictly, and only a judge that people agree with
decides."""

import json
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_drift import rule, seen
from trunkline.drift import judging, signals
from trunkline.errors import Error
from trunkline.judge import calibration, found, prompt
from trunkline.judge.calibration import Both, Calibration
from trunkline.judge.found import Hearing, Terms
from trunkline.records.judgement import Judge
from trunkline.records.serving import Completion
from trunkline.verdict import Verdict

TEMPLATE = """{% block system %}An answer is right if it names one of: {{ intent | join(", ") }}.{% endblock %}
{% block user %}<message>
{{ message }}
</message>
<answer>
{{ answer }}
</answer>
Is the answer right? Say 1 or 0.{% endblock %}"""
VARIABLES = {"intent": ("card_lost", "fee_question")}
JUDGE = Judge(model="large", said="large-2026-08", fingerprint="fp_1", prompt="0123456789ab")
TERMS = Terms(agreement=0.7, unreadable=0.05, decides=JUDGE.id)


# --- what it is asked


@settings(max_examples=40)
@given(message=st.text(max_size=60), answer=st.text(max_size=60))
def test_no_text_leaves_its_place_whatever_it_holds(message, answer):
    """One JSON string on a line of its own: no quote ends it, no line begins in it, no tag or special token is left."""
    system, user = prompt.render(TEMPLATE, VARIABLES, message, answer)
    lines = user["content"].split("\n")
    assert [lines[place] for place in (0, 2, 3, 5, 6)] == [
        *("<message>", "</message>", "<answer>", "</answer>"),
        "Is the answer right? Say 1 or 0.",
    ]
    assert [json.loads(lines[place]) for place in (1, 4)] == [message, answer]
    for place in (1, 4):
        assert not set("<>&\u2028\u2029\x85") & set(lines[place])
        assert len(lines[place].splitlines()) == 1
    assert system == {"role": "system", "content": "An answer is right if it names one of: card_lost, fee_question."}


@given(st.text(alphabet=st.sampled_from("{}%# a1message")))
def test_a_text_is_never_a_template(text):
    _, user = prompt.render(TEMPLATE, VARIABLES, text, "{{ intent }}{% raw %}")
    lines = user["content"].split("\n")
    assert (json.loads(lines[1]), json.loads(lines[4])) == (text, "{{ intent }}{% raw %}")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% block user %}{{ message }}{% endblock %}", "does not use answer"),
        ("{{ message }} {{ answer }}", "has the blocks"),
        ("{% block user %}{{ message }}{{ answer }}{{ hidden }}{% endblock %}", "'hidden' is undefined"),
        ("{% block user %}{{ message }}{{ answer }", "not valid jinja2"),
        ("{% block user %}{{ message }}{{ answer }}{{ message.__class__.mro() }}{% endblock %}", "unsafe"),
    ],
)
def test_a_template_that_cannot_ask_is_an_error_with_its_remedy(template, said):
    with pytest.raises(Error, match=said) as caught:
        prompt.render(template, VARIABLES, "m", "a")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "finish", "read"),
    [
        ("1", "eos_token", 1.0),
        (" 0\n", "eos_token", 0.0),
        ("1", "length", None),
        ("0", "content_filter", None),
        ("", "eos_token", None),
        ("10", "eos_token", None),
        ("1.0", "eos_token", None),
        ("\u00b9", "eos_token", None),
        ("\u0661", "eos_token", None),
        ("The answer is right: 1", "eos_token", None),
        ("0 or 1", "eos_token", None),
        ('{"verdict": 1}', "eos_token", None),
    ],
)
def test_a_verdict_is_one_digit_and_nothing_else(text, finish, read):
    assert prompt.verdict(Completion(text=text, finish=finish, latency_ms=1.0)) == read


def test_another_model_answer_fingerprint_or_prompt_is_another_judge():
    changes = {"model": "small", "said": "large-2026-09", "fingerprint": None, "prompt": "ba9876543210"}
    ids = {JUDGE.id, *(JUDGE.model_copy(update={name: value}).id for name, value in changes.items())}
    assert len(ids) == 5
    assert Judge.model_validate_json(JUDGE.model_dump_json()).id == JUDGE.id
    assert re.fullmatch(r"judge:[0-9a-f]{12}", JUDGE.source)


def test_names_that_a_provider_tells_are_one_short_line():
    answer = Completion(text="1", finish="eos_token", latency_ms=1.0, model="a\nb\x1b[31m" * 99, fingerprint=None)
    told = prompt.identified("large", "0123456789ab", answer)
    assert told.said is not None and len(told.said) == 200 and told.said.isprintable()


def test_a_smaller_sample_is_part_of_a_larger_one_whatever_the_order():
    ids = [f"p-{number}" for number in range(200)]
    few, many = prompt.drawn(ids, 20), prompt.drawn(reversed(ids), 80)
    assert few == many[:20]
    assert set(ids[:20]) != set(few)


# --- whether people agree with it


def judged(right: tuple[int, int], wrong: tuple[int, int]) -> Calibration:
    """Of so many answers that people call right, and wrong, the judge agrees on so many."""
    rows = []
    for people, (agreed, count) in ((True, right), (False, wrong)):
        rows += [Both(f"{people}-{row}", people, people is (row < agreed)) for row in range(count)]
    return calibration.calibrate(rows, 0.95)


@pytest.mark.parametrize(
    ("right", "wrong", "holds"),
    [
        ((95, 100), (45, 50), True),
        ((95, 100), (5, 5), False),  # too few that people call wrong
        ((95, 100), (0, 0), False),
        ((0, 0), (0, 0), False),
        ((100, 100), (0, 50), False),  # calls everything right
        ((50, 100), (50, 50), False),
        ((74, 100), (50, 50), False),  # 74 % may be less than 70 %
    ],
)
def test_a_judge_is_calibrated_where_its_agreement_is_shown_on_right_and_on_wrong_answers(right, wrong, holds):
    assert judged(right, wrong).holds(0.7) is holds


def test_many_answers_of_one_conversation_prove_no_more_than_one():
    one = [Both("same", people, people) for people in (True, False) for _ in range(500)]
    assert not calibration.calibrate(one, 0.95).holds(0.7)


@given(sensitivity=st.integers(55, 100), specificity=st.integers(55, 100), wrong=st.floats(0, 1, allow_subnormal=False))
def test_without_the_judges_errors_the_share_of_wrong_answers_is_the_true_one(sensitivity, specificity, wrong):
    called = wrong * specificity / 100 + (1 - wrong) * (1 - sensitivity / 100)
    assert judged((sensitivity, 100), (specificity, 100)).corrected(called) == pytest.approx(wrong, abs=1e-9)


def test_verdicts_that_say_nothing_are_not_corrected():
    assert judged((50, 100), (50, 100)).corrected(0.5) is None
    assert judged((9, 10), (0, 0)).corrected(0.5) is None


# --- what its verdicts count for


def heard(**changes: object) -> Hearing:
    plain = Hearing(
        judge=JUDGE,
        drawn=100,
        read=100,
        unreadable=0,
        why=None,
        calibration=judged((95, 100), (45, 50)),
        named=JUDGE,
    )
    return plain._replace(**changes)


OTHER = JUDGE.model_copy(update={"said": "large-2026-11", "fingerprint": None})


@pytest.mark.parametrize(
    ("changes", "terms", "state", "said"),
    [
        ({}, {}, "decides", "It agrees with people on 95.0 % (88.7 to 98.4) of 100 that they call right"),
        ({"drawn": 0, "read": 0}, {}, "unmeasured", "no answer of the newest window"),
        ({"judge": None, "why": "it is down"}, {}, "unmeasured", "gives no verdict: it is down."),
        ({"read": 99, "why": "the budget is spent"}, {}, "unmeasured", "99 of 100 conversations: the budget is spent"),
        ({"read": 99}, {}, "unmeasured", "other verdicts came from another judge"),
        ({"read": 94, "unreadable": 6}, {}, "unmeasured", "6 of 100 verdicts"),
        ({"read": 95, "unreadable": 5}, {}, "decides", "5 of 100 verdicts could not be read"),
        ({"calibration": judged((95, 100), (0, 50))}, {}, "shown", "is not calibrated"),
        ({"calibration": judged((0, 0), (0, 0))}, {}, "shown", "People have judged none of the answers"),
        ({}, {"decides": None}, "shown", f"monitor.judge.decides: {JUDGE.id} lets it decide"),
        (
            {"judge": OTHER},
            {},
            "shown",
            "The judge changed: the model that answers is large-2026-11, not large-2026-08; "
            "its fingerprint is not told, not fp_1.",
        ),
        ({"judge": OTHER, "named": None}, {}, "shown", "the log holds no verdict of the one that may decide"),
    ],
)
def test_only_a_whole_sample_by_the_very_judge_that_people_agree_with_decides(changes, terms, state, said):
    standing = found.standing(heard(**changes), TERMS._replace(**terms))
    assert standing.state == state
    assert said in standing.words


@settings(max_examples=50)
@given(
    unreadable=st.integers(0, 50),
    read=st.integers(0, 100),
    right=st.integers(0, 100),
    wrong=st.integers(0, 50),
    judge=st.sampled_from([JUDGE, OTHER, None]),
)
def test_what_decides_was_measured_read_agreed_with_and_named(unreadable, read, right, wrong, judge):
    agreed = judged((right, 100), (wrong, 50))
    case = heard(judge=judge, read=read, unreadable=unreadable, calibration=agreed)
    if found.standing(case, TERMS).state == "decides":
        assert judge == JUDGE
        assert read + unreadable >= 100 and unreadable <= 5
        assert all(one.low >= TERMS.agreement for one in agreed if one is not None)


def test_a_window_that_the_judge_has_not_read_whole_does_not_count():
    """It may have read those that people complained of."""
    ids = [f"p-0-{row}" for row in range(3)]
    window = seen(0, failed=[False] * 3)
    whole = found.with_verdicts(window, ids[:2], {ids[0]: 1.0, ids[1]: None, ids[2]: 0.0}).conversations
    assert whole["judged_wrong"].to_list() == [False, None, None]
    part = found.with_verdicts(window, ids, {ids[0]: 1.0, ids[1]: 0.0}).conversations
    assert part["judged_wrong"].to_list() == [None, None, None]


def windows(shares: list[float], rng: np.random.Generator, size: int = 60) -> list:
    """Windows of which a judge calls so many answers wrong."""
    return [seen(number, judged_wrong=(rng.random(size) < share).tolist()) for number, share in enumerate(shares)]


def first(every: list) -> dict:
    return {"start": pl.concat([one.conversations for one in every[:2]])}


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), now=st.floats(0, 1))
def test_a_judge_that_does_not_decide_is_never_an_alarm_nor_a_pass(seed, now):
    every = windows([0.1, 0.1, 0.1, now], np.random.default_rng(seed))
    shown = found.standing(heard(calibration=judged((95, 100), (0, 50))), TERMS)
    one = found.signal(shown, judged((95, 100), (0, 50)), every, first(every), rule())
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.value is not None and one.reference is not None and one.n == 100
    assert one.sentence.startswith("Shown, not deciding: large (large-2026-08, fp_1), judge")
    others = [signals.unmeasured("drift/pii", "drift", 0, "x"), signals.cost(every, None, rule())]
    for needs in (["drift"], ["quality"], ["cost"]):
        assert signals.verdict_of([*others, one], needs) is signals.verdict_of(others, needs)


def test_without_any_change_a_judge_full_of_errors_alarms_no_more_often_than_alpha():
    """It calls a third of the right answers wrong and misses a third of the wrong ones, and a fifth are wrong."""
    rng, months, alpha = np.random.default_rng(8), 150, 0.9
    called = 0.2 * 2 / 3 + 0.8 / 3
    counts = np.zeros(months)
    for month in range(months):
        every = windows([called] * 6, rng)
        steps = judging.series(
            every[2:], [found.WATCHED], first(every), rule(alpha=alpha, a_month=4.0, together=2, clear=1e-12)
        )
        counts[month] = sum(step.alarm for step in steps[found.KEY])
    assert 0 < counts.mean() <= alpha / 2 + 3 * counts.std() / np.sqrt(months)


def test_a_judge_full_of_errors_still_finds_a_model_that_broke():
    rng = np.random.default_rng(8)
    before, after = (wrong * 2 / 3 + (1 - wrong) / 3 for wrong in (0.1, 0.9))
    every = windows([before, before, after], rng, size=150)
    steps = judging.series(every[2:], [found.WATCHED], first(every), rule())
    assert steps[found.KEY][-1].alarm
