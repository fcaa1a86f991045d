"""Answer holdout-like messages with a base model: Trunkline's generation against what a user would pick instead.

    python benchmarks/evaluation.py [--examples 128] [--batch 64] [--repeats 3] [--base models/base]

Free answers of up to 40 tokens, and answers from a closed set of labels. Every contender runs in a process
of its own, in turn, with the same model, precision, batch size and prompts; loading is not timed, one small
batch warms each up. In fp32 all must give the same answers; in bf16 rounding decides near-ties, so the share
of equal answers is printed. Processor seconds stand beside wall time, as they hardly notice a busy machine.
"""

import argparse
import copy
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from trunkline import params
from trunkline.clients import model
from trunkline.clients.generation import LocalGenerator
from trunkline.clients.generation.prefix import common
from trunkline.clients.model import LoadedModel, encode_answer, encode_prompt

RESULTS = Path(__file__).parent / "results" / "evaluation.json"
NEW_TOKENS = 40
INTENTS = params.load(Path("params.yaml")).data.answer.allowed["intent"]
SYSTEM = {
    "free": "You sort messages to the support team of a payments app. Answer with one JSON object and nothing else: "
    '{"intent": "...", "urgency": "..."}\nintent is what the customer asks for now, not what is solved or only '
    f"mentioned. One of: {', '.join(INTENTS)}.\nurgency is one of: low, normal, high. high: money is at risk, the "
    "customer cannot pay for essentials, or there is a deadline within two days. low: it can wait. normal: the rest.",
    "labels": "Name what the customer of a payments app asks for. Answer with exactly one of these intents and "
    f"nothing else: {', '.join(INTENTS)}.",
}

Prompts = list[list[int]]
Answers = list[list[int]]


