"""The rules people use instead: each does what its name says, and stays as wrong as it is known to be."""

import numpy as np
import pytest
from scipy import stats

from trunkline import common_rules
from trunkline.gate import Rule

RULE = Rule(margin=0.02, alpha=0.05, beta=0.10)
UNITS, SETS = 500, 2000


def draw(mean: float, discordance: float = 0.15) -> np.ndarray:
    """(SETS, UNITS) differences of -1, 0 and 1 with this mean."""
    better, worse = (discordance + mean) / 2, (discordance - mean) / 2
    at = np.random.default_rng(0).random((SETS, UNITS))
    return np.where(at < better, 1.0, np.where(at < better + worse, -1.0, 0.0))


# How often each passes at no loss, the margin, and twice the margin; three standard errors are 3.4 points.
@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("fixed-size non-inferiority", (0.31, 0.05, 0.00)),
        ("candidate >= production", (0.52, 0.14, 0.01)),
        ("drop within the margin", (0.88, 0.53, 0.13)),
        ("not significantly worse", (0.95, 0.70, 0.23)),
        ("significantly better", (0.05, 0.00, 0.00)),
        ("better by the margin", (0.13, 0.01, 0.00)),
    ],
)
def test_a_common_rule_passes_as_often_as_is_known_of_it(name, passes):
    found = [common_rules.RULES[name](draw(-loss * RULE.margin), RULE).passed.mean() for loss in (0, 1, 2)]
    assert found == pytest.approx(passes, abs=0.034)


def test_peeking_breaks_the_level_of_the_test_it_repeats():
    once, often = (
        common_rules.RULES[f"{name}"](draw(-RULE.margin), RULE)
        for name in ("fixed-size non-inferiority", "non-inferiority, peeking")
    )
    assert often.passed.mean() > 3 * once.passed.mean()
    assert often.used.mean() < 0.6 * once.used.mean() == 0.6 * UNITS
    assert not (often.passed & often.failed).any()


def test_every_rule_decides_on_every_set_and_says_how_many_units_it_used():
    for rule in common_rules.RULES.values():
        found = rule(draw(0.0)[:20], RULE)
        assert found.passed.shape == found.failed.shape == found.used.shape == (20,)
        assert (found.used <= UNITS).all()


@pytest.mark.parametrize("share", [1e-6, 0.05, 0.5, 0.9, 0.95, 0.999])
def test_normal_quantiles_are_those_of_scipy_stats(share):
    assert common_rules._quantile(share) == pytest.approx(stats.norm.ppf(share), rel=1e-12, abs=1e-15)
