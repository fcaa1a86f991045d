"""What crosses a file boundary between steps, read at the edge, checked once, then trusted.

A model folder (``models/production``, ``models/candidate``) is a Bundle: ``bundle.json`` beside the
adapter's files. The columns of the Parquet files are named here too, so that no step guesses them.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from trunkline.errors import Error, first_mistake
from trunkline.verdict import Check, FiniteFloat, Verdict, worst

# A raw column `x` is read as text in `x`, with the kind of each value in `x:kind` (null: no value).
CELL_KINDS = ("text", "integer", "number", "boolean", "time", "other")
KIND_SUFFIX = ":kind"
# A raw column cannot be called like those that are put beside it, nor like what Polars takes for a pattern of names.
TAKEN_NAMES = re.compile(rf"^(partition|line|reasons|\*|\^.*\$|.*{KIND_SUFFIX})$", re.DOTALL)
# data/examples.parquet; slice columns follow. `time` is a UTC datetime or null, the others text.
EXAMPLE_COLUMNS = ("id", "partition", "customer", "conversation", "time", "message", "answer")
# data/train.parquet and data/holdout.parquet add `input`: the message after the task's transforms.
INPUT_COLUMN = "input"
# data/predictions/<side>.parquet; one `score_<scorer>` column (float, null = not applicable) each follows.
PREDICTION_COLUMNS = ("id", "output", "tokens_in", "tokens_out", "latency_ms", "usd")
# data/predictions/<side>_probes.parquet; `metric` is what a probe counts for, `score` 1 where the model failed it.
PROBE_COLUMNS = ("id", "metric", "message", "output", "score")
# Which of all these are text in every row, and which are numbers where they have a value.
TEXT_COLUMNS = (*(name for name in EXAMPLE_COLUMNS if name != "time"), INPUT_COLUMN, "output", "metric")
NUMBER_COLUMNS = (*PREDICTION_COLUMNS[2:], "score")
# Of examples that features planted; none of them was in the raw data.
CANARIES = "canaries"
# What a canary counts for that the model knows by heart; only the candidate is asked.
CANARY_METRIC = "canaries_memorised"
SCORE_PREFIX = "score_"
# Guardrails that are no scores, each from a column of the predictions.
AMOUNTS = {"tokens_out": "tokens_out", "usd_per_1000": "usd", "latency_ms_p95": "latency_ms"}
SIDES = ("production", "candidate")
# Begins the source of a base model that a provider serves: there are no weights, but a `serving.Provider`.
HOSTED = "hosted:"
PROVIDER_RECORD = "provider.json"


def probe_metrics(path: str) -> tuple[str, str]:
    """What the probes of a file count: attacks that succeed, and harmless messages that are refused."""
    name = Path(path).stem
    return f"{name}_attacks", f"{name}_refusals"


class Limits(NamedTuple):
    """What the gate decides by: margins and floors by name, the primary's margin among them, and two error rates."""

    primary: str
    margins: Mapping[str, float]
    floors: Mapping[str, float]
    alpha: float
    beta: float


class Terms(NamedTuple):
    """All that `compare` decides by.

    Attributes:
        limits: margins, floors and error rates.
        slice_margin: the loss in one slice that must not go unseen.
        dry_run: names that are measured and shown, not deciding.
        probes: files of probes.
        unit: the column of what is independent of what.
        seed: of the order of units.
    """

    limits: Limits
    slice_margin: float
    dry_run: tuple[str, ...]
    probes: tuple[str, ...]
    unit: str
    seed: int


class Record(BaseModel):
    """A frozen JSON document that is written whole and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one from a JSON file.

        Raises:
            Error: the file is missing, cannot be read, is not JSON, or does not have this record's fields.
        """
        hint = f"run `dvc repro` to write {path} again"
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise Error(f"{path} not found", hint) from None
        except OSError as error:
            raise Error(f"cannot read {path}: {error.strerror}", f"remove it, and {hint}") from None
        except ValidationError as error:
            raise Error(f"{path}: {first_mistake(error, 'the document')}", hint) from None

    def text(self) -> str:
        """The document as indented JSON ending in a newline, for clean diffs.

        A field that an older document did not have stays away, so that its text is what it was.
        """
        return self.model_dump_json(indent=2, by_alias=True, exclude_unset=True) + "\n"


