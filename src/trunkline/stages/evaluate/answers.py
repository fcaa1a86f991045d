"""One model's answers: generated, or taken again from the last run where nothing changed."""

import hashlib
import json
import logging
import os
import uuid
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
from trunkline.records import SIDES, Bundle, Record
from trunkline.stages.evaluate.hosted import Hosted, is_hosted
from trunkline.stages.evaluate.sides import MODELS, Models, folders

PREDICTIONS = Path("data/predictions")
_SCHEMA = {
    "id": pl.String,
    "output": pl.String,
    "tokens_in": pl.Int64,
    "tokens_out": pl.Int64,
    "latency_ms": pl.Float64,
    "seconds": pl.Float64,
    "usd": pl.Float64,
    "nll": pl.Float64,
    "confidence": pl.Float64,
}

_log = logging.getLogger(__name__)


class Generated(Record):
    """``data/predictions/<name>.json``: what the file beside it was generated from.

    Attributes:
        key: SHA-256 over all that decides the answers and how fast they come.
        sha256: of the Parquet file.
    """

    key: str
    sha256: str


class Question(NamedTuple):
    """What one side is asked, and how.

    Attributes:
        name: of the files with the answers, such as ``candidate``.
        side: ``production`` or ``candidate``.
        bundle: the side's identity.
        ids: of the messages.
        conversations: the messages as this side's own task puts them.
        references: the right answers, where their likelihood is asked for.
        labels: the only answers it may give, or None.
    """

    name: str
    side: str
    bundle: Bundle
    ids: list[str]
    conversations: list[Conversation]
    references: list[str] | None
    labels: tuple[str, ...] | None


def ask(side: str, name: str, messages: pl.DataFrame, constrained: bool) -> Question:
    """Put messages (``id``, ``message``) to a side by the transforms and the prompt it was trained with.

    Raises:
        Error: the side's bundle is missing or broken, or names a transform that is not registered.
    """
    bundle = Bundle.read(MODELS / side / model.BUNDLE_RECORD)
    task = bundle.task
    try:
        inputs = [transforms.apply(task.transforms, message) for message in messages["message"]]
    except Error as error:
        raise Error(f"{side}: {error.problem}", f"{error.hint}; {side} was trained with it") from None
    closed = task.answer.allowed.get(task.answer.fields[0]) if task.answer.format == "label" else None
    conversations = [prompts.render(task, text) for text in inputs]
    return Question(name, side, bundle, messages["id"].to_list(), conversations, None, closed if constrained else None)


