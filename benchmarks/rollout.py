"""Our rollout decisions beside the rules that people use, on the same seeded traffic.

    python benchmarks/rollout.py [--quick] [--repetitions 200] [--only errors,latency,...]

The first tables ramp by the clock, 5, 25 and 50 % for twenty minutes each, and ask only who rolls back and how
many bad answers the canary served until then; everybody looks once a minute, and our plan is the same on every
stream. "Tuned" is the best of a grid by an oracle that knows these very streams, with false rollbacks of at
most 5 % on ten times as many identical canaries, at least a thousand. Then: the same settings on other streams,
the ramp that asks for evidence, polling, a dead canary, sticky users, and missing data. Prints Markdown; `--only`
names the parts to run.
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
from rollout_rules import Minutes, Rule, argo, flagger, grids, kayenta, oracle, served
from rollout_streams import MINUTES, P95, Array, Scenario, Stream, draw, salt_of, timed

from trunkline.records.rollout import Plan
from trunkline.rollout import Analysis, Rows
from trunkline.rollout.windows import Place, Window, windows
from trunkline.sequential import Conditional, Counts, spent

# A step that lasts longer than the traffic: where the clock ramps, nothing is promoted by evidence.
NEVER = 1000
# As in params.yaml; FEW where only the level is asked for: fewer find a worse canary later.
PLACEBOS, FEW = 4999, 199
PLANNED = 0.04


def plan(
    method: str = "placebo", poll: float = 60, horizon: float = MINUTES, least: float = 3, **changes: object
) -> Plan:
    """Our plan: of each table only the metrics, the looks and the horizon."""
    metrics = {
        "error": {"kind": "failure", "tolerated": 1.0, "margins": (3.0, 2.0, 2.0)},
        "latency_ms": {"kind": "amount", "quantiles": (0.75, 0.95, 0.99), "tolerated": 1.0, "margins": (3.0, 2.0, 2.0)},
        "score": {"kind": "score", "tolerated": 0.0, "margins": (0.10, 0.05, 0.05)},
    }
    chosen = changes.pop("metrics", ("error",))
    return Plan.model_validate(
        {
            "method": method,
            "salt": None,
            "placebos": FEW,
            "steps": [{"weight": weight, "minutes": least} for weight in (0.05, 0.25, 0.50)],
            "horizon_minutes": horizon,
            "poll_seconds": poll,
            "silence_seconds": 60,
            "alpha": {"planned": PLANNED, "reserve": 0.01, "ratio": 0.01},
            "beta": 0.05,
            "metrics": {name: metrics[name] for name in chosen},
            "hard_stops": {},
            **changes,
        }
    )


def salted(plan: Plan, seed: int) -> Plan:
    return plan.model_copy(update={"salt": salt_of(seed)})


def analysis_of(plan: Plan, stream: Stream, seed: int) -> Analysis:
    before = stream.time < 0
    return Analysis(salted(plan, seed), stream.rows(before, np.zeros(int(before.sum()))))


def log_of(stream: Stream) -> Rows:
    """What a ramp by the clock logs."""
    during = stream.time >= 0
    return stream.rows(during, timed(stream.time[during]))


def until(plan: Plan, stream: Stream, seed: int) -> tuple[float, Rows]:
    """The minute at which a timed ramp is rolled back, or its length; and its log."""
    rows = log_of(stream)
    analysis = analysis_of(plan, stream, seed)
    for window in windows(rows, plan):
        analysis.look(window)
        if analysis.over:
            return window.clock / 60, rows
    return float(MINUTES), rows


def bad_of(rows: Rows, metric: str) -> Array:
    """Which requests are bad answers of the canary."""
    values = rows.outcomes[metric]
    bad = {"error": values > 0, "latency_ms": values > P95, "score": values < 0.5}[metric]
    return bad & rows.canary


def value_of(values: Array, metric: str) -> float:
    """What a dashboard shows of a minute; more is worse."""
    values = values[~np.isnan(values)]
    if values.size == 0:
        return np.nan
    return float(
        {"error": np.mean, "latency_ms": partial(np.quantile, q=0.95), "score": lambda v: 1 - v.mean()}[metric](values)
    )


def minutes_of(logs: list[Rows], metric: str) -> Minutes:
    """What dashboards show of several rollouts."""
    shape = (3, len(logs), MINUTES)
    value, count, bad = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape[1:])
    rng = np.random.default_rng(len(logs))
    for number, rows in enumerate(logs):
        edges = np.searchsorted(rows.time, 60 * np.arange(MINUTES + 1))
        harmful = bad_of(rows, metric)
        baseline = ~rows.canary & (rng.random(rows.canary.size) < rows.weight / (1 - rows.weight))
        arms = np.stack([rows.canary, ~rows.canary, baseline])
        for minute in range(MINUTES):
            here = slice(edges[minute], edges[minute + 1])
            values = rows.outcomes[metric][here]
            for arm, chosen in enumerate(arms[:, here]):
                value[arm, number, minute] = value_of(values[chosen], metric)
                count[arm, number, minute] = np.sum(chosen & ~np.isnan(values))
            bad[number, minute] = harmful[here].sum()
    return Minutes(*value, (count[0], count[1]), bad)


def compare(title: str, metric: str, cells: dict[str, Scenario], rules: dict[str, Rule], repetitions: int) -> None:
    """One table of detected % / bad served, and the ratios of bad served to ours.

    Args:
        cells: the first is the canary that is no worse.
        rules: with settings of their documentation.
    """
    ours = {"Trunkline": plan(least=NEVER, metrics=(metric,), placebos=PLACEBOS)}
    if metric != "score":
        ours["Trunkline, counts"] = plan("counts", least=NEVER, metrics=(metric,))
    seen: dict[str, Minutes] = {}
    stopped: dict[str, dict[str, Array]] = {name: {} for name in ours}
    first = next(iter(cells))
    for cell, scenario in cells.items():
        logs, ends = [], {name: [] for name in ours}
        # How often ours are false is what `transfer` asks.
        for seed in range(max(repetitions // 5, 1) if cell == first else repetitions):
            stream = draw(scenario, seed)
            for name, chosen in ours.items():
                minute, rows = until(chosen, stream, seed)
                ends[name].append(minute)
            logs.append(rows)
        seen[cell] = minutes_of(logs, metric)
        for name, found in ends.items():
            stopped[name][cell] = np.array(found)
    # The oracle knows the false rollbacks better than these rollouts could tell.
    seeds = range(repetitions, repetitions + max(10 * repetitions, 1000))
    identical = minutes_of([log_of(draw(cells[first], seed)) for seed in seeds], metric)
    judge(title, stopped, seen, identical, rules)


def judge(
    title: str,
    ours: dict[str, dict[str, Array]],
    seen: dict[str, Minutes],
    identical: Minutes,
    rules: dict[str, Rule],
) -> None:
    """Tune the rules' grids, and show all.

    Args:
        ours: by name and cell, the minutes at which we roll back.
        seen: by cell, the first of which is the canary that is no worse.
        identical: more of that one.
    """
    first, *worse = seen
    for name, grid in grids(float(np.nanmean(identical.stable))).items():
        if (rule := oracle(grid, identical, [seen[cell] for cell in worse])) is not None:
            shown = ", ".join(f"{key} {value:.3g}" for key, value in rule.keywords.items())
            rules[f"{name}, tuned ({shown})"] = rule
    judged = seen | {first: identical}
    table = {**ours, **{name: {cell: rule(judged[cell]) for cell in seen} for name, rule in rules.items()}}
    show(title, table, seen, seen[worse[0]].bad.shape[0])


def show(title: str, table: dict[str, dict[str, Array]], seen: dict[str, Minutes], repetitions: int) -> None:
    print(f"\n**{title}**, detected % / bad served; {repetitions} rollouts a cell\n")
    first, *worse = seen
    print(f"| rule | {first} (false) | " + " | ".join(worse) + " | bad, times ours |")
    print("|---" * (len(seen) + 2) + "|")
    bad = {name: [served(found[cell], seen[cell]).mean() for cell in worse] for name, found in table.items()}
    for name, found in table.items():
        detected = [100 * np.mean(found[cell] < MINUTES) for cell in seen]
        cells = [f"{share:.0f}/{count:.1f}" for share, count in zip(detected[1:], bad[name], strict=True)]
        ratio = np.exp(np.mean(np.log(np.array(bad[name]) / np.array(bad["Trunkline"]))))
        print(f"| {name} | {detected[0]:.1f} | " + " | ".join(cells) + f" | {ratio:.2f} |", flush=True)


def errors(repetitions: int) -> None:
    for rate in (600, 60):
        cells = {f"{ratio:g} %": Scenario(rate=rate, ratio=ratio) for ratio in (1, 1.5, 2, 3, 5)}
        compare(f"Errors, production 1 %, {rate} requests a minute", "error", cells, documented(), repetitions)


def documented() -> dict[str, Rule]:
    return {
        "Argo, documentation": partial(argo, limit=0.05, interval=5, failures=3),
        "Flagger, documentation": partial(flagger, limit=0.01, threshold=10),
        "Kayenta, documentation": partial(kayenta, interval=10, window=0),
    }


def exact(repetitions: int) -> None:
    """Errors by counts alone, which is quick: ten times the rollouts, to tell ratios apart; ours is X, no reserve."""
    for rate in (600, 60):
        seen: dict[str, Minutes] = {}
        ours: dict[str, Array] = {}
        for ratio in (1.0, 1.5, 2.0, 3.0, 5.0):
            drawn = counted(rate, ratio, 10 * repetitions)
            seen[f"{ratio:g} %"] = minutes_by(drawn)
            ours[f"{ratio:g} %"] = np.array([first_stop(stream) for stream in np.moveaxis(drawn, 1, 0)])
        title = f"Errors by counts, production 1 %, {rate} requests a minute"
        judge(title, {"Trunkline": ours}, seen, minutes_by(counted(rate, 1.0, 20 * repetitions, 1)), documented())


def counted(rate: int, ratio: float, streams: int, seed: int = 0) -> Array:
    """(4, streams, minutes): the canary's requests and errors, and stable's."""
    rng, weight = np.random.default_rng([rate, round(10 * ratio), seed]), timed(60.0 * np.arange(MINUTES))
    arms = [(rate * weight, 0.01 * ratio), (rate * (1 - weight), 0.01)]
    found = []
    for expected, chance in arms:
        requests = rng.poisson(expected, (streams, MINUTES))
        found += [requests, rng.binomial(requests, chance)]
    return np.stack(found)


def minutes_by(drawn: Array) -> Minutes:
    canary, errors, stable, stable_errors = drawn
    rng, weight = np.random.default_rng(drawn.shape[1]), timed(60.0 * np.arange(MINUTES))
    bad, good = (rng.binomial(count, weight / (1 - weight)) for count in (stable_errors, stable - stable_errors))
    pairs = ((errors, canary), (stable_errors, stable), (bad, bad + good))
    values = [np.where(of > 0, events / np.maximum(of, 1), np.nan) for events, of in pairs]
    return Minutes(*values, (canary.astype(float), stable.astype(float)), errors.astype(float))


def first_stop(stream: Array) -> int:
    """The minute at which X rolls back; ``stream`` is (4, minutes)."""
    test = Conditional()
    for minute, (canary, errors, stable, stable_errors) in enumerate(stream.T.tolist(), start=1):
        test.add(Counts(canary, errors, stable, stable_errors))
        if test.events >= test.look(spent(PLANNED, minute, MINUTES)):
            return minute
    return MINUTES


def latency(repetitions: int) -> None:
    for kind in ("scale", "tail"):
        cells = {"same": Scenario()} | {f"p95 x {x}": Scenario(**{kind: x}) for x in (1.1, 1.25, 1.5)}
        compare(f"Latency, {kind}, 600 requests a minute", "latency_ms", cells, {}, repetitions)


def quality(repetitions: int) -> None:
    for rate in (600, 60):
        cells = {f"{score:.2f}": Scenario(rate=rate, score=score) for score in (0.80, 0.78, 0.75, 0.70)}
        compare(f"Mean score, a fifth is scored, {rate} requests a minute", "score", cells, {}, repetitions)


def transfer(repetitions: int) -> None:
    """G1: nothing is changed between these streams; the rules are tuned for the first."""
    print(f"\n**False rollbacks, % of {repetitions} identical canaries**, 300 requests a minute\n")
    print("| stream | Trunkline | Argo, 2.5 %, 2m, 3 failures | Flagger, 2.5 %, threshold 15 | a test each minute |")
    print("|---|---|---|---|---|")
    streams = {
        "production 1 %": Scenario(rate=300),
        "production 2 %": Scenario(rate=300, base=0.02),
        "production 0.3 %": Scenario(rate=300, base=0.003),
        "incident on both arms": Scenario(rate=300, incident=True),
        "sticky heavy users": Scenario(rate=300, users=1500),
    }
    rules: list[Rule] = [
        partial(argo, limit=0.025, interval=2, failures=3),
        partial(flagger, limit=0.025, threshold=15),
        peeking,
    ]
    chosen = plan(least=NEVER, metrics=("error", "latency_ms", "score"))
    for name, scenario in streams.items():
        found = [until(chosen, draw(scenario, seed), seed) for seed in range(repetitions)]
        ours = 100 * np.mean([minute < MINUTES for minute, _ in found])
        seen = minutes_of([rows for _, rows in found], "error")
        shares = [100 * np.mean(rule(seen) < MINUTES) for rule in rules]
        print(f"| {name} | {ours:.1f} | " + " | ".join(f"{share:.1f}" for share in shares) + " |", flush=True)
    chosen = plan(poll=30, metrics=("error", "latency_ms", "score"))
    found = [gated(chosen, Scenario(rate=300), seed)[0] for seed in range(repetitions)]
    ours = 100 * np.mean([action == "rollback" for action in found])
    print(f"| production 1 %, the ramp that asks for evidence | {ours:.1f} | | | |")


def peeking(minutes: Minutes) -> Array:
    """A z-test of all counts so far, each minute at 5 %."""
    n1, n0 = (np.cumsum(requests, axis=1) for requests in minutes.requests)
    e1 = np.cumsum(np.nan_to_num(minutes.canary) * minutes.requests[0], axis=1)
    e0 = np.cumsum(np.nan_to_num(minutes.stable) * minutes.requests[1], axis=1)
    pooled = (e1 + e0) / (n1 + n0)
    z = (e1 / n1 - e0 / n0) / np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / n1 + 1 / n0), 1e-12))
    reached = z > 1.645
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, MINUTES)


def gated(chosen: Plan, scenario: Scenario, seed: int, lost: float = 0.0) -> tuple[str, float, int, int]:
    """A ramp that goes on when the analysis says so: what became of it, when, bad answers, and canary requests.

    Args:
        lost: the share of the canary's requests that leave no trace.
    """
    stream = draw(scenario, seed)
    analysis = analysis_of(chosen, stream, seed)
    gone = np.random.default_rng(seed).random(stream.time.size) < lost
    edges = np.searchsorted(stream.time, np.arange(0, 60 * scenario.minutes + 1e-9, chosen.poll_seconds))
    weight, bad, asked = chosen.steps[0].weight, 0, 0
    for number, (start, end) in enumerate(pairwise(edges.tolist())):
        if start == end:
            continue
        rows = stream.rows(slice(start, end), np.full(end - start, weight))
        bad, asked = bad + int(bad_of(rows, "error").sum()), asked + int(rows.canary.sum())
        rows = rows.taken(~(rows.canary & gone[start:end]))
        clock = number * chosen.poll_seconds
        if rows.time.size:
            ended = clock + chosen.poll_seconds
            analysis.look(Window(clock, ended, rows, Place(float(rows.time[-1]), ended)))
        finding = analysis.finding
        if analysis.over or finding.because == "sample ratio":
            return finding.because if finding.action == "hold" else finding.action, clock / 60, bad, asked
        weight = finding.to if finding.to is not None else weight
    return "undecided", float(scenario.minutes), bad, asked


def evidence(repetitions: int) -> None:
    """G3 and G4: promotion needs proof."""
    for rate, minutes, poll in ((600, 240, 30), (60, 600, 60)):
        print(f"\n**The ramp that asks for evidence**, {rate} requests a minute, {repetitions} rollouts a row\n")
        print("| canary's errors, times production's | rolled back % | promoted % | undecided % | bad | mean minutes |")
        print("|---|---|---|---|---|---|")
        chosen = plan(poll=poll, horizon=minutes, placebos=PLACEBOS)
        for ratio in (0.5, 1.0, 1.5, 2.0, 3.0):
            scenario = Scenario(rate=rate, ratio=ratio, minutes=minutes)
            found = [gated(chosen, scenario, seed) for seed in range(repetitions)]
            shares = [100 * np.mean([what in group for what, *_ in found]) for group in (("rollback",), ("promote",))]
            bad, spent = np.mean([row[2] for row in found]), np.mean([row[1] for row in found])
            left = 100 - sum(shares)
            print(
                f"| {ratio:g} | {shares[0]:.1f} | {shares[1]:.1f} | {left:.1f} | {bad:.1f} | {spent:.0f} |", flush=True
            )


def polling(repetitions: int) -> None:
    """G5, looking every five seconds."""
    print(f"\n**Looking every five seconds**, 600 requests a minute at 5 %, {repetitions} rollouts a row\n")
    print("| canary | outcome % | median s | mean bad |")
    print("|---|---|---|---|")
    chosen = plan(poll=5, horizon=240, placebos=PLACEBOS)
    for name, scenario, lost in (
        ("fails always", Scenario(failing=1.0, minutes=10), 0.0),
        ("fails in a fifth", Scenario(failing=0.2, minutes=10), 0.0),
        ("logs nothing", Scenario(minutes=20), 1.0),
        ("loses half", Scenario(minutes=20), 0.5),
        ("the same", Scenario(minutes=20), 0.0),
    ):
        found = [gated(chosen, scenario, seed, lost) for seed in range(repetitions)]
        wanted = [row for row in found if row[0] in ("rollback", "sample ratio")]
        seconds = np.median([60 * row[1] + 5 for row in wanted]) if wanted else np.nan
        share, bad = 100 * len(wanted) / len(found), np.mean([row[2] for row in found])
        print(f"| {name} | {share:.1f} rolled back or held | {seconds:.0f} | {bad:.1f} |", flush=True)


def sticky(repetitions: int) -> None:
    """G6: what the units' own histories save."""
    print(f"\n**Sticky heavy users**, 300 requests a minute, {repetitions} rollouts a row\n")
    print("| worse | history | detected % | mean canary requests |")
    print("|---|---|---|---|")
    for metric, worse in (("error", {"ratio": 3.0}), ("latency_ms", {"scale": 1.25})):
        chosen = plan(least=NEVER, metrics=(metric,), placebos=PLACEBOS)
        for name, before in (("none", 0), ("two hours", 120)):
            asked, detected = [], []
            for seed in range(repetitions):
                minute, rows = until(chosen, draw(Scenario(rate=300, users=1500, before=before, **worse), seed), seed)
                detected.append(minute < MINUTES)
                asked.append(rows.canary[rows.time < 60 * minute].sum())
            shown = f"{100 * np.mean(detected):.1f} | {np.mean(asked):.0f}"
            print(f"| {metric} | {name} | {shown} |", flush=True)


