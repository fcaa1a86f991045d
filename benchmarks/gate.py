"""The gate beside the rules that people use instead: how often each passes what, and after how many examples.

    python benchmarks/gate.py [--repetitions 1000]

Seeded simulation of paired binary scores: the two models differ on a tenth of the examples, and a loss of
two points is tolerated. Sizes are shares of the fixed sample n*, with which a test of fixed size tells a loss
of the margin from none at the same error rates; the gate may use up to 1.6 of it. Prints a Markdown table.
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy import stats

from trunkline import gate
from trunkline.gate import Rule
from trunkline.verdict import Verdict

RULE = Rule(margin=0.02, alpha=0.05, beta=0.10)
DISCORDANCE = 0.1
FIXED = int(np.ceil(gate.fixed_sample(DISCORDANCE, RULE.margin, RULE)))
CAP = int(1.6 * FIXED)
STEP = FIXED // 20
Outcome = tuple[Verdict, int]


def draw(mean: float, rng: np.random.Generator, size: int) -> np.ndarray:
    """Differences of -1, 0 and 1 whose mean is ``mean``."""
    better, worse = (DISCORDANCE + mean) / 2, (DISCORDANCE - mean) / 2
    at = rng.random(size)
    return np.where(at < better, 1.0, np.where(at < better + worse, -1.0, 0.0))


def decided(passes: bool, units: int) -> Outcome:
    return (Verdict.PASS if passes else Verdict.FAIL), units


def z_of(values: np.ndarray, boundary: float) -> float:
    return float((values.mean() - boundary) / max(values.std() / np.sqrt(values.size), 1e-12))


def ours(values: np.ndarray) -> Outcome:
    decision = gate.decide(values, RULE)
    return decision.verdict, decision.used


def ours_early(values: np.ndarray) -> Outcome:
    """Stops when the verdict of the whole holdout is settled."""
    for seen in range(STEP, values.size, STEP):
        if gate.is_settled(values[:seen], RULE, values.size):
            return gate.verdict_of(values[:seen], RULE, values.size), seen
    return gate.verdict_of(values, RULE), values.size


def at_least_production(values: np.ndarray) -> Outcome:
    return decided(values[:FIXED].mean() >= 0, FIXED)


def not_significantly_worse(values: np.ndarray) -> Outcome:
    return decided(z_of(values[:FIXED], 0.0) > stats.norm.ppf(0.05), FIXED)


def significantly_better(values: np.ndarray) -> Outcome:
    return decided(z_of(values[:FIXED], 0.0) > stats.norm.ppf(0.95), FIXED)


def fixed_non_inferiority(values: np.ndarray) -> Outcome:
    return decided(z_of(values[:FIXED], -RULE.margin) > stats.norm.ppf(0.95), FIXED)


def peeking(values: np.ndarray) -> Outcome:
    """Looks at the fixed-size tests again and again, and stops at the first that says anything."""
    for seen in range(STEP, values.size + 1, STEP):
        if z_of(values[:seen], -RULE.margin) > stats.norm.ppf(0.95):
            return Verdict.PASS, seen
        if z_of(values[:seen], 0.0) < stats.norm.ppf(0.10):
            return Verdict.FAIL, seen
    return Verdict.INCONCLUSIVE, values.size


RULES: dict[str, Callable[[np.ndarray], Outcome]] = {
    "Trunkline": ours,
    "Trunkline, stopping early": ours_early,
    "fixed-size non-inferiority": fixed_non_inferiority,
    "candidate >= production": at_least_production,
    "not significantly worse": not_significantly_worse,
    "significantly better": significantly_better,
    "non-inferiority, peeking": peeking,
}
MEANS = {"+2m": 2, "+m": 1, "0": 0, "-m/2": -0.5, "-m": -1, "-2m": -2, "-4m": -4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    print(f"margin {RULE.margin}, n* = {FIXED}, at most {CAP} examples, {repetitions} repetitions\n")
    print("| passes % (mean examples / n*) at a true difference of | " + " | ".join(MEANS) + " |")
    print("|---" * (len(MEANS) + 1) + "|")
    agreed = []
    for name, rule in RULES.items():
        cells = []
        for times in MEANS.values():
            rng = np.random.default_rng(1)
            samples = [draw(times * RULE.margin, rng, CAP) for _ in range(repetitions)]
            outcomes = [rule(sample) for sample in samples]
            passed = np.mean([verdict is Verdict.PASS for verdict, _ in outcomes])
            cells.append(f"{100 * passed:.1f} ({np.mean([units for _, units in outcomes]) / FIXED:.2f})")
            if rule is ours_early:
                agreed += [found[0] is gate.verdict_of(s, RULE) for found, s in zip(outcomes, samples, strict=True)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nStopping early gives the verdict of the whole holdout in {100 * np.mean(agreed):.1f} % of the runs.")


if __name__ == "__main__":
    main()
