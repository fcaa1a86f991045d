import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline import gate
from trunkline.errors import Error
from trunkline.gate import Rule, betting, sentences
from trunkline.verdict import Verdict

RULE = Rule(margin=0.03, alpha=0.05, beta=0.10)
EVEN = Rule(margin=0.03, alpha=0.05, beta=0.05)
DISCORDANCE = 0.1  # share of units on which the models differ
# As many units as a fixed test of 90 % power needs, times what the betting test may use.
UNITS = int(1.6 * gate.fixed_sample(DISCORDANCE, RULE.margin, RULE))
REPETITIONS = 400

paired = st.lists(st.floats(-1, 1), min_size=1, max_size=200).map(np.array)


def draw(mean: float, rng: np.random.Generator, units: int = UNITS) -> np.ndarray:
    """Differences of -1, 0 and 1 with this mean, as exact match gives them."""
    better, worse = (DISCORDANCE + mean) / 2, (DISCORDANCE - mean) / 2
    at = rng.random(units)
    return np.where(at < better, 1.0, np.where(at < better + worse, -1.0, 0.0))


def repeat(mean: float) -> tuple[list[gate.Decision], float]:
    """Decisions on repeated draws, and the mean sample used as a share of the fixed sample size."""
    rng = np.random.default_rng(7)
    decisions = [gate.decide(draw(mean, rng), RULE) for _ in range(REPETITIONS)]
    fixed = gate.fixed_sample(DISCORDANCE, RULE.margin, RULE)
    return decisions, sum(decision.used for decision in decisions) / REPETITIONS / fixed


def share(decisions: list[gate.Decision], verdict: Verdict) -> float:
    return sum(decision.verdict is verdict for decision in decisions) / len(decisions)


# Three standard errors of a share of 5 % in 400 repetitions are 3.3 points; 10 %, 4.5; 90 %, 4.5.


def test_a_candidate_worse_by_the_margin_passes_at_most_alpha_of_the_time():
    decisions, _ = repeat(-RULE.margin)
    assert share(decisions, Verdict.PASS) <= RULE.alpha + 0.033
    assert share(decisions, Verdict.FAIL) >= 0.90
    assert np.mean([decision.low > -RULE.margin for decision in decisions]) <= RULE.alpha + 0.033


def test_an_equal_candidate_passes_nine_times_of_ten_with_less_than_the_fixed_sample():
    decisions, used = repeat(0.0)
    assert share(decisions, Verdict.PASS) >= 0.90 - 0.045
    assert share(decisions, Verdict.FAIL) <= RULE.beta + 0.045
    assert used <= 0.80
    assert np.mean([decision.high < 0 for decision in decisions]) <= RULE.beta + 0.045


@pytest.mark.parametrize(("mean", "verdict"), [(RULE.margin, Verdict.PASS), (-2 * RULE.margin, Verdict.FAIL)])
def test_a_margin_away_from_a_boundary_is_settled_with_a_third_of_the_fixed_sample(mean, verdict):
    decisions, used = repeat(mean)
    assert share(decisions, verdict) >= 0.98
    assert used <= 0.35


def test_too_small_a_holdout_does_not_pass_a_worse_candidate_either():
    rng = np.random.default_rng(3)
    decisions = [gate.decide(draw(-RULE.margin, rng, units=95), RULE) for _ in range(REPETITIONS)]
    assert share(decisions, Verdict.PASS) <= RULE.alpha + 0.033


def test_the_interval_is_nearly_as_narrow_as_the_normal_one():
    rng = np.random.default_rng(5)
    decision = gate.decide(draw(0.0, rng, units=400), RULE)
    normal = (1.645 + 1.282) * (DISCORDANCE / 400) ** 0.5
    assert decision.low < decision.difference < decision.high
    assert decision.high - decision.low < 1.6 * normal


def test_identical_models_differ_by_nothing_and_pass_once_there_are_enough_units():
    few, many = gate.decide(np.zeros(50), RULE), gate.decide(np.zeros(400), RULE)
    assert few.verdict is Verdict.INCONCLUSIVE
    assert many.verdict is Verdict.PASS
    assert few.difference == many.difference == 0
    assert 0 < many.used < 200


