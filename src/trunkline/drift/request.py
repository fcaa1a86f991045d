"""Whether what we would send now is what the release in production was made with."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from trunkline.drift.asked import plainly
from trunkline.records.monitoring import Signal
from trunkline.records.release import Manifest
from trunkline.verdict import Verdict
from trunkline.words import as_object, cut

KEY = "provider/request"


class Sent(NamedTuple):
    """What decides a request besides the message, by the name that a reader knows it by."""

    prompt: str
    transforms: str
    decoding: str
    model: str


def of_release(manifest: Manifest) -> Sent:
    """What a release was made with."""
    hosted = as_object(manifest.params.get("hosted")) if manifest.kind == "hosted" else {}
    return Sent(
        prompt=manifest.task.prompt_id,
        transforms=", ".join(manifest.task.transforms),
        decoding=decoding(manifest.decoding),
        model=model(manifest.base["source"], hosted.get("url")),
    )


def decoding(settings: Mapping[str, JsonValue]) -> str:
    """How answers are generated, in words."""
    told = [str(value) if name == "decoding" else f"{name} {value}" for name, value in sorted(settings.items())]
    return ", ".join(told)


def model(source: str, url: JsonValue) -> str:
    """Which model is asked, and where, in words."""
    return f"{source} at {url}" if url else source


def judge(release: str, was: Sent, now: Sent, others: Mapping[str, Sent], strange: int) -> Signal:
    """Whether we moved: a change that no release has is an alarm, one that a release brings is only told.

    Args:
        release: that serves.
        was: what it was made with.
        now: what this working tree would send.
        others: by name what the other releases that stand were made with, the newest first.
        strange: of its pinned prompts, those that this code would write otherwise.
    """
    if strange:
        told = f"We moved: this code writes {strange} of the pinned prompts of {release} otherwise"
        return plainly(KEY, Verdict.FAIL, f"{told}: serve it by the code that it was released with.")
    changes = _changes(was, now)
    if not changes:
        return plainly(KEY, Verdict.PASS, f"We would send what {release} was made with: {_shown(was)}.")
    told = f"We moved: {'; '.join(changes)}"
    other = next((name for name, sent in others.items() if sent == now), None)
    if other is not None:
        return plainly(KEY, Verdict.PASS, f"{told}. {other} was made so; {release} serves.")
    hint = "release it by a pull request, or take it back"
    return plainly(KEY, Verdict.FAIL, f"{told}. {release} serves, and no release was made so: {hint}.")


def _changes(was: Sent, now: Sent) -> Sequence[str]:
    pairs = zip(Sent._fields, was, now, strict=True)
    return [f"{name} {_cut(here)} instead of {_cut(there)}" for name, there, here in pairs if there != here]


def _shown(sent: Sent) -> str:
    return "; ".join(f"{name} {_cut(value)}" for name, value in zip(Sent._fields, sent, strict=True))


def _cut(value: str) -> str:
    return cut(value, 160) or "none"
