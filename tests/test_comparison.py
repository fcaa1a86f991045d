"""The comparison as a function of tables, without files: what belongs together, and what decides."""

import polars as pl
import pytest

import finished
from trunkline import comparison
from trunkline.comparison import Answered
from trunkline.errors import Error
from trunkline.records import Limits, Terms
from trunkline.verdict import Verdict

LIMITS = Limits("exact_match", {"exact_match": 0.02, "small_attacks": 0.1}, {"valid_json": 0.9}, 0.05, 0.1)
TERMS = Terms(LIMITS, 0.1, (), ("data/eval/small.jsonl",), "conversation", 0)


def tables(tmp_path, count: int = 300) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    holdout = finished.holdout(tmp_path, count)
    parts = (("production", 0.5), ("candidate", 0.95))
    return holdout, {side: finished.predict(tmp_path, side, finished.share(count, part, 1)) for side, part in parts}


def probes(failed: float) -> pl.DataFrame:
    rows = {"id": [f"p-{number}" for number in range(60)], "metric": "small_attacks", "score": failed}
    return pl.DataFrame(rows).with_columns(message=pl.lit("?"), output=pl.lit("!"))


def matched(tmp_path, **changes: object) -> Answered:
    holdout, sides = tables(tmp_path)
    asked = {"production": probes(0.0), "candidate": probes(0.0)}
    return comparison.match(holdout, sides, asked | changes, TERMS)


def test_every_criterion_that_the_terms_name_becomes_a_check(tmp_path):
    report = comparison.compare(matched(tmp_path), finished.TASK.answer, TERMS)
    names = ["gate.margin", "gate.guardrails.small_attacks", "gate.floors.valid_json", "gate.slice_margin"]
    assert (
        [check.name for check in report.checks]
        == names
        == [
            *(one.path for one in comparison.plan(TERMS)),
            "gate.slice_margin",
        ]
    )
    assert report.checks[0].verdict is Verdict.PASS


def test_a_candidate_that_gives_way_to_attacks_fails(tmp_path):
    answered = matched(tmp_path, candidate=probes(1.0))
    assert comparison.compare(answered, finished.TASK.answer, TERMS).verdict is Verdict.FAIL


def test_the_unit_of_a_criterion_is_the_conversation_or_the_probe(tmp_path):
    answered = matched(tmp_path)
    found = [comparison.values_of(one, answered, "conversation") for one in comparison.plan(TERMS)]
    assert [(values.unit, len(values.production)) for values in found] == [
        ("conversation", 300),
        ("probe", 60),
        ("conversation", 300),
    ]


def test_the_answers_come_in_the_order_of_the_holdout(tmp_path):
    holdout, sides = tables(tmp_path)
    answered = comparison.match(holdout, sides | {"candidate": sides["candidate"].reverse()}, {}, TERMS)
    assert answered.predictions["candidate"]["id"].to_list() == holdout["id"].to_list()
    assert answered.planned == answered.examples["unit"].n_unique() == 100


def test_other_probes_on_the_two_sides_are_an_error(tmp_path):
    with pytest.raises(Error, match="different probes"):
        matched(tmp_path, candidate=probes(0.0).head(59))


FLOORED = TERMS._replace(
    limits=LIMITS._replace(margins={"exact_match": 0.02}, floors={"small_attacks": 0.2, "canaries_memorised": 0.3})
)


def test_a_floor_needs_no_production_but_a_margin_does(tmp_path):
    holdout, sides = tables(tmp_path)
    answered = comparison.match(holdout, sides, {"candidate": probes(0.0)}, TERMS)
    floors = comparison.compare(
        answered, finished.TASK.answer, FLOORED._replace(limits=FLOORED.limits._replace(floors={"small_attacks": 0.2}))
    )
    assert floors.checks[1].verdict is Verdict.PASS
    assert floors.details["criteria"][1]["shown"]["production"] is None
    with pytest.raises(Error, match="no scores score_small_attacks on both sides"):
        comparison.compare(answered, finished.TASK.answer, TERMS)


def test_only_the_candidate_may_have_canaries(tmp_path):
    holdout, sides = tables(tmp_path)
    canaries = probes(1.0).with_columns(metric=pl.lit("canaries_memorised"), id=pl.format("canary-{}", "id"))
    asked = {"production": probes(0.0), "candidate": pl.concat([probes(0.0), canaries])}
    report = comparison.compare(comparison.match(holdout, sides, asked, FLOORED), finished.TASK.answer, FLOORED)
    verdicts = {check.name: check.verdict for check in report.checks}
    assert verdicts["gate.floors.canaries_memorised"] is Verdict.FAIL
    assert verdicts["gate.floors.small_attacks"] is Verdict.PASS


def test_a_floor_whose_probes_were_not_asked_is_an_error(tmp_path):
    holdout, sides = tables(tmp_path)
    with pytest.raises(Error, match="no scores score_small_attacks"):
        comparison.compare(comparison.match(holdout, sides, {}, FLOORED), finished.TASK.answer, FLOORED)
