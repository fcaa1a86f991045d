"""Estimates: intervals that hold what they promise, and never pretend to certainty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from trunkline import estimates

RUNS = 800
TOLERANCE = 0.02  # of a coverage of 0.95: about 2.6 standard errors of 800 runs


def covers(interval, truth: float) -> bool:
    return interval is not None and interval.low <= truth <= interval.high


def clustered_shares(random, share: float, clusters: int, size: int) -> tuple[list[float], list[int]]:
    """0/1 rows of clusters that each have a share of their own, ``share`` on average."""
    own = random.beta(4 * share, 4 * (1 - share), clusters)
    values = random.random((clusters, size)) < own[:, None]
    return values.ravel().astype(float).tolist(), np.repeat(np.arange(clusters), size).tolist()


@pytest.mark.parametrize(("share", "clusters", "size"), [(0.5, 20, 5), (0.9, 40, 3), (0.98, 60, 4), (0.03, 100, 1)])
def test_the_interval_of_a_share_covers_it_with_clusters(share, clusters, size):
    random = np.random.default_rng(0)
    hits = [covers(estimates.mean(*clustered_shares(random, share, clusters, size), 0.95), share) for _ in range(RUNS)]
    assert np.mean(hits) >= 0.95 - TOLERANCE


def test_ignoring_clusters_would_not_cover():
    random = np.random.default_rng(0)
    hits = []
    for _ in range(RUNS):
        values, _ = clustered_shares(random, 0.5, 20, 5)
        hits.append(covers(estimates.mean(values, range(len(values)), 0.95), 0.5))
    assert np.mean(hits) < 0.9


@pytest.mark.parametrize("clusters", [5, 30])
def test_the_interval_of_a_mean_covers_it_with_clusters_of_unequal_size(clusters):
    random = np.random.default_rng(1)
    hits = []
    for _ in range(RUNS):
        sizes = random.integers(1, 6, clusters)
        units = np.repeat(np.arange(clusters), sizes)
        values = 3 + random.normal(size=clusters)[units] + random.normal(size=len(units))
        hits.append(covers(estimates.mean(values.tolist(), units.tolist(), 0.95), 3))
    assert abs(np.mean(hits) - 0.95) <= TOLERANCE + (0.02 if clusters == 5 else 0)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_interval_of_a_quantile_covers_it(share):
    random = np.random.default_rng(2)
    truth = -np.log(1 - share)
    hits = [covers(estimates.quantile(random.exponential(size=200).tolist(), share, 0.95), truth) for _ in range(RUNS)]
    assert np.mean(hits) >= 0.95 - TOLERANCE


def test_the_interval_of_a_macro_f1_covers_it(monkeypatch):
    monkeypatch.setattr(estimates, "RESAMPLES", 400)  # more would be more exact, and say the same of coverage
    random = np.random.default_rng(3)

    def draw(count: int) -> tuple[list[str], list[str]]:
        right = random.choice(["a", "b", "c"], count, p=[0.6, 0.3, 0.1])
        said = np.where(random.random(count) < 0.8, right, random.choice(["a", "b", "c"], count))
        return right.tolist(), said.tolist()

    truth = f1_score(*draw(100_000), average="macro")
    hits = [covers(estimates.macro_f1(*draw(300), range(300), 0.95, 0), truth) for _ in range(150)]
    assert np.mean(hits) >= 0.95 - 0.04


values_of_any_kind = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0]), st.floats(-1e6, 1e6, allow_subnormal=False)), min_size=1, max_size=30
)


@given(values_of_any_kind, st.data(), st.sampled_from([0.5, 0.95, 0.999]))
def test_a_mean_lies_in_its_interval_which_has_a_width(values, data, confidence):
    clusters = data.draw(st.lists(st.integers(0, 8), min_size=len(values), max_size=len(values)))
    found = estimates.mean(values, clusters, confidence)
    if found is not None:
        assert found.low <= found.value <= found.high
        assert found.low < found.high
        assert found.n == len(set(clusters))
        assert found.value == pytest.approx(np.mean(values), abs=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.data())
def test_shares_stay_between_0_and_1(values, data):
    clusters = data.draw(st.lists(st.integers(0, 8), min_size=len(values), max_size=len(values)))
    found = estimates.mean(values, clusters, 0.95)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["a", "b", "c", None, "z"])), min_size=1, max_size=40)
)
@settings(max_examples=30, deadline=None)
def test_macro_f1_is_that_of_scikit_learn_over_the_classes_of_the_answers(pairs):
    expected, predicted = zip(*pairs, strict=True)
    found = estimates.macro_f1(expected, predicted, [n // 2 for n in range(len(pairs))], 0.95, 0)
    said = [str(name) for name in predicted]
    reference = f1_score(expected, said, labels=sorted(set(expected)), average="macro", zero_division=0)
    assert found.value == pytest.approx(reference)
    assert found.low <= found.value <= found.high
    assert found.low < found.high


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=200), st.sampled_from([0.5, 0.95]))
def test_a_quantile_lies_in_its_interval(values, share):
    found = estimates.quantile(values, share, 0.95)
    assert found is None or (found.low <= found.value <= found.high and found.n == len(values))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_is_no_certainty(value):
    found = estimates.mean([value] * 40, [n // 2 for n in range(40)], 0.95)
    assert found.value == value
    assert abs(found.high - found.low) == pytest.approx(1 - 0.025 ** (1 / 20))  # 20 clusters, not 40 rows


def test_one_cluster_says_next_to_nothing():
    found = estimates.mean([1.0] * 50, ["only"] * 50, 0.95)
    assert (found.low, found.high, found.n) == (pytest.approx(0.025), 1.0, 1)


def test_values_without_spread_or_bounds_have_no_estimate():
    assert estimates.mean([7.0, 7.0, 7.0], [1, 2, 3], 0.95) is None
    assert estimates.mean([7.0, 8.0], [1, 1], 0.95) is None
    bounded = estimates.mean([40.0] * 10, range(10), 0.95, bounds=(0, 40))
    assert 0 < bounded.low < bounded.value == bounded.high == 40


def test_macro_f1_without_an_error_is_no_certainty():
    found = estimates.macro_f1(["a"] * 30 + ["b"] * 2, ["a"] * 30 + ["b"] * 2, range(32), 0.95, 0)
    assert found.value == found.high == 1
    assert found.low < 0.5  # two examples of b say little


def test_nothing_measured_is_no_estimate():
    assert estimates.mean([], [], 0.95) is None
    assert estimates.macro_f1([], [], [], 0.95, 0) is None
    assert estimates.quantile([], 0.5, 0.95) is None


@pytest.mark.parametrize(("share", "enough"), [(0.5, 6), (0.95, 72)])
def test_a_quantile_needs_enough_values(share, enough):
    assert estimates.quantile(list(range(enough - 1)), share, 0.95) is None
    assert estimates.quantile(list(range(enough)), share, 0.95) is not None


def test_the_bootstrap_is_the_same_for_a_seed():
    random = np.random.default_rng(0)
    rows = (random.choice(["a", "b"], 60).tolist(), random.choice(["a", "b"], 60).tolist(), range(60))
    assert estimates.macro_f1(*rows, 0.95, 1) == estimates.macro_f1(*rows, 0.95, 1)
    assert estimates.macro_f1(*rows, 0.95, 1) != estimates.macro_f1(*rows, 0.95, 2)


def test_clopper_pearson_is_the_textbooks():
    assert estimates.clopper_pearson(8, 10, 0.95) == (pytest.approx(0.4439, abs=1e-4), pytest.approx(0.9748, abs=1e-4))


# The distributions are those of scipy.stats, which takes too long to import.

LEVELS = st.floats(0.5, 0.9999)


@settings(max_examples=200)
@given(st.floats(0, 1), st.floats(0.5, 1e5), LEVELS)
def test_the_interval_of_a_share_is_between_quantiles_of_the_beta_distribution(share, size, confidence):
    right, tail = share * size, (1 - confidence) / 2
    wrong = size - right
    low = stats.beta.ppf(tail, right, wrong + 1) if right > 0 else 0.0
    high = stats.beta.ppf(1 - tail, right + 1, wrong) if wrong > 0 else 1.0
    assert estimates.clopper_pearson(right, size, confidence) == pytest.approx((low, high), rel=1e-9, abs=1e-12)


@settings(max_examples=200)
@given(st.lists(st.floats(2, 100), min_size=2, max_size=20), LEVELS)
def test_the_interval_of_a_mean_is_that_of_student(values, confidence):
    found = estimates.mean(values, range(len(values)), confidence)
    if found is not None:
        expected = stats.t.interval(confidence, len(values) - 1, np.mean(values), stats.sem(values))
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=200)
@given(st.integers(0, 5000), st.sampled_from([0.05, 0.5, 0.9, 0.95, 0.99]), LEVELS)
def test_the_interval_of_a_quantile_is_between_ranks_of_the_binomial_distribution(size, share, confidence):
    tail = (1 - confidence) / 2
    low, high = int(stats.binom.ppf(tail, size, share)), int(stats.binom.ppf(1 - tail, size, share)) + 1
    found = estimates.quantile(range(1, size + 1), share, confidence)
    assert (None if found is None else (found.low, found.high)) == (None if low < 1 or high > size else (low, high))
