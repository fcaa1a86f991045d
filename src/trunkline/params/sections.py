"""The sections of params.yaml: one frozen model each, complete, without defaults."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trunkline.params.release import ReleaseParams
from trunkline.params.section import Section
from trunkline.records import AMOUNTS, EXAMPLE_COLUMNS, INPUT_COLUMN, Answer, Limits, probe_metrics
from trunkline.verdict import Limit

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
OpenShare = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "fp32", "bf16"]
Attention = Literal["auto", "eager", "sdpa"]


class ProjectParams(Section):
    """Names the project and its own Python module."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    module: str


class BaseParams(Section):
    """Where the base model comes from."""

    model: str = Field(pattern=r"^(hub:[\w.-]+/[\w.-]+@[0-9a-f]{40}|path:.+|wheel:[^:=]+==[^:]+:.+)$")
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
    max_gpu_hours: Positive
    seed: int


class EvaluateParams(Section):
    """How answers are generated and scored."""

    batch_size: Count
    max_new_tokens: Count
    decoding: Literal["auto", "greedy"]
    precision: Precision
    attention: Attention
    scorers: tuple[str, ...] = Field(min_length=1)
    probes: tuple[str, ...]
    stop_early: bool
    usd_per_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    confidence: OpenShare


class GateParams(Section):
    """What decides whether a candidate may be released."""

    primary: str
    margin: OpenShare
    guardrails: dict[str, OpenShare]
    floors: dict[str, OpenShare]
    slice_margin: OpenShare
    dry_run: tuple[str, ...]
    alpha: OpenShare
    beta: OpenShare

    @property
    def limits(self) -> Limits:
        """The plain values that decide; the primary's margin stands first."""
        margins = {self.primary: self.margin} | {k: v for k, v in self.guardrails.items() if k != self.primary}
        return Limits(self.primary, margins, self.floors, self.alpha, self.beta)

    @model_validator(mode="after")
    def _dry_run_is_known(self) -> "GateParams":
        unknown = sorted(set(self.dry_run) - set(self.guardrails) - set(self.floors))
        if unknown:
            raise ValueError(f"dry_run names {unknown}, which are neither guardrails nor floors")
        if self.primary in self.dry_run:
            raise ValueError(f"dry_run names the primary {self.primary}: then nothing would decide")
        return self


class CompareParams(Section):
    """What is compared with what."""

    unit: Literal["conversation", "customer"]
    seed: int


class ReportParams(Section):
    """What the report shows, and who posts it."""

    examples: Annotated[int, Field(ge=0)]
    comment_with: Literal["auto", "cml", "github"]


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
    release: ReleaseParams

    @model_validator(mode="after")
    def _gate_is_scored(self) -> "Params":
        gated = {self.gate.primary, *self.gate.guardrails, *self.gate.floors}
        probed = {metric for path in self.evaluate.probes for metric in probe_metrics(path)}
        missing = sorted(gated - set(self.evaluate.scorers) - probed - set(AMOUNTS))
        if missing:
            raise ValueError(f"gate names {missing}, which evaluate.scorers does not measure")
        return self