class Respondent:
    """One side that answers as many of its questions, from the first on, as it is asked for.

    Attributes:
        frame: PREDICTION_COLUMNS, ``seconds``, ``nll`` and ``confidence`` of the questions answered so far.
        reused: whether all of them are the last run's.
    """

    def __init__(self, question: Question, settings: EvaluateParams, models: Models, hosted: Hosted | None) -> None:
        """Take the last run's answers where they are whole and nothing that decides them changed.

        Args:
            question: what is asked.
            settings: how.
            models: has the side's own.
            hosted: who is asked, where it is no model of this process.

        Raises:
            Error: the model is missing or damaged.
        """
        self.question, self._settings, self._models, self._hosted = question, settings, models, hosted
        if hosted is None:
            # Answers are used again only beside the very files they came from.
            model.verify(*folders(question.side))
        self._key = _key(question, settings, hosted)
        kept = _kept(question, self._key)
        self.reused = kept is not None
        self._kept = pl.DataFrame(schema=_SCHEMA) if kept is None else kept
        self.frame = self._kept.head(0)
        self._generator: LocalGenerator | None = None
        self._progress: Progress | None = None

    def answer(self, count: int) -> pl.DataFrame:
        """The first ``count`` answers.

        Raises:
            Error: the model cannot be loaded, or cannot read a prompt.
        """
        known, question = self._kept.height, self.question
        if count > known:
            part = slice(known, count)
            likely = None if question.references is None else question.references[part]
            made = self._generate(question.conversations[part], likely)
            added = made.with_columns(pl.Series("id", question.ids[part])).select(list(_SCHEMA))
            self._kept = pl.concat([self._kept.cast(_SCHEMA), added.cast(_SCHEMA)])  # type: ignore[arg-type]
            self.reused = False
        elif count > self.frame.height:
            _log.info("evaluate  %s: nothing changed, its answers are used again", question.name)
        self.frame = self._kept.head(count)
        if self._hosted is None:
            price = pl.col("seconds") * self._settings.usd_per_hour / 3600
            self.frame = self.frame.with_columns(price.alias("usd"))
        return self.frame

    def _generate(self, conversations: list[Conversation], references: list[str] | None) -> pl.DataFrame:
        settings, question = self._settings, self.question
        if self._progress is None:
            self._progress = Progress(f"evaluate {question.name}", len(question.conversations), "examples")
            self._progress.update(self._kept.height)
        if self._hosted is not None:
            return self._hosted.generate(conversations, question.labels, settings.max_new_tokens, self._show)
        if self._generator is None:
            loaded = self._models.load(question.side)
            self._generator = LocalGenerator(
                loaded, settings.batch_size, settings.max_new_tokens, question.labels, self._show
            )
        made = self._generator.generate(conversations, references)
        frame = pl.DataFrame(made, schema=generation.Generation._fields, orient="row")
        return frame.with_columns(pl.lit(None, pl.Float64).alias("usd"))

    def _show(self, done: int, note: str) -> None:
        if self._progress is not None:
            self._progress.update(self._kept.height + done, note)

    def write(self, scores: list[pl.Series]) -> None:
        """Write the answers with their scores, then what they were generated from; nothing more is asked."""
        self._generator = None  # its model's memory is for the next side's
        path = PREDICTIONS / f"{self.question.name}.parquet"
        files.write_table(path, self.frame.with_columns(*scores))
        record = Generated(key=self._key, sha256=files.sha256(path))
        files.write_text(path.with_suffix(".json"), record.text())


def providers() -> dict[str, Hosted]:
    """The sides whose model a provider serves.

    Raises:
        Error: a record is missing or damaged, or a provider does not answer.
    """
    found = {}
    for side in SIDES:
        base, folder = folders(side)
        if is_hosted(base):
            # Before the first release production is the same model, so what is pinned with the candidate tells.
            pinned = Bundle.read(folder / model.BUNDLE_RECORD).kind == "hosted"
            found[side] = Hosted(side, folder if pinned else MODELS / SIDES[1], base)
    return found


def _kept(question: Question, key: str) -> pl.DataFrame | None:
    """The last run's answers if they have this key and are byte for byte what was written."""
    path = PREDICTIONS / f"{question.name}.parquet"
    if not path.is_file() or not path.with_suffix(".json").is_file():
        return None
    try:
        record = Generated.read(path.with_suffix(".json"))
        if record.key != key:
            return None
        if files.sha256(path) != record.sha256:
            _log.warning("evaluate  %s is damaged, so its answers are generated again", path)
            return None
        return files.read_table(path, tuple(_SCHEMA)).select(list(_SCHEMA))
    except Error as error:
        _log.warning("evaluate  %s, so its answers are generated again", error.problem)
        return None


def _key(question: Question, settings: EvaluateParams, hosted: Hosted | None) -> str:
    """What decides the answers: model, questions, decoding, code; and the machine, which decides their speed."""
    bundle = question.bundle
    content: dict[str, object] = {
        "model": [bundle.kind, bundle.base, bundle.weights, bundle.configuration],
        "ids": question.ids,
        "asked": [question.conversations, question.references, question.labels],
        "decoding": [settings.batch_size, settings.max_new_tokens],
        "code": [files.sha256(path) for path in _sources()],
        "versions": [torch.__version__, transformers.__version__],
        "machine": _machine(settings),
    }
    if hosted is not None:
        # Without anything to know the model by, no answer of it is used again.
        content["provider"] = hosted.known or uuid.uuid4().hex
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _sources() -> list[Path]:
    folder = Path(str(generation.__file__)).parent
    return [*sorted(folder.glob("*.py")), Path(model.__file__)]


def _machine(settings: EvaluateParams) -> list[str]:
    device = model.choose_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu {os.cpu_count()}"
    return [name, str(model.choose_precision(settings.precision)), model.choose_attention(settings.attention)]
