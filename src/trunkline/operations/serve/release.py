"""A release as the gateway applies it: its prompt, transforms, decoding and guard, from its verified bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trunkline import guard, identity, prompts, transforms
from trunkline.clients import hosted
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import PROVIDER_RECORD, Bundle, Task
from trunkline.records.release import MANIFEST, Manifest
from trunkline.records.serving import Provider

BUNDLE = "bundle.json"
WORKING_COPY = "working-copy"


class Release(NamedTuple):
    """What surrounds a model so that it answers as it was evaluated.

    Attributes:
        name: such as ``support-triage@v1.2.0``.
        task: prompt, transforms and answer format.
        guard: ``flag`` or ``block`` by guard, in order.
        max_new_tokens: an answer is cut here where a request does not say.
        choices: the only answers there may be; None: any.
        digest: of its weights and their configuration, see `trunkline.identity.digest`.
        provider: whose model it is a prompt for; None: it has weights, for an engine.
    """

    name: str
    task: Task
    guard: Mapping[str, str]
    max_new_tokens: int
    choices: tuple[str, ...] | None
    digest: str
    provider: Provider | None

    @property
    def model(self) -> str:
        """The name without its version: what a request may ask for."""
        return self.name.partition("@")[0]

    def conversation(self, message: str) -> tuple[Mapping[str, str], ...]:
        """The chat messages for a customer's message, by the very functions of training and evaluation."""
        return tuple(prompts.render(self.task, transforms.apply(self.task.transforms, message)))


def read(folder: Path, params: Params) -> Release:
    """The release in a folder: a release's bundle, or a model of the working copy such as ``models/candidate``.

    Args:
        params: say how a model of the working copy is guarded and decoded; a release's manifest says so itself.

    Raises:
        Error: it is neither, or what it names is not what it was evaluated with.
    """
    if (folder / MANIFEST).is_file():
        found = _released(Manifest.read(folder / MANIFEST), folder)
    elif (folder / BUNDLE).is_file():
        found = _working_copy(Bundle.read(folder / BUNDLE), folder, params)
    else:
        problem = f"{folder} holds neither {MANIFEST} nor {BUNDLE}"
        raise Error(problem, "name the folder of a release's bundle, or one such as models/candidate")
    changed = transforms.changed(found.task.transforms)
    if changed:
        problem = f"{found.name} was trained with other transforms than those registered here: {', '.join(changed)}"
        raise Error(problem, "install the version of the code that it was released with")
    return found


def _released(manifest: Manifest, folder: Path) -> Release:
    name = f"{manifest.model}@{manifest.version}"
    guards = guard.released(manifest)
    limit = manifest.decoding.get("max_new_tokens")
    if not isinstance(limit, int):
        raise Error(f"the manifest of {name} does not say how long an answer may be", "release it again")
    return Release(
        name=name,
        task=manifest.task,
        guard=guards,
        max_new_tokens=limit,
        choices=_choices(manifest.task, str(manifest.decoding.get("decoding"))),
        digest=identity.of_release(manifest),
        provider=_provider(manifest.kind, manifest.weights, folder),
    )


def _working_copy(bundle: Bundle, folder: Path, params: Params) -> Release:
    guard.identify(params.serve.guard)  # that all are registered
    return Release(
        name=bundle.release or f"{params.project.name}@{WORKING_COPY}",
        task=bundle.task,
        guard=dict(params.serve.guard),
        max_new_tokens=params.evaluate.max_new_tokens,
        choices=_choices(bundle.task, params.evaluate.decoding),
        digest=identity.digest(bundle.weights, bundle.base, bundle.configuration),
        provider=_provider(bundle.kind, bundle.weights, folder),
    )


def _provider(kind: str, weights: Mapping[str, str], folder: Path) -> Provider | None:
    return hosted.read(folder, weights.get(PROVIDER_RECORD)) if kind == "hosted" else None


def _choices(task: Task, decoding: str) -> tuple[str, ...] | None:
    """The labels, where the answers that were evaluated could be nothing else."""
    if task.answer.format != "label" or decoding != "auto":
        return None
    return task.answer.allowed.get(task.answer.fields[0])
