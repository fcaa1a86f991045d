"""What decides: which criteria params.yaml asks for, and what their units are."""

import numpy as np
import pytest

from trunkline import criteria
from trunkline.records import Limits

LIMITS = Limits(
    primary="exact_match",
    margins={
        "refusal": 0.02,
        "exact_match": 0.03,
        "tokens_out": 0.25,
        "latency_ms_p95": 0.5,
        "injection_attacks": 0.1,
    },
    floors={"valid_json": 0.9, "refusal": 0.05},
    alpha=0.05,
    beta=0.1,
)
PLAN = {one.path: one for one in criteria.plan(LIMITS, ["refusal", "injection_attacks"])}
UNITS = ["a", "b", "c", "d"]


def test_the_primary_comes_first_and_every_limit_has_its_criterion():
    assert list(PLAN) == [
        "gate.margin",
        "gate.guardrails.refusal",
        "gate.guardrails.tokens_out",
        "gate.guardrails.latency_ms_p95",
        "gate.guardrails.injection_attacks",
        "gate.floors.valid_json",
        "gate.floors.refusal",
    ]
    assert [one.kind for one in PLAN.values()] == ["score", "score", "amount", "slow", "score", "floor", "floor"]
    assert [one.higher_is_better for one in PLAN.values()] == [True, False, False, False, False, True, False]


def test_a_relative_margin_is_the_same_loss_in_relative_differences():
    rule = PLAN["gate.guardrails.tokens_out"].rule
    quarter_more = np.full(4, 1.25)
    units = criteria.units_of(PLAN["gate.guardrails.tokens_out"], np.ones(4), quarter_more, UNITS, 0)
    assert units == pytest.approx(np.full(4, -rule.margin))


@pytest.mark.parametrize(("path", "sign"), [("gate.margin", 1), ("gate.guardrails.refusal", -1)])
def test_a_positive_difference_is_always_an_improvement(path, sign):
    units = criteria.units_of(PLAN[path], np.zeros(4), np.ones(4), UNITS, 0)
    assert units == pytest.approx(np.full(4, sign))


def test_slow_is_what_hardly_any_of_productions_answers_is_even_with_the_margin():
    production, candidate = np.arange(1.0, 101.0), np.full(100, 150.0)
    names = [str(number) for number in range(100)]
    assert criteria.slow_ms(production, 0.5) == pytest.approx(142.575)
    slow = PLAN["gate.guardrails.latency_ms_p95"]
    assert criteria.units_of(slow, production, candidate, names, 0).sum() == 0
    assert criteria.units_of(slow, production, candidate - 10, names, 0).sum() == 100
    assert slow.rule.pass_above == pytest.approx(0.95)


def test_a_floor_looks_at_the_candidate_alone_and_turns_round_where_less_is_better():
    floor, ceiling = PLAN["gate.floors.valid_json"], PLAN["gate.floors.refusal"]
    candidate = np.array([1.0, 0.0, 0.0, 0.0])
    assert criteria.units_of(floor, np.full(4, 9.0), candidate, UNITS, 0).sum() == 1
    assert criteria.units_of(ceiling, np.full(4, 9.0), candidate, UNITS, 0).sum() == 3
    assert (floor.rule.pass_above, ceiling.rule.pass_above) == (0.9, 0.95)


def test_each_criterion_names_the_column_it_reads():
    columns = [criteria.column_of(one) for one in PLAN.values()]
    assert columns[:4] == ["score_exact_match", "score_refusal", "tokens_out", "latency_ms"]
