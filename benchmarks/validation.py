"""Validate 1,000,000 rows: Trunkline against pandera on pandas, pointblank and dataframely, same rules.

    python -m venv /tmp/bench && . /tmp/bench/bin/activate
    pip install . -r benchmarks/requirements.txt
    python benchmarks/validation.py

Every contender runs in a process of its own, in turn, and reads the same Parquet file; timed is what it
does with the loaded frame: count the failing rows of every rule and keep the valid rows. Their counts must
be equal. The pieces of the data stage follow, on the same rows.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

INTENTS = tuple(f"intent_{number}" for number in range(12))
URGENCIES = ("low", "normal", "high")
REQUIRED = ("id", "customer", "conversation", "created_at", "message", "intent", "urgency")
SHORTEST, LONGEST = 3, 300
ISO = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
COLUMNS = (*REQUIRED, "channel", "language")

Timed = TypeVar("Timed")
Result = tuple[dict[str, int], int]
"""Failing rows by rule, rules without a failure left out, and the number of valid rows."""


def write_rows(path: Path, count: int) -> None:
    """Messages of 16 words; 1 % of rows break each rule, 3 % hold personal data, 1 % nearly repeat a message."""
    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnoprstuvwy"))
    words = pl.Series(["".join(random.choice(letters, size)) for size in random.integers(2, 9, 3_000)])
    drawn = {f"w{n}": words.gather(random.integers(0, len(words), count)) for n in range(16)}
    message = pl.DataFrame(drawn).select(pl.concat_str(pl.all(), separator=" ")).to_series()
    number = pl.arange(0, count, eager=True)
    message = pl.select(pl.when(number % 100 == 1).then(message.shift(1) + "!").otherwise(message)).to_series()
    moment = pl.select(pl.datetime(2026, 7, 1) + pl.duration(seconds=number)).to_series()
    frame = pl.DataFrame(
        {
            "id": "m" + number.cast(pl.String),
            "customer": "c" + (number // 6).cast(pl.String),
            "conversation": "v" + (number // 3).cast(pl.String),
            "created_at": moment.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "message": message,
            "intent": pl.Series(INTENTS).gather(random.integers(0, len(INTENTS), count)),
            "urgency": pl.Series(URGENCIES).gather(random.integers(0, 3, count)),
            "channel": pl.Series(["app", "email"] * (count // 2)),
            "language": pl.repeat("en", count, eager=True),
        }
    )
    broken = {
        "id": pl.lit("m0"),
        "customer": None,
        "created_at": pl.lit("01/07/2026"),
        "message": pl.lit("x" * (LONGEST + 50)),
        "intent": pl.lit("other"),
        "urgency": None,
    }
    for position, (column, value) in enumerate(broken.items()):
        hit = number % 100 == 10 * position + 5
        frame = frame.with_columns(pl.when(hit).then(value).otherwise(pl.col(column)).alias(column))
    personal = (
        pl.when(number % 33 == 2).then(pl.col("message") + " ann@example.com +49 30 12345678").otherwise("message")
    )
    frame.with_columns(personal.alias("message")).write_parquet(path)


def trunkline(path: Path) -> Callable[[], Result]:
    from trunkline import schema
    from trunkline.clients import tables
    from trunkline.records import Answer

    raw = tables.read(path.parent, COLUMNS).rows
    columns = schema.Columns("id", "message", "customer", "conversation", "created_at", ("channel", "language"))
    answer = Answer(format="json", fields=("intent", "urgency"), allowed={"intent": INTENTS, "urgency": URGENCIES})

    def validate() -> Result:
        found = schema.filter_rows(raw, columns, answer, schema.Chars(SHORTEST, LONGEST), schema.Chars(1, 400))
        return {_short(rule): count for rule, count in found.counts.items()}, found.valid.height

    return validate


def _short(rule: str) -> str:
    column, text = rule.split(": ")
    words = {"missing": "missing", "repeats": "unique", "shorter": "short", "longer": "long", "ISO": "time"}
    return f"{column} {next((short for word, short in words.items() if word in text), 'allowed')}"


def pandera_pandas(path: Path) -> Callable[[], Result]:
    import pandas as pd
    import pandera.pandas as pa

    frame = pd.read_parquet(path)

    def check(function: Callable[["pd.Series"], "pd.Series"], name: str) -> pa.Check:
        return pa.Check(function, name=name)

    def is_time(series: "pd.Series") -> "pd.Series":
        return series.str.fullmatch(ISO) & pd.to_datetime(series, format="ISO8601", utc=True, errors="coerce").notna()

    schema = pa.DataFrameSchema(
        {
            "id": pa.Column(str, checks=check(lambda s: ~s.duplicated(), "unique")),
            "customer": pa.Column(str),
            "conversation": pa.Column(str),
            "created_at": pa.Column(str, checks=check(is_time, "time")),
            "message": pa.Column(
                str,
                checks=[
                    check(lambda s: s.str.len() >= SHORTEST, "short"),
                    check(lambda s: s.str.len() <= LONGEST, "long"),
                ],
            ),
            "intent": pa.Column(str, checks=check(lambda s: s.isin(INTENTS), "allowed")),
            "urgency": pa.Column(str, checks=check(lambda s: s.isin(URGENCIES), "allowed")),
            "channel": pa.Column(str, nullable=True),
            "language": pa.Column(str, nullable=True),
        }
    )

    def validate() -> Result:
        try:
            return {}, len(schema.validate(frame, lazy=True))
        except pa.errors.SchemaErrors as errors:
            cases = errors.failure_cases
            counts = {
                f"{column} {rule.replace('not_nullable', 'missing')}": len(rows)
                for (column, rule), rows in cases.groupby(["column", "check"])
            }
            return counts, len(frame.drop(index=cases["index"].dropna().unique()))

    return validate


def _polars_rules() -> dict[str, pl.Expr]:
    length = pl.col("message").str.len_chars()
    parsed = pl.col("created_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False)
    rules = {f"{column} missing": pl.col(column).is_not_null() for column in REQUIRED}
    return rules | {
        "id unique": pl.col("id").is_first_distinct() | pl.col("id").is_null(),
        "created_at time": pl.col("created_at").str.contains(ISO) & parsed.is_not_null(),
        "message short": length >= SHORTEST,
        "message long": length <= LONGEST,
        "intent allowed": pl.col("intent").is_in(list(INTENTS)),
        "urgency allowed": pl.col("urgency").is_in(list(URGENCIES)),
    }


def pointblank(path: Path) -> Callable[[], Result]:
    import pointblank as pb

    frame = pl.read_parquet(path)

    def validate() -> Result:
        plan, names = pb.Validate(frame), []
        for name, rule in _polars_rules().items():
            names.append(name)
            # A null passes every rule but that it is missing, as for the others.
            plan = plan.col_vals_expr(expr=rule.fill_null(True))
        plan = plan.interrogate()
        failed = plan.n_failed()
        counts = {name: failed[step] for step, name in enumerate(names, 1) if failed[step]}
        return counts, plan.get_sundered_data(type="pass").height

    return validate


def dataframely(path: Path) -> Callable[[], Result]:
    import dataframely as dy

    frame = pl.read_parquet(path)
    fields: dict[str, Any] = {column: dy.String(nullable=True) for column in COLUMNS}

    def rule_of(expression: pl.Expr) -> object:
        return dy.rule()(lambda cls: expression.fill_null(True))

    rules = {name.replace(" ", "_"): rule_of(rule) for name, rule in _polars_rules().items()}
    checked = type("Messages", (dy.Schema,), fields | rules)

    def validate() -> Result:
        valid, failure = checked.filter(frame)
        return {" ".join(rule.rsplit("_", 1)): count for rule, count in failure.counts().items()}, valid.height

    return validate


CONTENDERS = {
    "Trunkline (pandera on Polars)": trunkline,
    "pandera on pandas": pandera_pandas,
    "pointblank on Polars": pointblank,
    "dataframely on Polars": dataframely,
}


def pieces(path: Path, folder: Path) -> dict[str, float]:
    """Seconds of each piece of the data stage on the same rows."""
    from trunkline import duplicates, pii, schema, shift
    from trunkline.clients import tables
    from trunkline.records import Answer

    seconds: dict[str, float] = {}

    def timed(name: str, function: Callable[[], Timed]) -> Timed:
        start = time.perf_counter()
        result = function()
        seconds[name] = time.perf_counter() - start
        return result

    pl.read_parquet(path).write_ndjson(folder / "rows.jsonl")
    raw = timed("read JSON Lines", lambda: tables.read(folder, COLUMNS)).rows
    columns = schema.Columns("id", "message", "customer", "conversation", "created_at", ("channel", "language"))
    answer = Answer(format="json", fields=("intent", "urgency"), allowed={"intent": INTENTS, "urgency": URGENCIES})
    limits = schema.Chars(SHORTEST, LONGEST), schema.Chars(1, 400)
    valid = timed("validate", lambda: schema.filter_rows(raw, columns, answer, *limits)).valid
    messages = timed("find and mask personal data", lambda: pii.mask_column(valid["message"])).texts
    timed("duplicates and conflicts", lambda: duplicates.repeats(messages, valid["answer"]))
    timed("near-duplicates", lambda: duplicates.near_duplicates(messages, 0.85))
    table = valid.select("channel", "answer.intent", length=pl.col("message").str.len_chars())
    half = table.height // 2
    timed("shift", lambda: shift.measure(table[:half], table[half:], 0.01))
    return seconds


def _one(name: str, path: Path) -> None:
    if name == "pieces":
        with tempfile.TemporaryDirectory() as folder:
            found: dict[str, Any] = {"seconds": pieces(path, Path(folder))}
    else:
        validate = CONTENDERS[name](path)
        start, cpu = time.perf_counter(), time.process_time()
        counts, valid = validate()
        found = {
            "wall": time.perf_counter() - start,
            "cpu": time.process_time() - cpu,
            "counts": counts,
            "valid": valid,
        }
    found["gib"] = _peak_gib()
    print(json.dumps(found))


def _peak_gib() -> float:
    """This program's largest resident memory; getrusage would tell that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def _run(name: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--contender", name, "--file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        _one(arguments.contender, arguments.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_rows(path, arguments.rows)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
        for _ in range(arguments.repeats):
            for name in CONTENDERS:
                runs[name].append(_run(name, path))
        found = _run("pieces", path)
    _print(runs, found, arguments.rows)