def test_what_is_said_to_be_needed_settles_it():
    rng = np.random.default_rng(11)
    first = draw(0.0, rng, units=300)
    undecided = gate.decide(first, RULE)
    assert undecided.verdict is Verdict.INCONCLUSIVE
    assert undecided.more is not None
    settled = gate.decide(np.concatenate([first, draw(0.0, rng, units=undecided.more)]), RULE)
    assert settled.verdict is Verdict.PASS


def test_gross_differences_are_settled_by_a_few_units():
    better, worse = gate.decide(np.ones(300), RULE), gate.decide(-np.ones(300), RULE)
    assert (better.verdict, worse.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert max(better.used, worse.used) < 20
    assert better.more is worse.more is None


def test_evidence_that_turns_around_later_is_inconclusive():
    assert gate.decide(np.concatenate([np.ones(50), -np.ones(150)]), RULE).verdict is Verdict.INCONCLUSIVE
    assert gate.decide(np.concatenate([-np.ones(50), np.ones(150)]), RULE).verdict is Verdict.INCONCLUSIVE


@given(difference=st.sampled_from([-1.0, 0.0, 1.0]))
def test_one_unit_decides_nothing(difference):
    assert gate.decide(np.array([difference]), RULE).verdict is Verdict.INCONCLUSIVE


@given(difference=paired)
@settings(max_examples=60, deadline=None)
def test_swapping_the_labels_mirrors_estimate_and_interval(difference):
    forth, back = gate.decide(difference, EVEN), gate.decide(-difference, EVEN)
    assert forth.difference == pytest.approx(-back.difference)
    assert forth.low == pytest.approx(-back.high, abs=1e-9)
    assert forth.high == pytest.approx(-back.low, abs=1e-9)


@given(difference=paired)
@settings(max_examples=60, deadline=None)
def test_verdict_and_interval_never_contradict_each_other(difference):
    decision = gate.decide(difference, RULE)
    assert -1 <= decision.low <= decision.difference <= decision.high <= 1
    assert 1 <= decision.used <= decision.units == difference.size
    if decision.verdict is Verdict.PASS:
        assert decision.low >= -RULE.margin - 1e-9
    if decision.verdict is Verdict.FAIL:
        assert decision.high <= 1e-9
    assert (decision.more is None) == (decision.verdict is not Verdict.INCONCLUSIVE)


@given(repeats=st.integers(2, 20))
def test_repeating_the_examples_of_a_conversation_changes_nothing(repeats):
    candidate, production = np.array([1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0])
    once = gate.differences(candidate, production, ["a", "b", "c"], 0)
    again = gate.differences(np.tile(candidate, repeats), np.tile(production, repeats), ["a", "b", "c"] * repeats, 0)
    assert again == pytest.approx(once)


@given(rows=st.permutations(range(6)))
def test_the_order_of_the_rows_changes_nothing(rows):
    candidate, units = np.array([1.0, 0.0, 1.0, 0.5, 0.0, 1.0]), ["a", "a", "b", "c", "d", "d"]
    plain = gate.differences(candidate, np.zeros(6), units, 3)
    shuffled = gate.differences(candidate[rows], np.zeros(6), [units[row] for row in rows], 3)
    assert shuffled == pytest.approx(plain)


def test_the_betting_order_follows_the_seed_and_survives_new_units():
    units = [f"conversation-{number}" for number in range(100)]
    first, second = gate.ordered(units, 0), gate.ordered(units, 1)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(units)
    assert [unit for unit in gate.ordered([*units, "new"], 0) if unit != "new"] == first


@pytest.mark.parametrize("value", [0, 1, 2, -0.1, float("nan")])
@pytest.mark.parametrize("name", ["margin", "alpha", "beta"])
def test_a_margin_or_level_outside_0_to_1_is_refused(name, value):
    with pytest.raises(Error, match=rf"gate\.{name}"):
        Rule(**{"margin": 0.02, "alpha": 0.05, "beta": 0.1, name: value})


@pytest.mark.parametrize(
    ("difference", "message"),
    [
        ([], "no example"),
        ([0.0, float("nan")], "1 of 2 .* NaN"),
        ([float("inf")], "NaN or infinite"),
        ([0.2, -3.5], "outside"),
    ],
)
def test_what_cannot_be_decided_is_an_error(difference, message):
    with pytest.raises(Error, match=message):
        gate.decide(np.array(difference), RULE)


@pytest.mark.parametrize(
    ("candidate", "production", "units", "message"),
    [
        ([], [], [], "no example"),
        ([1.0], [1.0, 0.0], ["a"], "1 candidate scores, 2 production scores"),
        ([1.0, 0.0], [1.0, 0.0], ["a"], "1 units"),
        ([1.0, float("nan")], [1.0, 0.0], ["a", "b"], "1 of 2 score pairs are NaN"),
    ],
)
def test_sides_that_cannot_be_paired_are_an_error(candidate, production, units, message):
    with pytest.raises(Error, match=message):
        gate.differences(np.array(candidate), np.array(production), units, 0)


# Power, floors, relative amounts


def test_the_power_is_how_often_an_equally_good_candidate_passes():
    rng = np.random.default_rng(13)
    drawn = draw(0.0, rng)
    passed = np.mean([gate.verdict_of(draw(0.0, rng), RULE) is Verdict.PASS for _ in range(REPETITIONS)])
    assert gate.power(drawn, RULE, seed=0) == pytest.approx(passed, abs=0.09)
    assert gate.power(drawn[: UNITS // 8], RULE, seed=0) < 0.4
    assert gate.power(drawn, RULE, seed=0) == gate.power(drawn, RULE, seed=0)


@pytest.mark.parametrize(("true", "verdict"), [(0.99, Verdict.PASS), (0.80, Verdict.FAIL)])
def test_a_floor_is_passed_or_failed_when_that_is_clear(true, verdict):
    values = (np.random.default_rng(17).random(500) < true).astype(float)
    decision = gate.decide(values, Rule(0.1, 0.05, 0.1, floor=0.9))
    assert decision.verdict is verdict
    assert 0 <= decision.low <= decision.difference <= decision.high <= 1


def test_a_candidate_at_its_floor_passes_at_most_alpha_of_the_time():
    rng, rule = np.random.default_rng(19), Rule(0.1, 0.05, 0.1, floor=0.9)
    decisions = [gate.decide((rng.random(400) < 0.9).astype(float), rule) for _ in range(REPETITIONS)]
    assert share(decisions, Verdict.PASS) <= rule.alpha + 0.033
    assert share(decisions, Verdict.FAIL) <= rule.beta + 0.045


@pytest.mark.parametrize("floor", [0.0, 1.0, -1.0, 2.0])
def test_a_floor_outside_0_to_1_is_refused(floor):
    with pytest.raises(Error, match=r"gate\.floors"):
        Rule(0.1, 0.05, 0.1, floor=floor)


AMOUNT = st.just(0.0) | st.floats(1e-6, 1e6)


@given(
    amounts=st.lists(st.tuples(AMOUNT, AMOUNT), min_size=1, max_size=50),
    factor=st.floats(1e-3, 1e3),
)
def test_relative_amounts_are_bounded_mirrored_and_free_of_units(amounts, factor):
    candidate, production = (np.array(side) for side in zip(*amounts, strict=True))
    units = [str(number) for number in range(len(amounts))]
    found = gate.relative(candidate, production, units, 0)
    assert (np.abs(found) <= 1).all()
    assert gate.relative(production, candidate, units, 0) == pytest.approx(-found)
    scaled = gate.relative(candidate * factor, production * factor, units, 0)
    assert scaled == pytest.approx(found, abs=1e-6)


@given(more=st.floats(0, 10))
def test_a_candidate_that_needs_the_same_share_more_everywhere_has_that_share(more):
    production = np.array([1.0, 10.0, 1000.0])
    found = gate.relative(production * (1 + more), production, ["a", "b", "c"], 0)
    assert found == pytest.approx(np.full(3, -more / (2 + more)))
    assert sentences.share_more(float(found[0])) == pytest.approx(more)


def test_a_negative_amount_is_an_error():
    with pytest.raises(Error, match="negative"):
        gate.relative(np.array([-1.0]), np.array([1.0]), ["a"], 0)


# Stopping before the whole holdout is seen


def stopped(values: np.ndarray, rule: Rule, step: int = 100) -> tuple[Verdict, int]:
    """The verdict when units come in chunks and one stops as soon as it is settled."""
    for seen in range(step, values.size, step):
        verdict = gate.settled_verdict(values[:seen], rule, values.size)
        if verdict is not None:
            return verdict, seen
    return gate.verdict_of(values, rule), values.size


def test_what_is_settled_early_is_what_the_whole_holdout_says():
    rng = np.random.default_rng(23)
    agreed, seen = [], []
    for mean in (0.06, 0.03, 0.0, -0.015, -0.03, -0.06):
        for _ in range(50):
            values = draw(mean, rng, units=1500)
            verdict, units = stopped(values, RULE)
            agreed.append(verdict is gate.verdict_of(values, RULE))
            seen.append(units)
    assert np.mean(agreed) >= 0.97
    assert np.mean(seen) < 0.8 * 1500


@given(difference=paired)
@settings(max_examples=60, deadline=None)
def test_with_every_unit_seen_nothing_is_open_but_what_the_units_cannot_tell(difference):
    verdict = gate.decide(difference, RULE).verdict
    settled = gate.settled_verdict(difference, RULE, difference.size)
    assert settled is (None if verdict is Verdict.INCONCLUSIVE else verdict)


@given(sets=st.lists(st.lists(st.floats(-1, 1), min_size=5, max_size=5), min_size=1, max_size=8).map(np.array))
@settings(max_examples=60, deadline=None)
def test_many_sets_at_once_get_the_decisions_that_each_would_get_alone(sets):
    found = gate.outcomes(np.tile(sets, 40), RULE)
    for number, values in enumerate(np.tile(sets, 40)):
        decision = gate.decide(values, RULE)
        assert (found.verdict(number), found.used[number]) == (decision.verdict, decision.used)


@given(seen=paired, rest=paired)
@settings(max_examples=60, deadline=None)
def test_the_mean_of_the_whole_cannot_leave_what_was_certain(seen, rest):
    """Where even the worst rest cannot undo it, it is settled; the claim is never settled against the arithmetic."""
    whole = seen.size + rest.size
    worst = (seen.sum() - rest.size) / whole
    best = (seen.sum() + rest.size) / whole
    bet = RULE.passing(whole)
    if worst > -RULE.margin:
        assert betting.settled(seen, -RULE.margin, bet)
    if best < -0.99 and seen.size > 3:
        assert not betting.settled(seen, -0.5, bet)


# Slices


def test_many_slices_of_an_equal_candidate_rarely_fail_it():
    rng = np.random.default_rng(29)
    failed = 0
    for _ in range(200):
        slices = {("column", str(number)): draw(0.0, rng, units=150) for number in range(10)}
        failed += any(part.verdict is Verdict.FAIL for part in gate.judge_slices(slices, RULE, 0.10).values())
    assert failed / 200 <= RULE.alpha


def test_one_slice_that_loses_much_is_found_among_others_and_small_ones_are_not_measured():
    rng = np.random.default_rng(31)
    slices = {("column", str(number)): draw(0.0, rng, units=400) for number in range(9)}
    slices |= {("column", "bad"): draw(0.0, rng, units=400) - 0.2, ("column", "small"): draw(0.0, rng, units=8)}
    found = gate.judge_slices({name: np.clip(values, -1, 1) for name, values in slices.items()}, RULE, 0.10)
    assert found["column", "bad"].verdict is Verdict.FAIL
    assert found["column", "small"].verdict is Verdict.INCONCLUSIVE
    assert sum(part.verdict is Verdict.PASS for part in found.values()) >= 8


def test_a_slice_may_lose_what_the_whole_may():
    values = np.tile([0.0, 0.0, 0.0, 0.0, -0.1], 400)  # 2 points lost where 3 are allowed
    assert gate.judge_slices({("a", "b"): values}, RULE, 0.10)["a", "b"].verdict is Verdict.PASS
