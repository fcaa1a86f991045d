"""A release in words: the tag that Git holds, and the manifest that the tag's message carries."""

from collections.abc import Mapping
from typing import NamedTuple, Self, TypeVar

from pydantic import Field, JsonValue, ValidationError

from trunkline.errors import Error, first_mistake
from trunkline.records import Production, Record, Task
from trunkline.records.documents import Document
from trunkline.verdict import Verdict

# The name of a manifest's file in its bundle.
MANIFEST = "manifest.json"
_SHA256 = r"^[0-9a-f]{64}$"
_COMMIT = r"^[0-9a-f]{40}$"
Kind = TypeVar("Kind", bound=Record)


class Tag(NamedTuple):
    """An annotated tag as Git holds it.

    Attributes:
        name: without ``refs/tags/``.
        commit: 40 hex digits.
        time: seconds since 1970 by the clock of whoever made it; never used for order.
        message: one line, an empty one, and a JSON document.
        by: whoever made it calls himself so.
    """

    name: str
    commit: str
    time: int
    message: str
    by: str = ""


class Content(Record):
    """What a data file or folder held.

    Attributes:
        md5: DVC's content hash, by which cache and remote know it; None for files that only Git holds.
        sha256: of the bytes; of a folder, of the sorted lines ``<sha256>  <name>``.
    """

    md5: str | None
    sha256: str = Field(pattern=_SHA256)


class HubCommit(Record):
    """Where the Hugging Face Hub holds a release: a commit, as the Hub's tags can be moved."""

    repository: str
    commit: str = Field(pattern=_COMMIT)


class Approval(Record):
    """Who let a release through of which the gate could not say that it passes, and why."""

    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)


class Manifest(Record):
    """Everything a release is made of: its tag's message, and ``manifest.json`` of its bundle.

    The one in the bundle cannot know where the bundle is kept: there `bundle` and `hub` are None.

    Attributes:
        model: ``project.name`` of params.yaml.
        version: such as ``v1.2.0``.
        commit: the merged commit that was released.
        lock: SHA-256 of its dvc.lock.
        data: by path: the raw partitions, the training examples and the holdout.
        base: the base model's source and SHA-256; of a hosted one also the ``model`` and ``fingerprint`` that it named.
        kind: ``lora`` (an adapter on the base model), ``merged`` (whole weights) or ``hosted`` (a provider's model).
        weights: SHA-256 by file name of the bundle's weights and their configuration; of a hosted one, of the record
            of its provider.
        task: prompt, transforms and answer format, exactly as evaluated.
        guard: id of the guards around it, their order and their actions.
        decoding: how answers were generated when the scores were measured.
        params: params.yaml as it was.
        scores: the metrics of reports/compare.json, both sides.
        production: the release that it was compared with.
        verdict: what the gate said: pass, or inconclusive with an approval.
        approval: the human who let an inconclusive one through; None for a pass.
        environment: SHA-256 of the lock of packages it was trained with.
        tools: versions by name of Python and of what trained it.
        bundle: DVC's hash of the bundle's folder, by which the DVC remote (or only the cache) holds it.
        hub: where the Hub holds it; None where it does not.
        created: UTC time, ISO 8601.
        by: who released it.
        run: address of the workflow's run; None on a machine of one's own.
        configuration: SHA-256 by name of the files that decide what is computed from the weights: of an adapter, the
            base model's; of merged weights, their own; empty for hosted ones and in a tag older than this field.
    """

    model: str
    version: str
    commit: str = Field(pattern=_COMMIT)
    lock: str = Field(pattern=_SHA256)
    data: dict[str, Content]
    base: dict[str, str]
    kind: str = Field(pattern=r"^(lora|merged|hosted)$")
    weights: dict[str, str] = Field(min_length=1)
    task: Task
    guard: str
    decoding: dict[str, JsonValue]
    params: dict[str, JsonValue]
    scores: dict[str, JsonValue]
    production: Production
    verdict: Verdict
    approval: Approval | None
    environment: str | None
    tools: dict[str, str]
    bundle: str | None = Field(pattern=r"^[0-9a-f]{32}\.dir$")
    hub: HubCommit | None
    created: str
    by: str
    run: str | None
    configuration: dict[str, str] = Field(default={})

    @classmethod
    def of(cls, tag: Tag) -> Self:
        """The manifest that a release's tag carries.

        Raises:
            Error: the tag's message holds none, as of a tag that another tool made, or one of another release.
        """
        manifest = from_message(cls, tag)
        said = (f"{manifest.model}@{manifest.version}", manifest.commit)
        if said != (tag.name, tag.commit):
            problem = f"tag {tag.name} on {tag.commit[:12]} carries the manifest of {said[0]} on {said[1][:12]}"
            raise Error(problem, f"somebody moved the tag: see `git show {tag.name}`, and release anew")
        return manifest


class Decision(Record):
    """Why an environment serves what it serves: the JSON of an assignment's tag.

    Attributes:
        model: whose.
        environment: such as ``production``.
        version: what it serves from then on.
        previous: what it served until then; None for the first.
        action: ``promote`` or ``rollback``; a rollback pins: only a newer release is promoted after it.
        reason: why, in a sentence.
        by: who decided.
        created: UTC time, ISO 8601.
        run: address of the workflow's run; None on a machine of one's own.
    """

    model: str
    environment: str
    version: str
    previous: str | None
    action: str = Field(pattern=r"^(promote|rollback)$")
    reason: str = Field(min_length=1)
    by: str
    created: str
    run: str | None

    @classmethod
    def of(cls, tag: Tag) -> Self:
        """The decision that an assignment's tag records.

        Raises:
            Error: the tag's message holds none, as of a tag that another tool made.
        """
        return from_message(cls, tag)


class Serving(Document):
    """What an environment shall serve: ``<model>.yaml`` on its branch, for whatever makes it so.

    Attributes:
        weights: SHA-256 by file name, to verify before traffic.
        since: when it was decided, UTC, ISO 8601.
        tag: the assignment's.
    """

    model: str
    environment: str
    version: str
    commit: str
    weights: dict[str, str]
    action: str
    reason: str
    by: str
    since: str
    tag: str


class Change(NamedTuple):
    """An assignment that is made as a whole or not at all: its tag, and the environment's branch saying the same.

    Attributes:
        tag: its time is not set. One that is there already stays; only the branch may still lack the files.
        branch: of the environment.
        files: by path from the repository's top: the new bytes.
    """

    tag: Tag
    branch: str
    files: Mapping[str, bytes]


class Amendment(NamedTuple):
    """A commit on an environment's branch, and with it an assignment or none.

    Attributes:
        message: of the commit.
        files: by path from the repository's top: the new bytes.
        tag: the assignment's, as of `Change`; None where what serves stays.
    """

    message: str
    files: Mapping[str, bytes]
    tag: Tag | None


def message(line: str, record: Record) -> str:
    """A tag's message: one line for people, and the record for programs."""
    return f"{' '.join(line.split())}\n\n{record.text()}"


def from_message(kind: type[Kind], tag: Tag) -> Kind:
    """The record in a tag's message.

    Raises:
        Error: there is none, or it is not of this kind.
    """
    body = tag.message.partition("\n\n")[2]
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        problem = f"tag {tag.name} holds no {kind.__name__.lower()}: {first_mistake(error, 'the message')}"
        raise Error(problem, "it was not made by trunkline: see `git show` of it") from None
