"""Who answers in production: a provider, known by its pinned answers, or an engine, known by the release's weights."""

import asyncio
from pathlib import Path
from typing import NamedTuple

from trunkline import identity
from trunkline.clients import bundles, engines, hosted
from trunkline.clients.engines import Probed
from trunkline.clients.engines import pins as answered
from trunkline.drift import asked, pinned, signals
from trunkline.drift.asked import Budget
from trunkline.errors import Error
from trunkline.identity import Expected
from trunkline.operations.monitor import pins
from trunkline.params import Params
from trunkline.params.serve import EngineParams
from trunkline.records import PROVIDER_RECORD
from trunkline.records.monitoring import Signal
from trunkline.records.release import Manifest
from trunkline.records.serving import Provider
from trunkline.verdict import Verdict

WEIGHTS = "provider/weights"
# An engine computes an answer together with whatever else it is asked, and once in a while a word falls otherwise.
_TRIES = 10


class Respondent(NamedTuple):
    """Who answers.

    Attributes:
        told: what is known of who it is, one signal for providers and one for engines: what the release does not
            have is no alarm any more.
        provider: how it is asked; None where it cannot be.
        why: it cannot be.
        proxied: whether the environment's proxy is on the way.
    """

    told: tuple[Signal, Signal]
    provider: Provider | None
    why: str
    proxied: bool = False


def record(manifest: Manifest, params: Params, folder: Path) -> Provider:
    """The record of a hosted release's provider, from its verified bundle.

    Raises:
        Error: the bundle is not to be had, or not the release's.
    """
    bundles.fetch(manifest, folder, params.release)
    return hosted.read(folder, manifest.weights.get(PROVIDER_RECORD))


def of_provider(recorded: Provider | None, why: str, budget: Budget) -> Respondent:
    """A hosted release's.

    Args:
        recorded: None where it is not here; then ``why``.
        budget: what chance is allowed.
    """
    own = asked.plainly(WEIGHTS, Verdict.PASS, "A provider's model has no weights of ours that could be others.")
    if recorded is None:
        return Respondent((_unknown(pinned.KEY, why), own), None, why)
    return Respondent((pins.ask(recorded, budget), own), recorded, "", proxied=True)


def of_engine(manifest: Manifest, params: Params) -> Respondent:
    """The engine of a release with own weights, where params.yaml says how it is reached."""
    none = asked.plainly(pinned.KEY, Verdict.PASS, "The release has weights of its own, which no provider can change.")
    engine = params.monitor.asked.engine
    if engine is None:
        why = "monitor.asked.engine names no engine that serves the release"
        return Respondent((none, _unknown(WEIGHTS, why)), None, why)
    try:
        name, digest = f"{manifest.model}@{manifest.version}", identity.of_release(manifest)
        pin = answered.read(name, engine, Path(params.serve.gateway.pins))
        expected = identity.expected(name, digest, engine, pin)
        probed = asyncio.run(_probe(engine, expected, params))
    except Error as error:
        return Respondent((none, _unknown(WEIGHTS, error.problem)), None, error.problem)
    return Respondent((none, _weights(expected, probed)), _provider(engine, probed, params), "")


async def _probe(settings: EngineParams, expected: Expected, params: Params) -> Probed:
    """What it says and answers; where that is not what is expected, what it does once it is asked often enough."""
    engine = engines.connect(settings, params.serve.timeouts)
    try:
        probed = await engines.probe(engine, expected.pin)
        for _ in range(_TRIES - 1):
            if probed.identity.digest is not None or identity.mismatch(expected, *probed) is None:
                break
            probed = await engines.probe(engine, expected.pin)
        return probed
    finally:
        await engine.close()


def _weights(expected: Expected, probed: Probed) -> Signal:
    problem = identity.mismatch(expected, *probed)
    if problem is None:
        return asked.plainly(WEIGHTS, Verdict.PASS, f"The engine proves that it serves {expected.release}.")
    if probed.identity.digest is None and expected.pin is None:
        return _unknown(WEIGHTS, problem)
    return asked.plainly(WEIGHTS, Verdict.FAIL, f"The engine moved: {problem}.")


def _provider(engine: EngineParams, probed: Probed, params: Params) -> Provider:
    """An engine as what is asked many questions: all kinds of engines have OpenAI's API."""
    return Provider(
        model=engine.model or next(iter(probed.identity.models), ""),
        url=engine.url,
        key=engine.key,
        usd_input=engine.usd_per_million.input,
        usd_output=engine.usd_per_million.output,
        retries=engine.retries,
        timeout=params.serve.timeouts.total,
        concurrent=params.hosted.concurrent,
        messages=(),
        pinned_tokens=1,
        said=None,
        fingerprint=None,
        pins=(),
    )


def _unknown(key: str, why: str) -> Signal:
    return signals.unmeasured(key, "provider", 0, f"could not measure: {why}.")
