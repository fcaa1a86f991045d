"""One model's answers to the holdout: generated, or taken again from the last run when nothing changed."""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import NamedTuple

import polars as pl
import torch
import transformers

from trunkline import prompts, transforms
from trunkline.clients import files, generation, model
from trunkline.clients.generation import Conversation, LocalGenerator
from trunkline.clients.progress import Progress
from trunkline.errors import Error
from trunkline.params import EvaluateParams
from trunkline.records import PREDICTION_COLUMNS, Bundle, Record
from trunkline.verdict import FiniteFloat

BASE = Path("models/base")
MODELS = Path("models")
PREDICTIONS = Path("data/predictions")
NLL = "nll"
_COLUMNS = (*PREDICTION_COLUMNS, NLL)

_log = logging.getLogger(__name__)


class Generated(Record):
    """``data/predictions/<side>.json``: what the file beside it was generated from.

    Attributes:
        key: SHA-256 over all that decides the answers and how fast they come.
        sha256: of the Parquet file.
        seconds: that answering took.
    """

    key: str
    sha256: str
    seconds: FiniteFloat


class Question(NamedTuple):
    """What one side is asked, and how.

    Attributes:
        side: ``production`` or ``candidate``.
        conversations: the holdout's messages as this side's own task puts them.
        references: the right answers.
        labels: the only answers it may give, or None.
    """

    side: str
    bundle: Bundle
    conversations: list[Conversation]
    references: list[str]
    labels: tuple[str, ...] | None


class Answers(NamedTuple):
    """A table of PREDICTION_COLUMNS and ``nll`` in the holdout's order, and how it came about."""

    frame: pl.DataFrame
    key: str
    seconds: float
    reused: bool


def ask(side: str, holdout: pl.DataFrame, constrained: bool) -> Question:
    """Put the holdout's messages to a side by the transforms and the prompt it was trained with.

    Raises:
        Error: the side's bundle is missing or broken, or names a transform that is not registered.
    """
    bundle = Bundle.read(MODELS / side / model.BUNDLE_RECORD)
    task = bundle.task
    try:
        inputs = [transforms.apply(task.transforms, message) for message in holdout["message"]]
    except Error as error:
        raise Error(f"{side}: {error.problem}", f"register it again: {side} was trained with it") from None
    closed = task.answer.allowed.get(task.answer.fields[0]) if task.answer.format == "label" else None
    conversations = [prompts.render(task, text) for text in inputs]
    return Question(side, bundle, conversations, holdout["answer"].to_list(), closed if constrained else None)


def answer(question: Question, ids: pl.Series, settings: EvaluateParams) -> Answers:
    """A side's answers, from the last run where they are whole and nothing that decides them changed.

    Raises:
        Error: the model is missing, damaged, or cannot read a prompt.
    """
    base, side = _folders(question.side)
    # Answers are used again only beside the very files they came from.
    model.verify(base, side)
    key = _key(question, ids, settings)
    kept = _kept(question.side, key)
    if kept is not None:
        _log.info("evaluate  %s: nothing changed, its answers are used again", question.side)
        return kept
    loaded = model.load(base, side, settings.precision, settings.attention)
    progress = Progress(f"evaluate {question.side}", len(question.conversations), "examples")
    progress.update(0)
    generator = LocalGenerator(loaded, settings.batch_size, settings.max_new_tokens, question.labels, progress.update)
    made = generator.generate(question.conversations, question.references)
    frame = pl.DataFrame(made, schema=generation.Generation._fields, orient="row")
    return Answers(frame.select(ids, *_COLUMNS[1:]), key, generator.seconds, False)


def write(side: str, answers: Answers, scores: list[pl.Series]) -> None:
    """Write a side's answers with their scores, then what they were generated from."""
    path = PREDICTIONS / f"{side}.parquet"
    files.write_table(path, answers.frame.with_columns(scores))
    record = Generated(key=answers.key, sha256=files.sha256(path), seconds=answers.seconds)
    files.write_text(path.with_suffix(".json"), record.text())


def _folders(side: str) -> tuple[Path, Path]:
    """The base model and the adapter of a side."""
    # A release that was trained on another base model brings that one along.
    own = MODELS / side / "base"
    return own if own.is_dir() else BASE, MODELS / side


def _kept(side: str, key: str) -> Answers | None:
    """The last run's answers if they have this key and are byte for byte what was written."""
    path = PREDICTIONS / f"{side}.parquet"
    if not path.is_file() or not path.with_suffix(".json").is_file():
        return None
    try:
        record = Generated.read(path.with_suffix(".json"))
        if record.key != key:
            return None
        if files.sha256(path) != record.sha256:
            _log.warning("evaluate  %s is damaged, so its answers are generated again", path)
            return None
        return Answers(files.read_table(path, _COLUMNS).select(_COLUMNS), key, record.seconds, True)
    except Error as error:
        _log.warning("evaluate  %s, so its answers are generated again", error.problem)
        return None


def _key(question: Question, ids: pl.Series, settings: EvaluateParams) -> str:
    """What decides the answers: model, questions, decoding, code; and the machine, which decides their speed."""
    content = {
        "model": [question.bundle.kind, question.bundle.base, question.bundle.weights],
        "ids": ids.to_list(),
        "asked": [question.conversations, question.references, question.labels],
        "decoding": [settings.batch_size, settings.max_new_tokens],
        "code": [files.sha256(path) for path in _sources()],
        "versions": [torch.__version__, transformers.__version__],
        "machine": _machine(settings),
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _sources() -> list[Path]:
    folder = Path(str(generation.__file__)).parent
    return [*sorted(folder.glob("*.py")), Path(model.__file__)]


def _machine(settings: EvaluateParams) -> list[str]:
    device = model.choose_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu {os.cpu_count()}"
    return [name, str(model.choose_precision(settings.precision)), model.choose_attention(settings.attention)]
