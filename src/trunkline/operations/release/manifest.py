"""The manifest of a release: everything that it is made of, in one record."""

import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from trunkline import guard
from trunkline.clients import actor, files, hosted, project
from trunkline.clients.weights import CONFIGURATION
from trunkline.operations.release.contents import Contents
from trunkline.operations.release.proof import Judged
from trunkline.params import Params
from trunkline.records import PROVIDER_RECORD, Production
from trunkline.records.release import Approval, Manifest

_PACKAGES = Path("requirements.lock")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", re.MULTILINE)
# What decides about the bytes of the weights and about the answers.
_TOOLS = ("trunkline", "dvc", "torch", "transformers", "peft", "safetensors")


def identity(params: Params) -> dict[str, object]:
    """The manifest's fields by which the commit that is checked out here is known again; no lock is an empty text."""
    lock = Path("dvc.lock")
    return {
        "lock": files.sha256(lock) if lock.is_file() else "",
        "params": params.model_dump(mode="json", by_alias=True),
    }


def facts(
    commit: str, judged: Judged, contents: Contents, params: Params, approval: Approval | None
) -> dict[str, object]:
    """The manifest's fields, all but those that the version decides: see `complete`.

    Args:
        commit: that is released, checked out here.
        judged: its reports.
        contents: its data and weights, verified.
        params: its params.yaml.
        approval: of an inconclusive verdict.

    Raises:
        Error: who releases it is not known, or params.yaml names a guard that is not registered.
    """
    evaluate = params.evaluate
    project.load(params.project.module)  # registers the project's own guards
    return dict(
        **identity(params),
        model=params.project.name,
        commit=commit,
        data=contents.data,
        base={"source": contents.base.source, "sha256": contents.base.sha256} | _provider(contents),
        kind=contents.kind,
        configuration=contents.bundle.configuration,
        task=contents.bundle.task,
        guard=guard.guard_id(params.serve.guard),
        decoding={"decoding": evaluate.decoding, "max_new_tokens": evaluate.max_new_tokens},
        scores=judged.reports["compare"].metrics,
        production=Production.read(Path(params.production.pinned)),
        verdict=judged.verdict,
        approval=approval if judged.found else None,
        environment=files.sha256(_PACKAGES) if _PACKAGES.is_file() else None,
        tools=_tools(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        by=actor.name(),
        run=actor.run(),
    )


def _provider(contents: Contents) -> dict[str, str]:
    """What a provider's model said that it is."""
    if contents.kind != "hosted":
        return {}
    found = hosted.read(contents.adapter, contents.bundle.weights[PROVIDER_RECORD])
    said = {"model": found.said, "fingerprint": found.fingerprint}
    return {name: value for name, value in said.items() if value is not None}


def complete(known: Mapping[str, object], version: str, weights: Mapping[str, str]) -> Manifest:
    """A version's manifest as it is in its bundle, which cannot know where it will be kept."""
    own = {name: value for name, value in weights.items() if name in CONFIGURATION}
    decided = {"configuration": own} if known["kind"] == "merged" else {}
    found = {**known, **decided, "version": version, "weights": weights, "bundle": None, "hub": None}
    return Manifest.model_validate(found)


def _tools() -> dict[str, str]:
    """Versions as the lock of packages pins them; of what is installed here where there is no lock."""
    pinned = dict(_PINNED.findall(_PACKAGES.read_text(encoding="utf-8"))) if _PACKAGES.is_file() else {}
    known = {name.lower(): version for name, version in pinned.items()}
    found = {"python": platform.python_version()}
    for name in _TOOLS:
        version = known.get(name) or _installed(name)
        if version:
            found[name] = version
    return found


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