def _print(runs: dict[str, list[dict[str, Any]]], found: dict[str, Any], rows: int) -> None:
    ours, *_ = runs
    expected = runs[ours][0]
    for name, results in runs.items():
        for result in results:
            assert result["counts"] == expected["counts"], (name, result["counts"], expected["counts"])
            assert result["valid"] == expected["valid"], (name, result["valid"], expected["valid"])
    wall = {name: statistics.median(result["wall"] for result in results) for name, results in runs.items()}
    print(
        f"{rows:,} rows, {len(expected['counts'])} rules broken, {expected['valid']:,} rows valid for each contender;"
    )
    print(f"median of {len(runs[ours])} runs in turn; Python {platform.python_version()}, {platform.machine()}.\n")
    print("| contender | rows/s | time against ours | CPU s | peak memory |")
    print("|---|---|---|---|---|")
    for name, results in runs.items():
        cpu = statistics.median(result["cpu"] for result in results)
        memory = max(result["gib"] for result in results)
        print(f"| {name} | {rows / wall[name]:,.0f} | {wall[name] / wall[ours]:.1f} x | {cpu:.1f} | {memory:.2f} GiB |")
    print("\n| piece of the data stage | s | rows/s |\n|---|---|---|")
    for name, seconds in found["seconds"].items():
        print(f"| {name} | {seconds:.1f} | {rows / seconds:,.0f} |")
    total = sum(found["seconds"].values())
    print(f"| all | {total:.1f} | {rows / total:,.0f} |\n\nPeak memory of the pieces together: {found['gib']:.2f} GiB.")


if __name__ == "__main__":
    main()
