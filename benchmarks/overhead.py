"""What the pipeline costs beside the work itself: the wall time of `dvc repro` over bare training and generation.

    python benchmarks/overhead.py

Run it in a clone where nothing has run yet. Everything else counts as overhead: DVC, starting Python and
torch once a stage, checking data, loading and hashing weights, scoring, reports. Fetching and converting the
base model, which happens once and not in every pull request, stands apart.
"""

import json
import subprocess
import time
from pathlib import Path

import polars as pl

STAGES = ("base", "data", "features", "production", "train", "evaluate", "compare")


def main() -> None:
    walls = {}
    for stage in STAGES:
        start = time.perf_counter()
        subprocess.run(["dvc", "repro", "--single-item", stage], check=True, stdout=subprocess.DEVNULL)
        walls[stage] = time.perf_counter() - start
    training = json.loads(Path("reports/train.json").read_text())["metrics"]["seconds"]
    answers = [pl.read_parquet(path) for path in Path("data/predictions").glob("*.parquet")]
    generation = sum(float(frame["seconds"].sum()) for frame in answers if "seconds" in frame.columns)
    bare, wall = training + generation, sum(walls.values()) - walls["base"]
    print("| " + " | ".join(STAGES) + " | training alone | generation alone | overhead |")
    print("|---" * (len(STAGES) + 3) + "|")
    cells = [f"{walls[stage]:.0f} s" for stage in STAGES]
    print(f"| {' | '.join(cells)} | {training:.0f} s | {generation:.0f} s | {100 * (wall / bare - 1):.0f} % |")


if __name__ == "__main__":
    main()
