"""params.yaml, typed: one frozen model a section, no defaults, all mistakes told at once.

PyYAML reads YAML 1.1 and DVC 1.2: write ``1.0e-4``, not ``1e-4``, which YAML 1.1 takes for text.
"""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from trunkline.errors import Error
from trunkline.records import EXAMPLE_COLUMNS, INPUT_COLUMN, Answer
from trunkline.verdict import Limit

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
OpenShare = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "fp32", "bf16"]
Attention = Literal["auto", "eager", "sdpa"]


class Section(BaseModel):
    """A section of params.yaml: frozen, complete, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProjectParams(Section):
    """Names the project and its own Python module."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    module: str


class BaseParams(Section):
    """Where the base model comes from."""

    model: str = Field(pattern=r"^(hub:[^@]+@[0-9a-f]{40}|path:.+|wheel:[^:=]+==[^:]+:.+)$")
    sha256: str | None = Field(pattern=r"^[0-9a-f]{64}$")


class ColumnParams(Section):
    """The user's names for the columns that the pipeline needs."""

    id: str | None
    message: str
    customer: str | None
    conversation: str | None
    time: str | None


class RangeParams(Section):
    """An inclusive range of characters."""

    min: Annotated[int, Field(ge=0)]
    max: Count

    @model_validator(mode="after")
    def _ordered(self) -> "RangeParams":
        if self.min > self.max:
            raise ValueError(f"min {self.min} is larger than max {self.max}")
        return self


class DataLimits(Section):
    """Limits of the data checks."""

    rejected: Limit
    duplicates: Limit
    near_duplicates: Limit
    conflicts: Limit
    pii: Limit
    imbalance: Limit
    shift: Limit


class AnswerParams(Answer):
    """The answer's columns and format, with the rules between them."""

    @model_validator(mode="after")
    def _one_field(self) -> "AnswerParams":
        if self.format != "json" and len(self.fields) != 1:
            raise ValueError(f"format {self.format} takes exactly one field, got {len(self.fields)}")
        unknown = sorted(set(self.allowed) - set(self.fields))
        if unknown:
            raise ValueError(f"allowed names {unknown}, which are not in fields {list(self.fields)}")
        return self


class DataParams(Section):
    """What a valid example is."""

    folder: str
    columns: ColumnParams
    slices: tuple[str, ...]
    answer: AnswerParams
    message_chars: RangeParams
    answer_chars: RangeParams
    near_duplicate: OpenShare
    pii: tuple[Literal["email", "phone", "iban", "card"], ...]
    shift_alpha: OpenShare
    limits: DataLimits

    @model_validator(mode="after")
    def _slices_are_free(self) -> "DataParams":
        taken = sorted(set(self.slices) & {*EXAMPLE_COLUMNS, INPUT_COLUMN})
        if taken:
            raise ValueError(f"slices {taken} are names of data/examples.parquet; rename those columns of your files")
        if len(set(self.slices)) < len(self.slices):
            raise ValueError(f"slices repeats a column: {list(self.slices)}")
        return self


class FeatureParams(Section):
    """How an example becomes model input, and which side it is on."""

    transforms: tuple[str, ...]
    prompt: str
    holdout: OpenShare
    salt: str = Field(min_length=1)
    leakage: Limit


class ProductionParams(Section):
    """Where the pinned production release is written."""

    pinned: str


class TrainParams(Section):
    """The fine-tuning recipe."""

    method: Literal["lora"]
    r: Count
    alpha: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    last_layers: Count
    learning_rate: Positive
    schedule: Literal["cosine", "constant"]
    warmup: Share
    batch_size: Count
    epochs: Count
    weight_decay: Annotated[float, Field(ge=0)]
    clip: Positive
    max_tokens: Count
    pack_tokens: Count
    share_prefix: bool
    precision: Precision
    attention: Attention
    checkpoint_seconds: Positive
    seed: int


class EvaluateParams(Section):
    """How answers are generated and scored."""

    batch_size: Count
    max_new_tokens: Count
    decoding: Literal["auto", "greedy"]
    precision: Precision
    attention: Attention
    scorers: tuple[str, ...] = Field(min_length=1)
    usd_per_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    confidence: OpenShare


class GateParams(Section):
    """What decides whether a candidate may be released."""

    primary: str
    margin: OpenShare
    guardrails: dict[str, OpenShare]
    alpha: OpenShare
    beta: OpenShare


class CompareParams(Section):
    """What is compared with what."""

    unit: Literal["conversation", "customer"]
    seed: int


class ReportParams(Section):
    """What the report shows."""

    examples: Annotated[int, Field(ge=0)]


class Params(Section):
    """All of params.yaml."""

    project: ProjectParams
    base: BaseParams
    data: DataParams
    features: FeatureParams
    production: ProductionParams
    train: TrainParams
    evaluate: EvaluateParams
    gate: GateParams
    compare: CompareParams
    report: ReportParams

    @model_validator(mode="after")
    def _gate_is_scored(self) -> "Params":
        gated = {self.gate.primary, *self.gate.guardrails}
        missing = sorted(gated - set(self.evaluate.scorers))
        if missing:
            raise ValueError(f"gate names {missing}, which evaluate.scorers does not measure")
        return self


def load(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        Error: the file is missing, is not YAML, or has mistakes; all of them are listed.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Error(f"{path} not found", "run this from the repository's top folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Error(f"{path} is not valid YAML: {error}", "correct that line") from None
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        lines = [_mistake(path, detail) for detail in error.errors()]
        raise Error("\n".join(lines), f"correct {path}; its comments say what each value does") from None


def _mistake(path: Path, detail: ErrorDetails) -> str:
    where = ".".join(str(part) for part in detail["loc"]) or "the whole file"
    shown = repr(detail["input"])
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return f"{path}: {where}: {detail['msg']} (got {shown})"
