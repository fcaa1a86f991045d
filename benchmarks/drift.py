"""Drift over 1,000,000 predictions: Trunkline against Evidently on the same windows of 500.

    python -m venv /tmp/rival && /tmp/rival/bin/pip install -r benchmarks/requirements-drift.txt
    python benchmarks/drift.py --evidently /tmp/rival/bin/python

Messages are those of data/generator. The reference has 8,000 of six intents. A window without drift has 500 others
of the same six; with drift, 10 % of them ask for the two intents that the reference does not know, in the words
that belong to these (near), or are in German (far). A model names one of the six for each. Both look at the
message, its length and the label; Evidently with its defaults (a preset on text, number and category, from
DataFrames), Trunkline with the seven of its features that these give, at 1 % of false alarms a window in all, and
with nothing tolerated. An alarm is any column that drifted. Evidently is asked for a part of the windows, as it
takes minutes. Each runs in a process of its own with one thread. Seed 1 is what Trunkline's detectors were chosen by:
report another.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[1]
SIZE, REFERENCE, FOREIGN = 500, 8_000, 0.10
# So many of a kind are drawn from; a generator never writes the same message twice.
POOL = 16_000
LEVEL = 0.01
FEATURES = ("unknown_words", "language", "long_inputs", "short_inputs", "symbols", "pii", "labels")
KINDS = ("none", "near", "far")


def write(folder: Path, windows: int, seed: int) -> None:
    """Reference and windows: half of them without drift, a quarter of each kind with it."""
    import numpy as np
    import polars as pl

    sys.path.insert(0, str(ROOT))
    from data.generator.compose import Composer
    from data.generator.wording import INTENTS, URGENCIES

    random, rng = Random(seed), np.random.default_rng(seed)
    known, unknown = list(INTENTS[:-2]), list(INTENTS[-2:])

    def messages(language: str, intents: list[str], count: int) -> list[str]:
        composer = Composer(language, random)
        made = (
            composer.message(intents[n % len(intents)], URGENCIES[n // 7 % 3], "chat", 9, []).text for n in range(count)
        )
        texts = list(made)
        random.shuffle(texts)
        return texts

    usual = messages("en", known, REFERENCE + POOL)
    pools = {"near": messages("en", unknown, 2_000), "far": messages("de", known, 600)}
    reference, rest = usual[:REFERENCE], np.array(usual[REFERENCE:], dtype=object)
    frame(reference, rng.choice(known, REFERENCE)).write_parquet(folder / "reference.parquet")
    parts = []
    for number in range(windows):
        kind = KINDS[(0, 1, 0, 2)[number % 4]]
        foreign = 0 if kind == "none" else int(FOREIGN * SIZE)
        texts = list(rng.choice(rest, SIZE - foreign, replace=False))
        if foreign:
            texts += list(rng.choice(np.array(pools[kind], dtype=object), foreign, replace=False))
        drawn = frame(texts, rng.choice(known, SIZE))
        parts.append(drawn.with_columns(window=pl.lit(number), kind=pl.lit(kind)))
    pl.concat(parts).write_parquet(folder / "windows.parquet")


def frame(texts: list[str], labels: Any) -> Any:  # noqa: ANN401 - of libraries that are imported late
    import polars as pl

    return pl.DataFrame({"message": texts, "label": labels}).with_columns(length=pl.col("message").str.len_chars())


def by_trunkline(folder: Path) -> Callable[[int], list[str]]:
    """Gives the alarms of a window."""
    from datetime import UTC, datetime

    import numpy as np
    import polars as pl

    from trunkline.drift import features, judging, observed, watched
    from trunkline.drift import windows as times
    from trunkline.drift.judging import Rule
    from trunkline.drift.observed import Seen
    from trunkline.records import Answer

    reference = pl.read_parquet(folder / "reference.parquet")
    rows = pl.read_parquet(folder / "windows.parquet")
    known = features.vocabulary(reference["message"][: REFERENCE // 2])
    half = reference[REFERENCE // 2 :]
    things = watched.everything(FEATURES, Answer(format="label", fields=("label",), allowed={"label": ()}), ())
    things = tuple(one for one in things if one.kind == "drift")
    references = {
        "training": features.of_inputs(half["message"], known),
        "holdout": half.select(pl.col("label").alias("label:label")),
    }
    nothing: dict[Any, float] = {"drift": 0.0}
    rule = Rule(20, judging.PARTS * LEVEL, 1e-12, nothing, 1.0, 1, 0, 5)
    totals = observed.Totals(SIZE, SIZE, None, None, None, None, None, None, None, {})
    start = datetime(2026, 10, 1, tzinfo=UTC)

    def watch(number: int) -> list[str]:
        window = rows[number * SIZE : (number + 1) * SIZE]
        table = features.of_inputs(window["message"], known).with_columns(
            window["label"].alias("label:label"), prediction=pl.int_range(SIZE).cast(pl.String)
        )
        seen = [Seen(times.at(start, number, 24), totals, table, {}, np.empty(0), ())]
        steps = judging.series(seen, things, references, rule)
        return [key for key, one in steps.items() if one[0].alarm]

    return watch


def by_evidently(folder: Path) -> Callable[[int], list[str]]:
    """Gives the columns that drifted in a window."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(text_columns=["message"], numerical_columns=["length"], categorical_columns=["label"])
    columns = ["message", "length", "label"]
    reference = Dataset.from_pandas(pd.read_parquet(folder / "reference.parquet")[columns], data_definition=definition)
    rows = pd.read_parquet(folder / "windows.parquet")

    def watch(number: int) -> list[str]:
        window = rows.iloc[number * SIZE : (number + 1) * SIZE][columns].reset_index(drop=True)
        report = Report([DataDriftPreset()]).run(Dataset.from_pandas(window, data_definition=definition), reference)
        return [name for name, drifted in told(report.dict()) if drifted]

    return watch


