"""Whether a server serves what it should: told by its weights and their configuration, or by what it answers."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from trunkline.errors import Error
from trunkline.params.serve import EngineParams
from trunkline.records import PROVIDER_RECORD
from trunkline.records.release import Manifest
from trunkline.records.serving import Completion, Identity, Pin, Provider
from trunkline.verdict import Verdict

# What decides the weights in memory: an adapter's configuration holds its scale.
# A hosted release has no weights; no server's digest is that of its provider's record.
_DECIDING = (".safetensors", "adapter_config.json", PROVIDER_RECORD)


class Expected(NamedTuple):
    """What an engine must turn out to be.

    Attributes:
        release: its name, for messages.
        digest: of its weights and their configuration.
        model: the name that the server must answer to; None: any.
        pin: what it must answer where the server tells no digest; None: such a server is not accepted.
    """

    release: str
    digest: str
    model: str | None
    pin: Pin | None


def digest(weights: Mapping[str, str], base: str | None, configuration: Mapping[str, str]) -> str:
    """One hash for all that decides what a release computes: SHA-256 of the sorted lines ``<hash>  <name>``.

    Args:
        weights: SHA-256 by file name, of a bundle or a manifest; other files than weights and an adapter's
            configuration do not count.
        base: the SHA-256 of the base model that an adapter goes on; None for whole weights.
        configuration: SHA-256 by file name of what decides how weights are computed with; empty where it was not
            recorded, and the digest is that of earlier versions then.

    Raises:
        Error: there is nothing to hash.
    """
    hashes = {name: value for name, value in weights.items() if name.endswith(_DECIDING)}
    if base is not None:
        hashes["base"] = base
    hashes |= {f"configuration/{name}": value for name, value in configuration.items()}
    if not hashes:
        raise Error(f"no weights among {sorted(weights)}", "name the folder of a model or a release")
    lines = "".join(f"{value}  {name}\n" for name, value in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def of_release(manifest: Manifest) -> str:
    """The digest of what a server of a release must serve.

    Raises:
        Error: the manifest names no weights.
    """
    base = manifest.base["sha256"] if manifest.kind == "lora" else None
    return digest(manifest.weights, base, manifest.configuration)


def expected(release: str, digest: str, settings: EngineParams, pin: Pin | None) -> Expected:
    """What an engine of a release must turn out to be, by how it is reached.

    Args:
        release: its name, such as ``support-triage@v1.2.0``.
        digest: of its weights and their configuration.
        settings: of the engine.
        pin: what it must answer where the server tells no digest.
    """
    # vLLM is started under the release's name; TGI tells the folder that it was started on.
    named = release if settings.kind == "openai" else None
    return Expected(release, digest, settings.model or named, pin)


def mismatch(expected: Expected, identity: Identity, completion: Completion) -> str | None:
    """Why an engine must get no traffic, in a sentence; None where it is the one that is expected.

    Its digest decides. A server that tells none must answer to the expected name and give the pinned answer;
    without a pin it is not known what it serves, and that is no pass.

    Args:
        identity: what it says that it is.
        completion: what it answered to the pinned prompt, or to any.
    """
    if not completion.text and not completion.tokens_out:
        return "it generates nothing"
    if expected.model is not None and expected.model not in identity.models:
        names = ", ".join(identity.models) or "no model"
        return f"it serves {names}, not {expected.model}"
    if identity.digest is not None:
        if identity.digest == expected.digest:
            return None
        name = ", ".join(identity.models) or "other weights"
        return (
            f"it serves {name} with the weights {identity.digest[:12]}, "
            f"but {expected.release} has the weights {expected.digest[:12]}"
        )
    if expected.pin is None:
        return f"it does not tell the hash of its weights, and {expected.release} has no pinned answer to know it by"
    if completion.text != expected.pin.output:
        return (
            f"it answers the pinned prompt with {_shown(completion.text)}, "
            f"but {expected.release} answers {_shown(expected.pin.output)}"
        )
    return None


class Same(NamedTuple):
    """Whether a provider's model is still the recorded one, and what tells so."""

    verdict: Verdict
    sentence: str


def same(recorded: Provider, repeated: Sequence[str], said: Collection[tuple[str | None, str | None]]) -> Same:
    """Whether a provider still serves the model that was recorded; a change is for a human to decide about.

    A provider may change its fingerprint for what does not touch the answers, so pinned answers count more.

    Args:
        recorded: the provider as it was, with pinned answers.
        repeated: what it answers to the pinned prompts now, in their order.
        said: every model and fingerprint that it named now.
    """
    pins = recorded.pins
    moved = [(pin.output, now) for pin, now in zip(pins, repeated, strict=True) if pin.output != now]
    names = sorted({str(model) for model, _ in said} - {str(recorded.said)})
    prints = sorted({str(fingerprint) for _, fingerprint in said} - {str(recorded.fingerprint)})
    changed = f"its fingerprint was {recorded.fingerprint} and is {', '.join(prints)} now"
    if moved:
        was, now = moved[0]
        answers = f"{len(moved)} of {len(pins)} pinned answers differ, such as {_shown(now)} instead of {_shown(was)}"
        return Same(Verdict.INCONCLUSIVE, f"the provider moved: {answers}" + (f"; {changed}" if prints else ""))
    if names:
        return Same(Verdict.INCONCLUSIVE, f"the provider moved: it was {recorded.said} and is {', '.join(names)} now")
    if prints and not pins:
        return Same(Verdict.INCONCLUSIVE, f"the provider may have moved: {changed}, and nothing is pinned")
    if not pins and recorded.fingerprint is None:
        unknown = "it tells no fingerprint, and none of its answers could be pinned"
        return Same(Verdict.INCONCLUSIVE, f"whether the provider moved could not be measured: {unknown}")
    told = changed if prints else f"its fingerprint is {recorded.fingerprint or 'not told'}"
    return Same(Verdict.PASS, f"the provider did not move: {len(pins)} of {len(pins)} pinned answers repeat; {told}")


def repeats(recorded: Provider, answers: Sequence[Completion]) -> Same:
    """The same by the answers to the pinned prompts alone; where nothing is pinned, by who answered."""
    said = {(answer.model, answer.fingerprint) for answer in answers}
    return same(recorded, [answer.text for answer in answers if recorded.pins], said)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
