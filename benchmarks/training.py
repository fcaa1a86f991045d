"""Training speed beside Hugging Face Trainer and TRL: the same examples, adapters, steps and learning rates.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/training.py [--examples 48] [--epochs 3]

Three epochs are what both rivals do by default.

Run it where `dvc repro base` has made models/base. Prints a Markdown table and writes
benchmarks/results/training.json. Seconds are those of the training loop, optimizer included; loading and
tokenising are left out for everyone. CPU seconds count only this process, so they hold on a shared machine.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CONTENDERS = [
    "Trunkline",
    "Trunkline, fp32",
    "TRL SFTTrainer, defaults",
    "TRL SFTTrainer, tuned",
    "TRL SFTTrainer, tuned and packed",
    "HF Trainer, defaults",
    "HF Trainer, tuned",
]
PROMPTS = ["short", "label list", "JSON"]
RESULT = Path("benchmarks/results/training.json")
HEADER = "| prompt (tokens, shared) | contender | examples/s | Trunkline faster by | by CPU | holdout loss | memory |"


def measure(contender: str, prompt: str, examples: int, epochs: int) -> dict[str, Any]:
    """Run one contender in a process of its own."""
    script = Path(__file__).with_name("training_contenders.py")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(script), contender, prompt, str(examples), str(epochs)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{contender} failed on {prompt}:\n{done.stderr[-2000:]}")
    print(f"{prompt}: {contender} done", file=sys.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(results: dict[str, dict[str, dict[str, Any]]], passes: int) -> str:
    """The Markdown table: speeds by wall time, ratios by wall and by CPU seconds; ``passes``: examples times epochs."""
    lines = [HEADER, "|---|---|---|---|---|---|---|"]
    for prompt, found in results.items():
        own = found["Trunkline"]
        for contender, result in found.items():
            lines.append(
                f"| {prompt} ({own['tokens']:.0f}, {own['shared']}) | {contender} | {passes / result['seconds']:.1f} "
                f"| {result['seconds'] / own['seconds']:.1f}x | {result['cpu_seconds'] / own['cpu_seconds']:.1f}x "
                f"| {result['holdout_loss']:.3f} | {result['peak_memory_gb']:.1f} GB |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--prompts", nargs="+", default=PROMPTS, choices=PROMPTS)
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS, choices=CONTENDERS)
    arguments = parser.parse_args()
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    about = {"examples": arguments.examples, "epochs": arguments.epochs, "threads": threads}
    about |= {"at": datetime.now(UTC).isoformat(timespec="seconds")}
    results: dict[str, dict[str, dict[str, Any]]] = {prompt: {} for prompt in arguments.prompts}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    for prompt, found in results.items():
        for contender in arguments.contenders:
            found[contender] = measure(contender, prompt, arguments.examples, arguments.epochs)
            RESULT.write_text(json.dumps({**about, "results": results}, indent=2) + "\n", encoding="utf-8")
    print(table(results, arguments.examples * arguments.epochs))


if __name__ == "__main__":
    main()
