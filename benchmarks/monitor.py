"""Look at a large prediction log: `trunkline monitor` beside reading the same columns into polars or pandas.

    pip install '.[serve]' -r benchmarks/requirements.txt      # and a PostgreSQL: apt-get install postgresql
    python benchmarks/monitor.py --rows 300000

A release has served for 33 days, all of which are windows that the monitor reads: its first seven and the last thirty.
Three predictions make a conversation; one in a hundred failed, one in twenty has personal data, one in fifty a label.
The log is written with its own tables, straight into the database.
`trunkline monitor` does all that it does: totals, drawn conversations, features, tests, labels, the page. The others
read the columns that totals need and compute only these, over everything at once: counts, errors, quantiles, tokens,
cost and who answered. Seconds, CPU and peak memory are those of one process from its start to its end; the server's
CPU is told by itself.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("tests", "src")]

DAYS = 33
AT_ONCE = 100_000
_SECOND = 10**6
_COLUMNS = "a.unit, o.status, o.error, o.latency_ms, o.ttft_ms, o.tokens_in, o.tokens_out, o.usd, o.engine_model"
QUERY = f"SELECT {_COLUMNS} FROM assignment a LEFT JOIN outcome o ON a.prediction = o.prediction"  # noqa: S608


class Cost(NamedTuple):
    """What a process took: seconds, processor seconds of it and of the database's server, and GiB."""

    seconds: float
    cpu: float
    server: float
    peak: float


