"""Fine-tune the candidate: LoRA adapters, loss on the answers only, the shared prompt run once a step.

Of a hosted model, only answers are pinned.

Started by torchrun, several processes divide every step among them; the first alone writes.
"""

import logging
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import peft
import torch
from pydantic import JsonValue

from trunkline import packing
from trunkline.clients import files, model
from trunkline.clients.model import LoadedModel
from trunkline.clients.progress import Progress
from trunkline.errors import Error
from trunkline.params import Params, TrainParams
from trunkline.records import Base, Bundle, Report, Task
from trunkline.stages.train import adapter, budget, checkpoint, examples, hosted
from trunkline.stages.train.bodies import Bodies
from trunkline.stages.train.curve import Curve
from trunkline.stages.train.loop import History, Run, train
from trunkline.stages.train.optimizer import Optimizer
from trunkline.stages.train.prefix import Prefix
from trunkline.stages.train.processes import Processes, joined
from trunkline.verdict import Check, Verdict

TRAIN = Path("data/train.parquet")
TASK = Path("data/task.json")
BASE = Path("models/base")
CANDIDATE = Path("models/candidate")
REPORT = Path("reports/train.json")

_log = logging.getLogger(__name__)


def run(params: Params) -> None:
    """Write ``models/candidate/`` (an adapter and its bundle), the report and the curve.

    Raises:
        Error: an input is missing or damaged, examples are too long, memory is short, the loss is not finite, or
            the budget is used up, which leaves the checkpoint.
    """
    frame = examples.read(TRAIN)
    task = Task.read(TASK)
    if params.train.method == "none":
        files.write_text(REPORT, hosted.write(frame, task, params.train, BASE, CANDIDATE).text())
        return
    loaded = model.load(BASE, None, params.train.precision, params.train.attention)
    base = Base.read(BASE / model.BASE_RECORD)
    bundle = Bundle(
        kind="lora",
        release=None,
        base=base.sha256,
        weights={},
        task=task,
        partitions=tuple(sorted(frame["partition"].unique())),
        trained_on=files.sha256(TRAIN),
        params=params.train.model_dump(mode="json"),
        configuration=base.configuration,
    )
    encoded = examples.encode(frame, task, loaded, params.train.max_tokens)
    with joined(loaded.device) as processes, _explained_memory(params.train):
        adapted = adapter.attach(loaded.model, params.train)
        shared = packing.shared_prefix([example.prompt for example in encoded]) if _shares(params.train) else 0
        optimizer = Optimizer(adapter.trainable(adapted), params.train, loaded.model.dtype)
        prefix = Prefix(loaded.model, encoded[0].prompt[:shared])
        bodies = Bodies(loaded.model, prefix, encoded, params.train.pack_tokens)
        keep = params.train.epochs > 1 and processes.count == 1 and bodies.fits
        job = Run(loaded.model, encoded, prefix, params.train, processes, bodies if keep else None)
        key = _key(bundle, loaded, processes)
        history = _resume(key, optimizer, processes)
        budget.check(job, history)
        if processes.leads:
            _describe(job, adapted, loaded)
            with Curve(history) as curve:
                train(job, optimizer, history, _observer(job, key, optimizer, history, curve))
        else:
            train(job, optimizer, history, lambda: None)
        optimizer.finish()
    if processes.leads:
        _write_candidate(adapted, bundle)
        files.write_text(REPORT, _report(job, adapted, history).text())
        checkpoint.remove()


def _shares(params: TrainParams) -> bool:
    # Dropout must fall differently on every example, so the prefix cannot be run once for all of them.
    return params.share_prefix and params.dropout == 0


def _key(bundle: Bundle, loaded: LoadedModel, processes: Processes) -> str:
    recipe = {
        name: value for name, value in bundle.params.items() if name not in ("checkpoint_seconds", "max_gpu_hours")
    }
    identity = bundle.model_copy(update={"params": recipe})
    machine = f"{loaded.device.type} {loaded.model.dtype} {loaded.model.config._attn_implementation}"
    return checkpoint.key_of(bundle=identity.model_dump(mode="json"), machine=machine, processes=processes.count)


