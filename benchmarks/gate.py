"""The gate beside the rules that people use instead: how often each passes what, and after how many examples.

    python benchmarks/gate.py [--repetitions 1000]

Seeded simulation of paired binary scores: the two models differ on a tenth of the examples, and a loss of
two points is tolerated. Sizes are shares of the fixed sample n*, with which a test of fixed size tells a loss
of the margin from none at the same error rates; the gate may use up to 1.6 of it. Prints a Markdown table.
`trunkline drill` does the same with the scores of a repository's own holdout.
"""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np

from trunkline import common_rules, gate
from trunkline.gate import Outcomes, Rule
from trunkline.verdict import Verdict

RULE = Rule(margin=0.02, alpha=0.05, beta=0.10)
DISCORDANCE = 0.1
FIXED = int(np.ceil(gate.fixed_sample(DISCORDANCE, RULE.margin, RULE)))
CAP = int(1.6 * FIXED)
STEP = FIXED // 20
Judge = Callable[[np.ndarray], Outcomes]


def draw(mean: float, repetitions: int) -> np.ndarray:
    """Differences of -1, 0 and 1 whose mean is ``mean``, CAP a repetition."""
    better, worse = (DISCORDANCE + mean) / 2, (DISCORDANCE - mean) / 2
    at = np.random.default_rng(1).random((repetitions, CAP))
    return np.where(at < better, 1.0, np.where(at < better + worse, -1.0, 0.0))


def ours(samples: np.ndarray) -> Outcomes:
    return gate.outcomes(samples, RULE)


def ours_early(samples: np.ndarray) -> Outcomes:
    """Stops when the verdict of the whole holdout is settled."""
    verdicts, used = zip(*map(_early, samples), strict=True)
    passed, failed = (np.array([found is verdict for found in verdicts]) for verdict in (Verdict.PASS, Verdict.FAIL))
    return Outcomes(passed, failed, np.array(used))


def _early(values: np.ndarray) -> tuple[Verdict, int]:
    for seen in range(STEP, values.size, STEP):
        verdict = gate.settled_verdict(values[:seen], RULE, values.size)
        if verdict is not None:
            return verdict, seen
    return gate.verdict_of(values, RULE), values.size


def common(name: str, samples: np.ndarray) -> Outcomes:
    """Rules of fixed size take the fixed sample; who peeks may go on as long as the gate."""
    rule = common_rules.RULES[name]
    return rule(samples if rule is common_rules.peeking else samples[:, :FIXED], RULE)


RULES: dict[str, Judge] = {
    "Trunkline": ours,
    "Trunkline, stopping early": ours_early,
    **{name: partial(common, name) for name in common_rules.RULES},
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
            samples = draw(times * RULE.margin, repetitions)
            found = rule(samples)
            cells.append(f"{100 * found.passed.mean():.1f} ({found.used.mean() / FIXED:.2f})")
            if rule is ours_early:
                whole = ours(samples)
                agreed += [*((found.passed == whole.passed) & (found.failed == whole.failed))]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nStopping early gives the verdict of the whole holdout in {100 * np.mean(agreed):.1f} % of the runs.")


if __name__ == "__main__":
    main()