def batches(rows: int) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
    """Rows of the log by table, in order of time."""
    import numpy as np

    import monitored

    rng = np.random.default_rng(1)
    texts, intents = monitored.messages(20_000, rng)
    answers = [monitored.said(monitored.answer(intent), rng) for intent in intents]
    sure = monitored.confidences(texts, rng)
    start = int(monitored.START.timestamp() * _SECOND)
    for first in range(0, rows, AT_ONCE):
        count = min(AT_ONCE, rows - first)
        numbers = np.arange(first, first + count)
        times = (start + (numbers + 0.5) * (DAYS * 86_400 * _SECOND / rows)).astype(np.int64).tolist()
        units = (numbers // 300 * 100 + rng.integers(0, 100, count)).tolist()
        drawn, tails = (rng.integers(0, high, count).tolist() for high in (len(texts), 1 << 48))
        latency = rng.lognormal(6, 0.4, count).round(2).tolist()
        chances = rng.random((count, 3)).tolist()
        ids = [
            f"{t // 1000:012x}"[:8] + f"-{t // 1000 & 0xFFFF:04x}-7000-8000-{tail:012x}"
            for t, tail in zip(times, tails, strict=True)
        ]
        assigned, ended, said = [], [], []
        for id, t, unit, at, ms, chance in zip(ids, times, units, drawn, latency, chances, strict=True):
            failed = chance[0] < 0.01
            name = ("stable", 0.0, None, monitored.RELEASE, "production")
            assigned.append((id, t, f"conversation-{unit}", f"c-{unit // 2}", *name, texts[at], False, None))
            engine = (None, None, None, None) if failed else ("m", "fp-1", "stop", sure[at])
            found = f'["pii@1:{id[-12:]}"]' if chance[1] < 0.05 else "[]"
            paid = (None, None, None, None, None) if failed else (ms / 3, 190, 24, 1e-5, answers[at])
            last = (None if failed else True, found, *engine)
            ended.append((id, t + int(ms * 1000), *((500, "engine") if failed else (200, None)), ms, *paid, *last))
            if chance[2] < 0.02:
                said.append((id, id, t + 60 * _SECOND, "agent", monitored.answer(intents[at]), None, None))
        yield {"assignment": assigned, "outcome": ended, "feedback": said}


def fill(url: str, rows: int) -> None:
    """Make a log of so many predictions; indexes come last, as that is faster."""
    import sqlalchemy as sa

    from trunkline.clients.predictions import tables
    from trunkline.clients.predictions.database import Database

    engine = Database(url).engine
    indexes = [index for table in tables.metadata.sorted_tables for index in table.indexes]
    for index in indexes:
        index.drop(engine)
    lite = engine.dialect.name == "sqlite"
    raw: Any = engine.raw_connection()
    if lite:
        raw.execute("PRAGMA synchronous=OFF")
        raw.execute("PRAGMA cache_size=-400000")
    else:
        raw.cursor().execute("SET statement_timeout = 0")
        raw.cursor().execute("SET maintenance_work_mem = '512MB'")
    for batch in batches(rows):
        (_insert if lite else _copy)(raw, batch)
    for index in indexes:
        raw.cursor().execute(str(sa.schema.CreateIndex(index).compile(engine)))
    if not lite:
        # As autovacuum does by itself; nobody does it to an SQLite log.
        raw.cursor().execute("ANALYZE")
    raw.commit()
    raw.close()
    engine.dispose()


def _insert(raw: Any, batch: dict[str, list[tuple[Any, ...]]]) -> None:  # noqa: ANN401 - a driver's connection
    raw.execute("BEGIN")
    for table, rows in batch.items():
        if rows:
            raw.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608
    raw.execute("COMMIT")


def _copy(raw: Any, batch: dict[str, list[tuple[Any, ...]]]) -> None:  # noqa: ANN401 - a driver's connection
    with raw.cursor() as cursor:
        for table, rows in batch.items():
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
    raw.commit()


def monitor(_: str) -> None:
    import monitored
    from trunkline import cli

    assert cli.main(["monitor", "--until", monitored.after(DAYS)]) in (0, 3)


def by_polars(url: str) -> None:
    import polars as pl
    import sqlalchemy as sa

    with sa.create_engine(url).connect() as connection:
        frame = pl.read_database(QUERY, connection, infer_schema_length=None)
    answered = frame.filter(pl.col("status") < 400)
    told = [frame.height, frame["unit"].n_unique(), frame["error"].is_not_null().mean(), frame["usd"].mean()]
    told += [frame["tokens_in"].mean(), frame["tokens_out"].mean(), answered["ttft_ms"].quantile(0.95, "linear")]
    told += [answered["latency_ms"].quantile(part, "linear") for part in (0.5, 0.95)]
    print(told, frame["engine_model"].value_counts().height)


def by_pandas(url: str) -> None:
    import pandas as pd
    import sqlalchemy as sa

    with sa.create_engine(url).connect() as connection:
        frame = pd.read_sql(sa.text(QUERY), connection)
    answered = frame[frame["status"] < 400]
    told = [len(frame), frame["unit"].nunique(), frame["error"].notna().mean(), frame["usd"].mean()]
    told += [frame["tokens_in"].mean(), frame["tokens_out"].mean(), answered["ttft_ms"].quantile(0.95)]
    told += [answered["latency_ms"].quantile(part) for part in (0.5, 0.95)]
    print(told, len(frame["engine_model"].value_counts()))


CONTENDERS: dict[str, Callable[[str], None]] = {"trunkline": monitor, "polars": by_polars, "pandas": by_pandas}


def ask(name: str, url: str, folder: Path, server: int | None) -> Cost:
    """Run one of `CONTENDERS` in a process of its own."""
    threads = {one: "1" for one in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")}
    before, start = _server_cpu(server), time.perf_counter()
    command = [sys.executable, str(Path(__file__).resolve()), "--run", name, "--url", url]
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | threads, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        output.seek(0)
        said = output.read()
    if status:
        raise SystemExit(said[-3000:])
    seconds = time.perf_counter() - start
    # The server counts a connection's process in once it has ended.
    time.sleep(1.0)
    cpu = used.ru_utime + used.ru_stime
    return Cost(seconds, cpu, _server_cpu(server) - before, int(said.split()[-1]) / 2**20)


def _server_cpu(server: int | None) -> float:
    import psutil

    if server is None:
        return 0.0
    times = psutil.Process(server).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000, help="predictions in the log")
    parser.add_argument("--part", type=int, default=1_000_000, help="the others get a log of at most so many")
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        CONTENDERS[arguments.run](arguments.url)
        # The kernel's own maximum would count what this process was forked from.
        print(*re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text()))
        return
    print(f"{'':<24}{'predictions':>13}{'seconds':>10}{'CPU':>8}{'server':>8}{'us each':>9}{'peak GiB':>10}")
    for database in arguments.databases:
        sizes: dict[int, list[str]] = {}
        for name in arguments.contenders:
            rows = arguments.rows if name == "trunkline" else min(arguments.part, arguments.rows)
            sizes.setdefault(rows, []).append(name)
        for rows, names in sizes.items():
            compare(database, rows, names)


def compare(database: str, rows: int, names: list[str]) -> None:
    """Fill one log, let each look at it, and print a line each."""
    import monitored
    import postgres

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        server = postgres.Postgres().__enter__() if database == "postgresql" else None
        try:
            url = server.database("log") if server else f"sqlite:///{folder}/log.sqlite"
            monitored.build(folder, serve__log__database=url, monitor__windows=30)
            fill(url, rows)
            for name in names:
                cost = ask(name, url, folder, server.process if server else None)
                each = 1e6 * (cost.cpu + cost.server) / rows
                told = f"{cost.seconds:>10.1f}{cost.cpu:>8.1f}{cost.server:>8.1f}{each:>9.1f}{cost.peak:>10.2f}"
                print(f"{database + ', ' + name:<24}{rows:>13,}{told}", flush=True)
        finally:
            if server:
                server.__exit__()


if __name__ == "__main__":
    main()
