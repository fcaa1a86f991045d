"""Ask the embedded engine, `transformers serve` and llama.cpp the same: tokens a second, and time to the first token.

    python -m venv /tmp/llama && /tmp/llama/bin/pip install xllamacpp
    python benchmarks/engine.py [--model models/base] [--tokens 32] [--requests 8,16,32] [--threads 1]
        [--llama /tmp/llama/bin/python --gguf FILE]

Every server runs in a process of its own, one after the other, with the same weights, precision, attention and
number of threads, but for llama.cpp, which takes the file of quantised weights that the starter's base model was
made of; without it, it is left out. One client asks all of them by OpenAI's streaming API. Prompts differ in their
last words, as messages behind one system prompt do. The first request warms a server up and is not counted.
Processor seconds of the server for each token stand beside wall time, as they hardly notice a busy machine.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from trunkline import params
from trunkline.clients import engines
from trunkline.clients.engines import Engine
from trunkline.params.serve import EngineParams, PriceParams, TimeoutParams
from trunkline.records.serving import Request

RESULTS = Path(__file__).parent / "results" / "engine.json"
CONCURRENCIES = (1, 8, 32)
PORT = 18765
SYSTEM = (
    "You sort messages to the support team of a payments app. Answer with one JSON object and nothing else: "
    '{"intent": "...", "urgency": "..."}\nintent is what the customer asks for now, not what is solved.\n'
    "urgency is one of: low, normal, high."
)
CONTENDERS = {
    "trunkline engine": [sys.executable, "-m", "trunkline", "engine", "--model", "{model}", "--port", "{port}"],
    "transformers serve --continuous-batching": ["transformers", "serve", "--continuous-batching", "--port", "{port}"],
    "transformers serve": ["transformers", "serve", "--port", "{port}"],
    "llama.cpp": ["{llama}", "-c", "{script}", "{gguf}", "{port}", "{threads}"],
}
# As many places as there are requests at once, and room for a prompt and its answer in each.
LLAMA = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[3])
params.n_parallel, params.n_ctx = 32, 32 * 512
server = xllamacpp.Server(params)
while True:
    time.sleep(60)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/base"))
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--requests", default="8,16,32", help="at each concurrency")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--llama", help="the Python of an environment that has xllamacpp")
    parser.add_argument("--gguf", help="what llama.cpp serves")
    arguments = parser.parse_args()
    counts = dict(zip(CONCURRENCIES, map(int, arguments.requests.split(",")), strict=True))
    found = {}
    for name in CONTENDERS if arguments.llama else [name for name in CONTENDERS if name != "llama.cpp"]:
        with served(name, arguments) as pid:
            found[name] = asyncio.run(measured(name, arguments.model.resolve(), pid, counts, arguments.tokens))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"cpu": cpu(), **vars(arguments), "found": found}, indent=2, default=str))
    show(found)


@contextmanager
def served(name: str, arguments: argparse.Namespace) -> Iterator[int]:
    threads = arguments.threads
    known = {**vars(arguments), "model": arguments.model.resolve(), "port": PORT, "script": LLAMA}
    command = [word.format(**known) for word in CONTENDERS[name]]
    if name.startswith("trunkline"):
        command += ["--threads", str(threads)]
    elif name.startswith("transformers"):
        precision = params.load(Path("params.yaml")).evaluate.precision
        dtype = {"auto": "bfloat16", "bf16": "bfloat16", "fp32": "float32"}[precision]
        command += ["--dtype", dtype, "--attn-implementation", "eager", "--log-level", "error"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def driver(name: str, model: Path) -> Engine:
    kind = "embedded" if name.startswith("trunkline") else "openai"
    settings = EngineParams(
        kind=kind,
        url=f"http://127.0.0.1:{PORT}",
        model=str(model) if name.startswith("transformers") else None,
        key=None,
        usd_per_million=PriceParams(input=0, output=0),
        # It ends connections behind an answer without a word.
        retries=3 if name == "llama.cpp" else 0,
    )
    limits = TimeoutParams(connect=5, first_token=300, next_token=300, total=600)
    return engines.connect(settings, limits)


async def measured(name: str, model: Path, pid: int, counts: dict[int, int], tokens: int) -> dict[str, Any]:
    engine = driver(name, model)
    start = time.perf_counter()
    await ready(engine)
    await ask(engine, 0, tokens)
    found: dict[str, Any] = {"start_s": time.perf_counter() - start}
    for concurrency, count in counts.items():
        found[str(concurrency)] = await load(engine, concurrency, count, tokens, pid)
    await engine.close()
    return found


async def ready(engine: Engine) -> None:
    for _ in range(600):
        try:
            return await engine.health()
        except Exception:
            await asyncio.sleep(0.2)
    raise SystemExit("a server does not start")


async def load(engine: Engine, concurrency: int, count: int, tokens: int, pid: int) -> dict[str, float]:
    places = asyncio.Semaphore(concurrency)

    async def one(number: int) -> tuple[float, int]:
        async with places:
            return await ask(engine, number, tokens)

    before, start = processor_seconds(pid), time.perf_counter()
    answers = await asyncio.gather(*(one(number) for number in range(1, count + 1)))
    wall, used = time.perf_counter() - start, processor_seconds(pid) - before
    written = sum(number for _, number in answers)
    return {
        "tokens_per_s": written / wall,
        "ttft_ms_p50": statistics.median(first for first, _ in answers),
        "cpu_s_per_token": used / written,
        "tokens": written,
    }


async def ask(engine: Engine, number: int, tokens: int) -> tuple[float, int]:
    """Milliseconds to the first token, and the number of tokens."""
    message = f"Message {number}: my card ending in {1000 + 37 * number} was declined twice today, what can I do?"
    messages = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": message})
    request = Request(prompt=messages, max_new_tokens=tokens, temperature=0)
    chunks = 0
    async with aclosing(engine.stream(request)) as stream:
        async for chunk in stream:
            chunks += 1
            if chunk.end is not None:
                end = chunk.end
    return end.ttft_ms or 0.0, end.tokens_out or chunks - 1


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(found: dict[str, Any]) -> None:
    own = found["trunkline engine"]
    print("| | " + " | ".join(f"{c} at once: tokens/s, first token, CPU s/token" for c in CONCURRENCIES) + " |")
    print("|---" * (len(CONCURRENCIES) + 1) + "|")
    for name, measures in found.items():
        cells = []
        for concurrency in map(str, CONCURRENCIES):
            m, mine = measures[concurrency], own[concurrency]
            cells.append(
                f"{m['tokens_per_s']:.1f} (x {mine['tokens_per_s'] / m['tokens_per_s']:.1f}), "
                f"{m['ttft_ms_p50']:,.0f} ms (/ {m['ttft_ms_p50'] / mine['ttft_ms_p50']:.1f}), "
                f"{m['cpu_s_per_token']:.3f}"
            )
        print(f"| {name} | {' | '.join(cells)} |")


def cpu() -> str:
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
