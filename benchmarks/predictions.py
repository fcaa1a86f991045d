"""Log predictions: Trunkline's log against one transaction a record, on SQLite and on PostgreSQL.

    pip install '.[serve]'        # and a PostgreSQL: apt-get install postgresql
    python benchmarks/predictions.py

A prediction is two records, the assignment and the outcome, of 0.3 and 0.4 kB. What people write first is an insert
and a commit where the request is handled; Trunkline appends to its spool there, and a thread moves batches. Both
end with every record committed and on disk, which is checked. Waiting is what the request handler sees of it, for
both records together. The databases have their default durability: SQLite in WAL mode with synchronous=FULL.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import logged
import postgres
from trunkline.clients import predictions
from trunkline.clients.predictions import connection, tables
from trunkline.clients.predictions.database import Database
from trunkline.params import LogParams
from trunkline.records.prediction import Selection

SECONDS = 5.0
Result = tuple[float, list[float]]


def trunkline(settings: LogParams, seconds: float) -> Result:
    log = predictions.Log(settings)
    start = time.perf_counter()
    waits = _repeat(log.record, seconds)
    assert log.flush(120)
    took = time.perf_counter() - start
    assert log.close(10)
    return len(waits) / took, waits


def one_by_one(settings: LogParams, seconds: float) -> Result:
    Database(settings.database).close()
    engine = connection.connect(settings.database)

    def insert(record: object) -> None:
        with engine.begin() as open_:
            open_.execute(sa.insert(tables.TABLES[type(record)]), tables.to_row(record))

    start = time.perf_counter()
    waits = _repeat(insert, seconds)
    took = time.perf_counter() - start
    engine.dispose()
    return len(waits) / took, waits


def _repeat(record: Callable[..., None], seconds: float) -> list[float]:
    """Log prediction after prediction; how long each waited. The spool's room bounds how far ahead it may be."""
    waits = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        assignment = logged.assigned(input="x" * 60)
        outcome = logged.ended(assignment)
        made = time.perf_counter()
        while True:
            try:
                record(assignment)
                record(outcome)
                break
            except predictions.Full:
                time.sleep(0.01)
        waits.append(time.perf_counter() - made)
    assert start >= end
    return waits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each of the four runs")
    seconds = parser.parse_args().seconds
    print(f"{'':<34}{'predictions/s':>14}{'waiting p50':>14}{'p99':>10}{'longest':>10}")
    with tempfile.TemporaryDirectory() as temporary, postgres.Postgres(durable=True) as server:
        for name in ("sqlite", "postgresql"):
            rates = []
            for run in (trunkline, one_by_one):
                folder = Path(temporary) / f"{name}-{run.__name__}"
                folder.mkdir()
                url = f"sqlite:///{folder}/log.sqlite" if name == "sqlite" else server.database(run.__name__)
                settings = logged.settings(folder, database=url, spool_mb=64)
                rate, waits = run(settings, seconds)
                with predictions.reading(settings) as database:
                    frame = database.window(Selection())
                assert (frame.height, frame["status"].null_count()) == (len(waits), 0)
                rates.append(rate)
                ms = [f"{1_000 * value:.2f} ms" for value in (*_percentiles(waits), max(waits))]
                print(f"{name + ', ' + run.__name__:<34}{rate:>14,.0f}{ms[0]:>14}{ms[1]:>10}{ms[2]:>10}")
            print(f"{'ratio':<34}{rates[0] / rates[1]:>14.1f}")


def _percentiles(waits: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(waits, n=100)
    return cuts[49], cuts[98]


if __name__ == "__main__":
    main()
