"""Which arm a unit is on: the published hash, a nested ramp, and placebos of the same family."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trunkline import assignment

SALT = "0123456789abcdef"
UNITS = [f"conversation-{number}" for number in range(20_000)]
DIGESTS = assignment.digests_of(UNITS)
weights = st.floats(0, 1)


@pytest.mark.parametrize(
    ("unit", "salt", "hashed"),
    [
        ("conversation-1", SALT, 7339935886150454318),
        ("", "x", 14533779521080530206),
        ("Zürich 42", "salt", 11561072917772339570),
    ],
)
def test_a_position_is_what_the_reference_xxhash_gives(unit, salt, hashed):
    """XXH64 of the first 8 bytes of SHA-256(unit), as the reference implementation computes it with this seed."""
    assert assignment.position(salt, unit) == (hashed % 2**53) / 2**53


@given(
    units=st.lists(st.text(), min_size=1, max_size=20),
    salts=st.lists(st.text(), min_size=1, max_size=4),
    data=st.data(),
)
def test_many_at_once_is_what_one_by_one_gives(units, salts, data):
    given_weights = data.draw(st.lists(weights, min_size=len(units), max_size=len(units)))
    told = assignment.canaries(
        assignment.seeds_of(salts), assignment.digests_of(units), np.array(given_weights, dtype=float)
    )
    for row, salt in zip(told.tolist(), salts, strict=True):
        alone = [assignment.arm_of(salt, *pair) == "canary" for pair in zip(units, given_weights, strict=True)]
        assert row == alone


@pytest.mark.parametrize("units", [1, 7, 20_000])
def test_many_salts_at_once_are_what_one_by_one_gives(units):
    """They are computed in blocks, of which there are several here, or one salt fills more than one."""
    salts = assignment.placebo_salts(SALT, 20 if units == 20_000 else 30_000)
    given_weights = np.random.default_rng(units).random(units)
    told = assignment.canaries(assignment.seeds_of(salts), DIGESTS[:units], given_weights)
    for row in [0, 1, *range(2, len(salts), len(salts) // 20), len(salts) - 1]:
        assert told[row].tolist() == (assignment.positions(salts[row], DIGESTS[:units]) < given_weights).tolist()


@given(unit=st.text(), salt=st.text(), first=weights, second=weights)
def test_who_is_in_stays_in_while_the_ramp_goes_up(unit, salt, first, second):
    low, high = sorted((first, second))
    assert assignment.arm_of(salt, unit, low) == "stable" or assignment.arm_of(salt, unit, high) == "canary"
    assert assignment.arm_of(salt, unit, 0.0) == "stable"
    assert assignment.arm_of(salt, unit, 1.0) == "canary"


def test_units_are_spread_evenly_under_a_salt_and_a_unit_under_salts():
    assert stats.kstest(assignment.positions(SALT, DIGESTS), "uniform").pvalue > 0.001
    seeds = assignment.seeds_of(assignment.placebo_salts(SALT, 5000))
    shares = assignment.canaries(seeds, DIGESTS[:200], np.full(200, 0.05)).mean(axis=0)
    # 200 units, each on the canary in a share of 5,000 salts: all within five standard errors.
    assert np.abs(shares - 0.05).max() < 5 * np.sqrt(0.05 * 0.95 / 5000)


def test_salts_choose_independently():
    places = [assignment.positions(salt, DIGESTS) for salt in (SALT, *assignment.placebo_salts(SALT, 4))]
    correlated = np.corrcoef(places) - np.eye(5)
    assert np.abs(correlated).max() < 5 / np.sqrt(len(UNITS))


def test_placebo_salts_follow_from_the_real_one_and_differ():
    salts = assignment.placebo_salts(SALT, 999)
    assert salts == assignment.placebo_salts(SALT, 999)
    assert len({SALT, *salts}) == 1000
    assert len(set(assignment.seeds_of([SALT, *salts]).tolist())) == 1000


def test_a_seed_fits_a_signed_integer():
    assert all(0 <= assignment.seed_of(salt) < 2**63 for salt in assignment.placebo_salts(SALT, 200))