def told(report: dict[str, Any]) -> list[tuple[str, bool]]:
    """Each column and whether Evidently says that it drifted: a p below its threshold, or a distance above it."""
    rows = []
    for metric in report["metrics"]:
        config = metric["config"]
        if config.get("type", "").endswith(":ValueDrift"):
            value, limit = float(metric["value"]), float(config["threshold"])
            rows.append((config["column"], value < limit if "p_value" in config["method"] else value >= limit))
    return rows


def run(contender: str, folder: Path, windows: int) -> None:
    """In a process of its own: CPU seconds of all windows, after data and libraries were loaded and a window seen."""
    watch = {"trunkline": by_trunkline, "evidently": by_evidently}[contender](folder)
    watch(0)
    start = time.process_time()
    alarms = [watch(number) for number in range(windows)]
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak": peak, "alarms": alarms}))


def ask(python: str, contender: str, folder: Path, windows: int) -> dict[str, Any]:
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")}
    command = [python, __file__, "--run", contender, "--folder", str(folder), "--windows", str(windows)]
    done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evidently", metavar="PYTHON", help="the interpreter that has it")
    parser.add_argument("--windows", type=int, default=2_000, help="of Trunkline")
    parser.add_argument("--part", type=int, default=200, help="windows of Evidently")
    parser.add_argument("--seed", type=int, default=2, help="of all that is drawn")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.run, arguments.folder, arguments.windows)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder, arguments.windows, arguments.seed)
        results = {"trunkline": (ask(sys.executable, "trunkline", folder, arguments.windows), arguments.windows)}
        if arguments.evidently:
            part = min(arguments.part, arguments.windows)
            results["evidently"] = (ask(arguments.evidently, "evidently", folder, part), part)
    show(results)


def show(results: dict[str, tuple[dict[str, Any], int]]) -> None:
    print(f"{'':<12}{'windows':>9}{'ms a window':>13}{'peak GiB':>10}{'no drift':>12}{'near':>12}{'far':>12}")
    for name, (result, windows) in results.items():
        kinds = [KINDS[(0, 1, 0, 2)[number % 4]] for number in range(windows)]
        shares = []
        for kind in KINDS:
            alarms = [bool(found) for found, here in zip(result["alarms"], kinds, strict=True) if here == kind]
            shares.append(f"{sum(alarms)}/{len(alarms)}")
        time_ms = 1_000 * result["seconds"] / windows
        print(f"{name:<12}{windows:>9,}{time_ms:>13.1f}{result['peak']:>10.2f}" + "".join(f"{s:>12}" for s in shares))
        columns = sorted({key for found in result["alarms"] for key in found})
        for column in columns:
            counts = [
                sum(column in found for found, here in zip(result["alarms"], kinds, strict=True) if here == kind)
                for kind in KINDS
            ]
            print(f"  {column:<42}" + "".join(f"{count:>12}" for count in counts))


if __name__ == "__main__":
    main()