class Answer(Record):
    """What a model must answer with.

    Attributes:
        format: ``json`` (one object), ``label`` (one of a closed set) or ``text``.
        fields: the raw columns that make the answer; exactly one for label and text.
        allowed: closed sets of values by field; a field not named takes any text.
    """

    format: Literal["json", "label", "text"]
    fields: tuple[str, ...] = Field(min_length=1)
    allowed: dict[str, tuple[str, ...]]


class Task(Record):
    """What a model is given and must answer; the same in training, evaluation and serving.

    Attributes:
        prompt_id: hash of the template's text and variables.
        template: the prompt template's source (jinja2, one block a chat role).
        variables: what the template may use besides the message, such as the labels.
        transforms: ids ``name@version:hash`` applied to a message before it is rendered, in order.
        answer: the answer's format.
    """

    prompt_id: str
    template: str
    variables: dict[str, tuple[str, ...]]
    transforms: tuple[str, ...]
    answer: Answer


class Base(Record):
    """The base model's identity, in ``models/base/base.json``.

    Attributes:
        source: ``base.model`` of params.yaml.
        weights: SHA-256 by name of the safetensors files; of a hosted model, of PROVIDER_RECORD.
        sha256: one hash for all weights: of the only file, or of the sorted lines ``<hash>  <name>``.
        configuration: SHA-256 by name of the files beside the weights that decide what is computed from them; empty
            for a hosted model, and in a document that is older than this field.
    """

    source: str
    weights: dict[str, str]
    sha256: str
    configuration: dict[str, str] = Field(default={})


class Bundle(Record):
    """A model folder's identity.

    Attributes:
        kind: ``base`` (the untuned base model), ``lora`` (an adapter on it) or ``hosted`` (the task for a provider's
            model).
        release: name of the release, or None for a candidate and for the base.
        base: the base model's ``Base.sha256``.
        weights: SHA-256 by file name of the adapter's files; of a hosted one, of PROVIDER_RECORD; empty for the base.
        task: what the model was trained for.
        partitions: the data partitions it was trained on; of a hosted one, those that there were.
        trained_on: SHA-256 of data/train.parquet; None for what was not trained.
        params: the train section of params.yaml it was trained with; empty for the base.
        configuration: the base model's ``Base.configuration``.
    """

    kind: Literal["base", "lora", "hosted"]
    release: str | None
    base: str
    weights: dict[str, str]
    task: Task
    partitions: tuple[str, ...]
    trained_on: str | None
    params: dict[str, JsonValue]
    configuration: dict[str, str] = Field(default={})

    def goes_on(self, base: Base) -> bool:
        """Whether it was made on this base model; its configuration counts where it is recorded."""
        return self.base == base.sha256 and self.configuration in ({}, base.configuration)


class Estimate(Record):
    """A measured value with its interval: ``low <= value <= high`` from n units."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    n: int


class Report(Record):
    """What a step found, in ``reports/<step>.json``.

    Attributes:
        step: the step's name.
        checks: values against limits; they decide.
        metrics: values by name, shown and tracked by `dvc metrics`; they do not decide.
        details: tables and series for figures.
    """

    step: str
    verdict: Verdict
    checks: tuple[Check, ...]
    metrics: dict[str, JsonValue]
    details: dict[str, JsonValue]

    @classmethod
    def of(
        cls,
        step: str,
        checks: tuple[Check, ...],
        metrics: Mapping[str, object],
        details: Mapping[str, object],
    ) -> Self:
        """A report whose verdict is the worst of its checks."""
        verdict = worst(check.verdict for check in checks)
        return cls.model_validate(
            {"step": step, "verdict": verdict, "checks": checks, "metrics": dict(metrics), "details": dict(details)}
        )


class Production(Record):
    """``data/production.json``: the release this branch is compared with, an input written in Git.

    Attributes:
        release: the release's name, or None for the base model alone.
        revision: the 40-hex Git commit whose dvc.lock records the weights, or None for the base.
        weights: DVC's content hash of that commit's models/candidate, or None for the base.
        partitions: the data partitions production was trained on.
    """

    release: str | None
    revision: str | None = Field(pattern=r"^[0-9a-f]{40}$")
    weights: str | None
    partitions: tuple[str, ...]
