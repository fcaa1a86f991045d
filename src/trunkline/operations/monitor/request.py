"""What this working tree would send, beside what the release in production was made with."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from trunkline import prompts, registry, transforms
from trunkline.clients import files
from trunkline.clients.git import tags
from trunkline.drift import request, signals
from trunkline.drift.request import Sent
from trunkline.errors import Error
from trunkline.operations.monitor.served import Served
from trunkline.params import Params
from trunkline.records.monitoring import Signal
from trunkline.records.release import Manifest
from trunkline.records.serving import Provider


def ask(served: Served, recorded: Provider | None, params: Params) -> Signal:
    """Whether we moved.

    Args:
        recorded: a hosted release's provider, with the prompts that were pinned.
    """
    manifest = served.manifest
    try:
        strange = 0 if recorded is None else _strange(recorded, manifest)
        now = _now(manifest, params)
    except Error as error:
        return signals.unmeasured(request.KEY, "provider", 0, f"could not measure: {error.problem}.")
    return request.judge(served.name, request.of_release(manifest), now, _others(manifest), strange)


def _now(manifest: Manifest, params: Params) -> Sent:
    """What the working tree says.

    Raises:
        Error: the template cannot be read, or a transform is not registered.
    """
    # A closed set that params.yaml does not list was found in the release's own training data.
    variables = params.data.answer.allowed or manifest.task.variables
    evaluate = params.evaluate
    decoding: Mapping[str, JsonValue] = {"decoding": evaluate.decoding, "max_new_tokens": evaluate.max_new_tokens}
    return Sent(
        prompt=prompts.identify(files.read_text(Path(params.features.prompt)), variables),
        transforms=", ".join(transforms.identify(params.features.transforms)),
        decoding=request.decoding(decoding),
        model=request.model(params.base.model, None if params.base.hosted is None else params.hosted.url),
    )


def _strange(recorded: Provider, manifest: Manifest) -> int:
    """The pinned prompts that the release's template does not give any more."""
    known = [tuple(prompts.render(manifest.task, message)) for message in recorded.messages]
    return sum(pin.prompt not in known for pin in recorded.pins)


def _others(manifest: Manifest) -> dict[str, Sent]:
    """What the other releases that stand were made with, the newest first."""
    found = {}
    for version, tag in reversed([*registry.of(tags.known(), manifest.model).versions.items()]):
        if str(version) != manifest.version:
            try:
                found[tag.name] = request.of_release(Manifest.of(tag))
            except Error:  # another tool's
                continue
    return found
