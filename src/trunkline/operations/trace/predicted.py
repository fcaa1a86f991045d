"""A logged prediction: what is known of it, and whether the engine that answered was its release's."""

import re
from datetime import datetime

from trunkline import identity
from trunkline.errors import Error
from trunkline.lineage import Link
from trunkline.records.prediction import Assignment, Feedback, Outcome, Prediction
from trunkline.records.release import Manifest, Tag
from trunkline.verdict import Verdict
from trunkline.words import cut, plain

_CHARACTERS = 300
_HASHED = re.compile(r"[0-9a-f]{64}")
# How `trunkline engine` names the weights that it serves.
_FINGERPRINT = re.compile(r"[0-9a-f]{12}")


def told(prediction: Prediction) -> list[tuple[str, str]]:
    """What the log holds of a prediction, by name; texts only as it keeps them."""
    given, erased = prediction.assignment, prediction.erased
    of_rollout = f" at weight {given.weight:g} of rollout {given.rollout}" if given.rollout else ""
    renamed = " (a random name since the erasure)" if erased else ""
    rows = [
        ("time", f"{_moment(given.time)} in {given.environment}"),
        ("unit", f"{given.unit}{renamed}"),
        ("customer", _text(given.customer, erased)),
        ("arm", f"{given.arm}{of_rollout}"),
        ("input", _text(given.input, erased)),
    ]
    if given.shadow_of is not None:
        rows.append(("shadow", f"of {given.shadow_of}, whose request it mirrors: nobody got this answer"))
    end = prediction.outcome
    if end is not None:
        rows += [("output", _text(end.output, erased)), ("outcome", _outcome(end))]
        rows += [("guard", ", ".join(end.findings))] if end.findings else []
    rows += [("feedback", _said(feedback)) for feedback in prediction.feedback]
    return [(name, cut(text, _CHARACTERS)) for name, text in rows]


def _text(text: str | None, erased: bool) -> str:
    if text is None:
        return "erased" if erased else "not in the log"
    return f"hash {text}" if _HASHED.fullmatch(text) else text


def _outcome(end: Outcome) -> str:
    parts = [
        f"status {end.status}" + (f" ({end.error})" if end.error else ""),
        f"{end.latency_ms:,.0f} ms",
        None if end.ttft_ms is None else f"first token after {end.ttft_ms:,.0f} ms",
        None if end.tokens_in is None else f"{end.tokens_in:,} tokens in",
        None if end.tokens_out is None else f"{end.tokens_out:,} tokens out",
        None if end.usd is None else f"{end.usd:.3g} USD",
        None if end.format_ok is None else "right format" if end.format_ok else "wrong format",
        None if end.finish_reason is None else f"ended by {end.finish_reason}",
        None if end.confidence is None else f"confidence {end.confidence:.3g}",
    ]
    return ", ".join(part for part in parts if part is not None)


def _said(feedback: Feedback) -> str:
    score = None if feedback.score is None else f"score {feedback.score:g}"
    parts = [part for part in (feedback.label, score, feedback.comment) if part is not None]
    return f"{_moment(feedback.time)} {feedback.source}: {', '.join(parts)}"


def logged(prediction: Prediction) -> Link:
    """Whether the log holds the prediction and what came of it."""
    what = prediction.assignment.prediction
    if prediction.outcome is None:
        note = "no outcome is logged: its gateway ended before it answered, or it still waits in a spool"
        return Link("prediction", what, Verdict.INCONCLUSIVE, note)
    shadow = ", a shadow's" if prediction.assignment.shadow_of else ""
    erased = "; the customer's data in it were erased" if prediction.erased else ""
    return Link("prediction", what, Verdict.PASS, f"in the log with its outcome{shadow}{erased}")


def absent(given: Assignment, why: str) -> Link:
    """The link to a release that does not lead further."""
    return Link("release", given.release, Verdict.INCONCLUSIVE, why)


def answered_by(end: Outcome, tag: Tag, first: Outcome | None) -> Link:
    """Whether the engine that answered serves the release, as far as it says what it serves.

    `trunkline engine` alone names its weights. Another server's word is compared with its first for this release:
    a change is told, and what does not change proves nothing about the weights.

    Args:
        end: the prediction's outcome.
        tag: of the release.
        first: the outcome of the release's first prediction in the log.
    """
    said = _says(end)
    if said is None:
        return Link("engine", "unknown", Verdict.INCONCLUSIVE, "it did not say what it is")
    try:
        manifest = Manifest.of(tag)
    except Error:
        return Link("engine", said, Verdict.INCONCLUSIVE, "the release says nothing of its weights")
    if manifest.kind == "hosted":
        return _of_provider(end, manifest)
    digest = identity.of_release(manifest)[:12]
    if end.engine_fingerprint == digest:
        return Link("engine", said, Verdict.PASS, "it names the released weights")
    ours = (end.engine_model or "").startswith(f"{manifest.model}@")
    if ours and _FINGERPRINT.fullmatch(end.engine_fingerprint or ""):
        return Link("engine", said, Verdict.FAIL, f"it names other weights than the released ones, {digest}")
    if ours and end.engine_model != tag.name:
        return Link("engine", said, Verdict.FAIL, "it says that it serves another release")
    return Link("engine", said, Verdict.INCONCLUSIVE, _since(end, first))


def _of_provider(end: Outcome, manifest: Manifest) -> Link:
    """Whether a provider says the same as when its model was released: all that is known of its weights."""
    said, released = _says(end) or "", manifest.base.get("model")
    if end.engine_model != released:
        return Link("engine", said, Verdict.FAIL, f"the provider's model was {released} when it was released")
    fingerprint = manifest.base.get("fingerprint")
    if end.engine_fingerprint != fingerprint:
        return Link("engine", said, Verdict.INCONCLUSIVE, f"its fingerprint was {fingerprint} when it was released")
    if fingerprint is None:
        return Link("engine", said, Verdict.INCONCLUSIVE, "the provider names no fingerprint")
    return Link("engine", said, Verdict.PASS, "the provider says what it said when it was released")


def _since(end: Outcome, first: Outcome | None) -> str:
    unknown = "it does not tell the hash of its weights"
    if first is None or first.prediction == end.prediction:
        return unknown
    if _says(first) == _says(end):
        return f"{unknown}; it says what it said at the release's first answer, {_moment(first.time)}"
    return f"it CHANGED: the release's first answer, {_moment(first.time)}, came from {plain(_says(first))}"


def _says(end: Outcome) -> str | None:
    return " ".join(part for part in (end.engine_model, end.engine_fingerprint) if part) or None


def _moment(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