def missing(repetitions: int) -> None:
    """G8: no data is neither good nor bad news."""
    print(f"\n**Missing data of an identical canary**, {repetitions} rollouts a row\n")
    print("| what is missing | rolled back | promoted |")
    print("|---|---|---|")
    chosen = plan(poll=5, horizon=240, metrics=("error", "latency_ms", "score"))
    gaps: dict[str, Callable[[Array], Array]] = {
        "everything after two minutes": lambda time: time < 120,
        "every second half minute": lambda time: time // 30 % 2 == 0,
        "both arms for half an hour": lambda time: (time < 120) | (time > 1920),
    }
    for name, kept in gaps.items():
        actions = []
        for seed in range(repetitions):
            stream = draw(Scenario(minutes=33, before=0), seed)
            where = kept(stream.time)
            rows = stream.rows(where, np.full(int(where.sum()), 0.05))
            analysis = analysis_of(chosen, stream, seed)
            for window in windows(rows, chosen):
                analysis.look(window)
            actions.append(analysis.finding.action)
        print(f"| {name} | {actions.count('rollback')} | {actions.count('promote')} |", flush=True)


PARTS: dict[str, Callable[[int], None]] = {
    part.__name__: part for part in (errors, exact, latency, quality, transfer, evidence, polling, sticky, missing)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="20 rollouts a cell: minutes instead of an hour")
    parser.add_argument("--only", default=",".join(PARTS), help="parts by name, separated by commas")
    arguments = parser.parse_args()
    for name in arguments.only.split(","):
        PARTS[name](20 if arguments.quick else arguments.repetitions)


if __name__ == "__main__":
    main()