def _resume(key: str, optimizer: Optimizer, processes: Processes) -> History:
    stored = processes.from_leader(checkpoint.read(key) if processes.leads else None)
    if stored is None:
        return History()
    optimizer.restore(stored["optimizer"])
    history = History(**stored["history"])
    if processes.leads:
        _log.info("train  going on after step %d", history.steps)
    return history


def _describe(job: Run, adapted: peft.PeftModel, loaded: LoadedModel) -> None:
    tokens = sum(len(example.prompt) + len(example.answer) for example in job.examples)
    _log.info(
        "train  %d examples of %.0f tokens, %d of them shared; %d parameters; %s on %s, %d process(es)",
        len(job.examples),
        tokens / len(job.examples),
        job.prefix.length,
        sum(parameter.numel() for parameter in adapter.trainable(adapted)),
        str(loaded.model.dtype).removeprefix("torch."),
        loaded.device.type,
        job.processes.count,
    )


def _observer(job: Run, key: str, optimizer: Optimizer, history: History, curve: Curve) -> Callable[[], None]:
    """What happens after each step: the curve, the progress line, and a checkpoint when it is time."""
    progress = Progress("train", job.steps, "steps")
    progress.update(history.steps)
    before, start, earlier = history.tokens, time.monotonic(), history.seconds
    saved = start

    def observe() -> None:
        nonlocal saved
        now = time.monotonic()
        history.seconds = earlier + now - start
        speed = (history.tokens - before) / max(now - start, 1e-9)
        curve.add(history)
        progress.update(history.steps, f"loss {history.losses[-1]:.3f}  {speed:.0f} tokens/s")
        if now - saved >= job.params.checkpoint_seconds or budget.spent(job, history):
            checkpoint.write(key, {"optimizer": optimizer.state(), "history": history.state()})
            saved = time.monotonic()
        budget.check(job, history)

    return observe


def _write_candidate(adapted: peft.PeftModel, bundle: Bundle) -> None:
    with files.replacing(CANDIDATE) as partial:
        partial.mkdir()
        adapter.save(adapted, partial, str(BASE))
        weights = {path.name: files.sha256(path) for path in sorted(partial.iterdir())}
        text = bundle.model_copy(update={"weights": weights}).text()
        (partial / model.BUNDLE_RECORD).write_text(text, encoding="utf-8")


def _report(job: Run, adapted: peft.PeftModel, history: History) -> Report:
    tail = history.losses[-max(1, history.steps // 10) :]
    final, first = sum(tail) / len(tail), history.losses[0]
    learned = Verdict.INCONCLUSIVE if history.steps == 1 else Verdict.PASS if final < first else Verdict.FAIL
    message = f"the loss went from {first:.3f} to {final:.3f} (mean of the last tenth of the steps)"
    check = Check(name="train.loss", verdict=learned, value=final, limit=first, message=message)
    metrics: dict[str, JsonValue] = {
        "loss": final,
        "steps": history.steps,
        "examples": len(job.examples),
        "tokens": history.tokens,
        "shared_tokens": job.prefix.length,
        "trainable_parameters": sum(parameter.numel() for parameter in adapter.trainable(adapted)),
        "seconds": round(history.seconds, 1),
        "gpu_hours": round(budget.gpu_hours(job, history), 5),
        "examples_per_second": round(len(job.examples) * job.params.epochs / history.seconds, 2),
        "tokens_per_second": round(history.tokens / history.seconds),
        "peak_memory_gb": round(_peak_bytes() / 1e9, 2),
    }
    curve: JsonValue = list(history.losses)
    return Report.of("train", (check,), metrics, {"loss": curve})


def _peak_bytes() -> int:
    """Most memory this process ever held: of its GPU when it has one, else resident."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _explained_memory(params: TrainParams) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # On the CPU torch raises a plain RuntimeError with the words of its allocator.
        words = ("out of memory", "not enough memory", "can't allocate memory")
        if not isinstance(error, MemoryError) and not any(part in str(error).lower() for part in words):
            raise
        raise Error(
            f"not enough memory for train.batch_size {params.batch_size}, train.pack_tokens {params.pack_tokens}",
            "lower train.batch_size, then train.pack_tokens",
        ) from error