def conversations(task: str, count: int) -> list[list[dict[str, str]]]:
    lines = (line for path in sorted(Path("data/raw").glob("*.jsonl")) for line in path.open(encoding="utf-8"))
    messages = [str(row["message"]) for row in map(json.loads, lines) if row.get("intent") in INTENTS]
    chosen = messages[:: max(1, len(messages) // count)][:count]
    return [[{"role": "system", "content": SYSTEM[task]}, {"role": "user", "content": text}] for text in chosen]


def cut(tokens: Sequence[int], end: int) -> list[int]:
    """An answer up to and with the token that ends it."""
    found = list(tokens)
    return found[: found.index(end) + 1] if end in found else found


def padded(rows: Prompts, fill: int) -> dict[str, torch.Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[fill] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def trunkline(loaded: LoadedModel, task: str, batch: int) -> Callable[[list[Any]], list[str]]:
    def answer(asked: list[Any]) -> list[str]:
        generator = LocalGenerator(loaded, batch, NEW_TOKENS, INTENTS if task == "labels" else None, lambda *_: None)
        return [made.output for made in generator.generate(asked, [""] * len(asked))]

    return answer


def hf_generate(loaded: LoadedModel, task: str, batch: int) -> Callable[[list[Any]], list[str]]:
    """As documented: left padding, greedy, the prompts in their order."""
    return lambda asked: in_order(loaded, task, batch, [encode_prompt(loaded.tokenizer, one) for one in asked], False)


def hf_tuned(loaded: LoadedModel, task: str, batch: int) -> Callable[[list[Any]], list[str]]:
    """The prompts sorted by length, and the common prefix's cache computed once and repeated."""

    def answer(asked: list[Any]) -> list[str]:
        prompts = [encode_prompt(loaded.tokenizer, one) for one in asked]
        order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        found = in_order(loaded, task, batch, [prompts[number] for number in order], True)
        placed = dict(zip(order, found, strict=True))
        return [placed[number] for number in range(len(prompts))]

    return answer


def in_order(loaded: LoadedModel, task: str, batch: int, prompts: Prompts, cached: bool) -> list[str]:
    network, tokenizer, _ = loaded
    end = tokenizer.eos_token_id
    prefix = common(prompts) if cached else []
    cache = network(torch.tensor([prefix]), use_cache=True).cache if prefix else None
    texts = []
    for start in range(0, len(prompts), batch):
        rows = prompts[start : start + batch]
        inputs = padded([row[len(prefix) :] for row in rows], end)
        # The repeated prefix comes before the padding, as generate() takes cached tokens to be the first.
        whole = {name: torch.cat([torch.full((len(rows), len(prefix)), 1), value], 1) for name, value in inputs.items()}
        width = whole["input_ids"].shape[1]
        options: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": end}
        if cache is not None:
            options["cache"] = copy.deepcopy(cache)
            options["cache"].batch_repeat_interleave(len(rows))
            whole["input_ids"][:, : len(prefix)] = torch.tensor(prefix)
        if task == "labels":
            options["prefix_allowed_tokens_fn"] = allowed(loaded, width)
        made = network.generate(**whole, **options)[:, width:].tolist()
        texts += [tokenizer.decode(cut(row, end), skip_special_tokens=True) for row in made]
    return texts


def allowed(loaded: LoadedModel, width: int) -> Callable[[int, torch.Tensor], list[int]]:
    endings = [encode_answer(loaded.tokenizer, label) for label in INTENTS]
    follow: dict[tuple[int, ...], set[int]] = {}
    for tokens in endings:
        for length in range(len(tokens)):
            follow.setdefault(tuple(tokens[:length]), set()).add(tokens[length])
    after: dict[tuple[int, ...], list[int]] = {key: sorted(value) for key, value in follow.items()}
    return lambda _, ids: after.get(tuple(ids[width:].tolist()), [loaded.tokenizer.eos_token_id])


def likelihood(loaded: LoadedModel, task: str, batch: int) -> Callable[[list[Any]], list[str]]:
    """As evaluation harnesses do: one forward pass a message and label, the likeliest whole label wins."""
    network, tokenizer, _ = loaded
    labels = [encode_answer(tokenizer, label) for label in INTENTS]

    def answer(asked: list[Any]) -> list[str]:
        prompts = [encode_prompt(tokenizer, one) for one in asked]
        pairs = [(prompt, label) for prompt in prompts for label in labels]
        scores: list[float] = []
        for start in range(0, len(pairs), batch):
            part = pairs[start : start + batch]
            inputs = padded([prompt + label for prompt, label in part], tokenizer.eos_token_id)
            longest = max(len(label) for _, label in part)
            logits = network(**inputs, logits_to_keep=longest + 1).logits.float().log_softmax(-1)
            for row, (_, label) in zip(logits, part, strict=True):
                tokens = torch.tensor(label)
                scores.append(row[-len(label) - 1 : -1].gather(-1, tokens[:, None]).sum().item())
        width = len(labels)
        rows = [scores[start : start + width] for start in range(0, len(scores), width)]
        return [INTENTS[row.index(max(row))] for row in rows]

    return answer


CONTENDERS = {
    "free": {"Trunkline": trunkline, "HF generate": hf_generate, "HF generate, sorted, prefix cached": hf_tuned},
    "labels": {
        "Trunkline": trunkline,
        "HF generate, allowed tokens": hf_generate,
        "HF generate, allowed tokens, sorted, prefix cached": hf_tuned,
        "likelihood of every label": likelihood,
    },
}
NOT_GREEDY = "likelihood of every label"  # another search: the whole label, not token by token


def contend(arguments: argparse.Namespace) -> None:
    """Run one contender in this process and print its times and answers as JSON."""
    name, task, precision = arguments.contender.split("/")
    # HF generate is faster with sdpa, the shared prefix has an attention of its own.
    loaded = model.load(arguments.base, None, precision, "auto" if name == "Trunkline" else "sdpa")
    asked = conversations(task, arguments.examples)
    with torch.inference_mode():
        answer = CONTENDERS[task][name](loaded, task, arguments.batch)
        answer(asked[:2])
        wall, cpu = time.perf_counter(), time.process_time()
        answers = answer(asked)
        times = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({**times, "answers": answers}))


def count(arguments: argparse.Namespace, precision: str) -> int:
    """fp32 is several times slower, and there to show that the answers are the same."""
    return arguments.examples if precision == "bf16" else max(8, arguments.examples // 4)


def measure(arguments: argparse.Namespace, name: str, task: str, precision: str) -> dict[str, Any]:
    shared = [
        "--examples",
        str(count(arguments, precision)),
        "--batch",
        str(arguments.batch),
        "--base",
        str(arguments.base),
    ]
    command = [sys.executable, __file__, "--contender", f"{name}/{task}/{precision}", *shared]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{task} {precision} {name}: {found['seconds']:.1f} s, {found['cpu_seconds']:.1f} s cpu", file=sys.stderr)
    return found


def compare(arguments: argparse.Namespace, task: str, precision: str) -> list[dict[str, Any]]:
    """Medians of all contenders, which take turns; the first is the one the others are held against."""
    names = list(CONTENDERS[task])
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(arguments.repeats):
        for name in names:
            runs[name].append(measure(arguments, name, task, precision))
    rows = []
    for name in names:
        times = {key: statistics.median(run[key] for run in runs[name]) for key in ("seconds", "cpu_seconds")}
        pairs = list(zip(runs[name][0]["answers"], runs[names[0]][0]["answers"], strict=True))
        same = sum(one == other for one, other in pairs) / len(pairs)
        if precision == "fp32" and name != NOT_GREEDY:
            assert same == 1, f"{name} gives other answers in fp32"
        row = {"task": task, "precision": precision, "contender": name, "examples": len(pairs)}
        rows.append({**row, **times, "same_answers": same})
    for row in rows:
        row["ratio"] = row["seconds"] / rows[0]["seconds"]
        row["cpu_ratio"] = row["cpu_seconds"] / rows[0]["cpu_seconds"]
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| answers | precision | | messages/s | Trunkline is faster by | in processor time by | same answers |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        speed = f"{row['examples'] / row['seconds']:.1f} | {row['ratio']:.2f}x | {row['cpu_ratio']:.2f}x"
        lines.append(
            f"| {row['task']} | {row['precision']} | {row['contender']} | {speed} | {row['same_answers']:.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--base", type=Path, default=Path("models/base"))
    parser.add_argument("--tasks", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--precisions", nargs="+", choices=["bf16", "fp32"], default=["bf16", "fp32"])
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        contend(arguments)
        return
    rows = [
        row
        for task in arguments.tasks
        for precision in arguments.precisions
        for row in compare(arguments, task, precision)
    ]
    machine = {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    settings = {"examples": arguments.examples, "batch": arguments.batch, "repeats": arguments.repeats}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**machine, **settings, "torch": torch.__version__, "rows": rows}, indent=2) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
