"""The text of dvc.lock, which two branches both write: whether it can be read, and which stages it names."""

import re

import yaml

from trunkline.errors import Error

# Git writes these around the two sides of a conflict.
_MARKERS = re.compile(rb"^(<{7}|={7}|>{7}|\|{7})(\s|$)", re.MULTILINE)
RESOLVE = (
    "take either side, for example `git checkout origin/main -- dvc.lock reports`, and push that, or what"
    " `dvc repro --pull` makes of it: what either side has run comes from the run cache"
)


def stages(text: bytes) -> dict[str, object]:
    """The stages that a dvc.lock records, by name.

    Raises:
        Error: it holds Git's conflict markers, is not YAML, or is not a dvc.lock of DVC 2 or later.
    """
    if _MARKERS.search(text):
        raise Error("dvc.lock holds Git's conflict markers", RESOLVE)
    try:
        content = yaml.safe_load(text.decode())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        first = " ".join(str(error).split())[:120]
        raise Error(f"dvc.lock is not YAML: {first}", RESOLVE) from None
    if content is None:
        return {}
    found = content.get("stages", {}) if isinstance(content, dict) and "schema" in content else None
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(stage, dict) for name, stage in found.items()
    ):
        raise Error("dvc.lock does not record stages", RESOLVE)
    return dict(found)


def strangers(recorded: dict[str, object], pipeline: bytes) -> list[str]:
    """Stages that a dvc.lock records and the text of a dvc.yaml does not define, in order.

    A templated stage is recorded once an item, as ``stage@item``.

    Raises:
        Error: the dvc.yaml cannot be read.
    """
    try:
        defined = yaml.safe_load(pipeline.decode())["stages"].keys()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, AttributeError, KeyError, TypeError):
        raise Error("the dvc.yaml of that commit has no stages", "correct dvc.yaml") from None
    return sorted(name for name in recorded if name.split("@")[0] not in defined)
