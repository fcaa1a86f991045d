"""The folder that is released: weights, manifest.json, the model card, and the signature over all of them."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trunkline.clients import bundles, signing, weights
from trunkline.operations.release import card, manifest
from trunkline.operations.release.contents import Contents
from trunkline.params import Params
from trunkline.records import Report
from trunkline.records.release import Manifest


class Proven(NamedTuple):
    """A commit that may be released.

    Attributes:
        commit: 40 hex digits.
        facts: the manifest's fields, all but those that the version decides.
        contents: data and weights, verified.
        compared: reports/compare.json.
    """

    commit: str
    facts: Mapping[str, object]
    contents: Contents
    compared: Report


def prepare(contents: Contents, params: Params, folder: Path) -> None:
    """Write what every version has: the adapter, base model and adapter merged, or the record of a provider.

    Raises:
        Error: the weights cannot be merged.
    """
    if contents.kind == "merged":
        from trunkline.clients import export  # torch, which an adapter does not need

        export.merge(contents.base_folder, contents.adapter, folder, params.evaluate.precision)
        (folder / "base.json").unlink()  # each version writes its own
        return
    folder.mkdir()
    for name in contents.bundle.weights:
        shutil.copyfile(contents.adapter / name, folder / name)


def write(proven: Proven, version: str, prepared: Path, folder: Path, params: Params) -> Manifest:
    """Write a version's bundle and sign it as params.yaml says.

    Args:
        proven: the commit.
        version: such as ``v1.2.0``.
        prepared: as `prepare` left it.
        folder: not there yet.
        params: of the commit.

    Returns:
        The manifest, as it is in the bundle.

    Raises:
        Error: it cannot be signed.
    """
    folder.mkdir()
    for path in prepared.iterdir():
        # The weights may be large, and nothing writes into them any more.
        os.link(path, folder / path.name)
    _identify(folder, proven.contents, f"{params.project.name}@{version}")
    found = manifest.complete(proven.facts, version, bundles.hashes(folder))
    (folder / bundles.MANIFEST).write_text(found.text(), encoding="utf-8")
    (folder / bundles.CARD).write_text(card.render(found, proven.compared, params), encoding="utf-8")
    signing.sign(folder, params.release)
    return found


def _identify(folder: Path, contents: Contents, name: str) -> None:
    """Write the record by which a model is verified when it is loaded, under the release's name."""
    if contents.kind == "merged":
        base = weights.identify(f"release:{name}", folder)
        (folder / "base.json").write_text(base.text(), encoding="utf-8")
    else:
        bundle = contents.bundle.model_copy(update={"release": name})
        (folder / "bundle.json").write_text(bundle.text(), encoding="utf-8")
