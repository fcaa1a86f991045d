"""The release that a rollback goes to, named with an alarm of who answers."""

from typing import NamedTuple

from trunkline import registry
from trunkline.clients.git import tags
from trunkline.errors import Error
from trunkline.operations.monitor.served import Served
from trunkline.records.monitoring import ASKED, Signal
from trunkline.records.release import Manifest
from trunkline.registry import Version
from trunkline.verdict import Verdict

# A rollback brings other weights or another provider; what this working tree would send stays as it is.
_MENDED = ("provider/pins", "provider/weights", ASKED)


class Fallback(NamedTuple):
    """Where a rollback goes.

    Attributes:
        version: None where nothing served before.
        note: what is to be known of it.
    """

    version: str | None
    note: str


def find(served: Served, environment: str) -> Fallback:
    """The newest earlier release that served there and asks another model; where all ask the same, the newest."""
    state = registry.of(tags.known(), served.manifest.model)
    earlier = registry.fallbacks(state, environment, Version(served.manifest.version))
    if not earlier:
        return Fallback(None, f"No earlier release has served in {environment}, so there is none to go back to.")
    other = next((one for one in earlier if not _same(served.manifest, state, one)), None)
    if other is None:
        return Fallback(str(earlier[0]), f"{earlier[0]} asks the same provider's model, as all earlier releases do.")
    return Fallback(str(other), f"{other} is what to go back to.")


def _same(manifest: Manifest, state: registry.Model, version: Version) -> bool:
    """Whether a version asks the same provider's model; what is not known is taken to."""
    try:
        other = Manifest.of(state.versions[version])
    except Error:
        return True
    return manifest.kind == other.kind == "hosted" and manifest.base["source"] == other.base["source"]


def named(signal: Signal, back: Fallback) -> Signal:
    """An alarm that a rollback may mend, with what it goes to; any other signal as it is."""
    if signal.verdict is not Verdict.FAIL or not signal.key.startswith(_MENDED):
        return signal
    return signal.model_copy(update={"fallback": back.version, "sentence": f"{signal.sentence} {back.note}"})
