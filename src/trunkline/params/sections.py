"""The sections of params.yaml: one frozen model each, complete, without defaults."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from trunkline.params.deploy import DeployParams
from trunkline.params.judging import CompareParams, DrillParams, EvaluateParams, GateParams, ReportParams
from trunkline.params.monitor import MonitorParams
from trunkline.params.release import ReleaseParams
from trunkline.params.retrain import RetrainParams
from trunkline.params.serve import HostedParams, ServeParams
from trunkline.params.supervise import SuperviseParams
from trunkline.params.types import Attention, Count, Inside, OpenShare, Positive, Precision, Section, Share
from trunkline.records import (
    AMOUNTS,
    CANARY_METRIC,
    EXAMPLE_COLUMNS,
    HOSTED,
    INPUT_COLUMN,
    TAKEN_NAMES,
    Answer,
    Terms,
    probe_metrics,
)
from trunkline.records.rollout import Plan
from trunkline.records.ruled import Ruled, rule
from trunkline.verdict import Limit


class ProjectParams(Section):
    """Names the project and its own Python module."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    module: Inside


class BaseParams(Section):
    """Where the base model comes from."""

    model: str = Field(pattern=r"^(hub:[\w.-]+/[\w.-]+@[0-9a-f]{40}|path:.+|wheel:[^:=]+==[^:]+:.+|hosted:\S+)$")
    sha256: str | None = Field(pattern=r"^[0-9a-f]{64}$")

    @property
    def hosted(self) -> str | None:
        """The provider's name of the model, where there are no weights."""
        return self.model.removeprefix(HOSTED) if self.model.startswith(HOSTED) else None


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

    @rule
    def _ordered(self) -> Iterator[str]:
        if self.min > self.max:
            yield f"min {self.min} is larger than max {self.max}"


class DataLimits(Section):
    """Limits of the data checks."""

    rejected: Limit
    duplicates: Limit
    near_duplicates: Limit
    conflicts: Limit
    pii: Limit
    imbalance: Limit
    shift: Limit


class AnswerParams(Answer, Ruled):
    """The answer's columns and format, with the rules between them."""

    @rule
    def _one_field(self) -> Iterator[str]:
        if len(set(self.fields)) < len(self.fields):
            yield f"fields repeats a column: {list(self.fields)}"
        if self.format != "json" and len(self.fields) != 1:
            yield f"format {self.format} takes exactly one field, got {len(self.fields)}"
        unknown = sorted(set(self.allowed) - set(self.fields))
        if unknown:
            yield f"allowed names {unknown}, which are not in fields {list(self.fields)}"


class DataParams(Section):
    """What a valid example is."""

    folder: Inside
    columns: ColumnParams
    slices: tuple[str, ...]
    answer: AnswerParams
    message_chars: RangeParams
    answer_chars: RangeParams
    near_duplicate: OpenShare
    pii: tuple[Literal["email", "phone", "iban", "card"], ...]
    shift_alpha: OpenShare
    limits: DataLimits

    @rule
    def _slices_are_free(self) -> Iterator[str]:
        taken = sorted(set(self.slices) & {*EXAMPLE_COLUMNS, INPUT_COLUMN})
        if taken:
            yield f"slices {taken} are names of data/examples.parquet; rename those columns of your files"
        if len(set(self.slices)) < len(self.slices):
            yield f"slices repeats a column: {list(self.slices)}"
        named = {*filter(None, self.columns.model_dump().values()), *self.slices, *self.answer.fields}
        taken = sorted(name for name in named if TAKEN_NAMES.search(name))
        if taken:
            yield f"columns {taken} have names that Trunkline gives its own; rename those of your files"


class FeatureParams(Section):
    """How an example becomes model input, and which side it is on."""

    transforms: tuple[str, ...]
    prompt: Inside
    holdout: OpenShare
    salt: str = Field(min_length=1)
    leakage: Limit
    canaries: Annotated[int, Field(ge=0)]


class ProductionParams(Section):
    """Where the pinned production release is written."""

    pinned: Inside


class TrainParams(Section):
    """The fine-tuning recipe."""

    method: Literal["lora", "none"]
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
    serve: ServeParams
    drill: DrillParams
    rollout: Plan
    deploy: DeployParams
    supervise: SuperviseParams
    hosted: HostedParams
    retrain: RetrainParams
    monitor: MonitorParams

    @property
    def terms(self) -> Terms:
        """The plain values that `compare` decides by."""
        gate, compare = self.gate, self.compare
        probes = self.evaluate.probes
        return Terms(gate.limits, gate.slice_margin, gate.dry_run, probes, compare.unit, compare.seed)

    @rule
    def _gate_is_scored(self) -> Iterator[str]:
        gated = {self.gate.primary, *self.gate.guardrails, *self.gate.floors}
        probed = {metric for path in self.evaluate.probes for metric in probe_metrics(path)}
        if CANARY_METRIC in {self.gate.primary, *self.gate.guardrails}:
            yield f"gate: only a floor can hold {CANARY_METRIC}; production may know the same canaries"
        if self.features.canaries:
            probed.add(CANARY_METRIC)
        missing = sorted(gated - set(self.evaluate.scorers) - probed - set(AMOUNTS))
        if missing:
            yield f"gate names {missing}, which evaluate.scorers does not measure"

    @rule
    def _what_is_supervised_gets_its_time(self) -> Iterator[str]:
        drain, given = max(self.serve.embedded.drain, self.serve.gateway.drain), self.supervise.drain_seconds
        if given <= drain:
            yield f"supervise.drain_seconds {given:g} kills what a drain of serve gives {drain:g} seconds"
        turn, grace = self.serve.gateway.probe_seconds, self.supervise.grace_seconds
        if grace <= turn:
            yield f"supervise.grace_seconds {grace:g} ends engines before the gateway turns away, up to {turn:g} s"

    @rule
    def _hosted_is_not_trained(self) -> Iterator[str]:
        if (self.base.hosted is None) != (self.train.method == "lora"):
            yield "train: method none goes with base.model hosted:, and lora with weights"
        if self.base.hosted is None:
            return
        mistakes = {
            "base.sha256 names weights: null": self.base.sha256 is not None,
            "features.canaries are planted for training: 0": self.features.canaries > 0,
            "evaluate.scorers: a provider does not tell nll, leave it out": "nll" in self.evaluate.scorers,
        }
        yield from (f"base.model is hosted, so {mistake}" for mistake, made in mistakes.items() if made)
