"""How an engine proves that it serves a release: by its weights or a pinned answer, a provider by all its pins."""

from pathlib import Path
from typing import NamedTuple, Protocol

from trunkline import identity
from trunkline.clients import engines, hosted
from trunkline.clients.engines import Engine, pins
from trunkline.identity import Same
from trunkline.operations.serve.release import Release
from trunkline.params.serve import EngineParams
from trunkline.records.serving import Completion, Provider
from trunkline.verdict import Verdict

# Who tells more fingerprints than this tells nothing by a new one.
_MOST_FINGERPRINTS = 16


class Problem(NamedTuple):
    """Why an engine must get no traffic.

    Attributes:
        error: what the prediction log calls it: ``unproven``, or ``moved`` of a provider that answers as another model.
        sentence: for people.
    """

    error: str
    sentence: str


class Heard(NamedTuple):
    """What an answer says of who gave it.

    Attributes:
        new: somebody else than before, who has to prove what it is.
        problem: why the answer must not be passed on; None where it may be.
    """

    new: bool
    problem: Problem | None


class Proof(Protocol):
    """What a release's engine is known by."""

    async def prove(self, engine: Engine) -> Problem | None:
        """Why it must get no traffic; None where it is what it should be.

        Raises:
            Failure: it does not answer, so it is not known.
        """

    def heard(self, answer: Completion) -> Heard:
        """Look at what an answer says of its server."""


class EngineProof:
    """An engine's, see Proof: `trunkline engine` tells its weights, any other repeats one pinned answer."""

    def __init__(self, release: Release, settings: EngineParams, folder: Path) -> None:
        """Nothing is asked yet.

        Raises:
            Error: the release's pin cannot be read.
        """
        pin = pins.read(release.name, settings, folder)
        self._expected = identity.expected(release.name, release.digest, settings, pin)
        self._embedded = settings.kind == "embedded"
        self._fingerprint: str | None = None

    async def prove(self, engine: Engine) -> Problem | None:
        """See Proof."""
        wrong = await self._mismatch(engine)
        if wrong is not None and self._expected.pin is not None:
            # An answer that was a near thing may fall otherwise once in another batch, another model's falls so again.
            wrong = await self._mismatch(engine)
        return None if wrong is None else Problem("unproven", wrong)

    async def _mismatch(self, engine: Engine) -> str | None:
        probed = await engines.probe(engine, self._expected.pin)
        self._fingerprint = probed.completion.fingerprint
        return identity.mismatch(self._expected, *probed)

    def heard(self, answer: Completion) -> Heard:
        """See Proof: not even the first answer of other weights is passed on."""
        said = answer.fingerprint
        if not self._embedded:
            new = self._fingerprint is not None and said != self._fingerprint
            self._fingerprint = said
            return Heard(new, None)
        known = self._expected.digest[:12]
        if said == known:
            return Heard(False, None)
        return Heard(True, Problem("unproven", f"it answers by the weights {said}, not {known}"))


class ProviderProof:
    """A provider's, see Proof."""

    def __init__(self, provider: Provider) -> None:
        """Nothing is asked yet."""
        self._provider = provider
        self._fingerprints = {provider.fingerprint}

    async def prove(self, engine: Engine) -> Problem | None:
        """See Proof: an answer that was a near thing may fall otherwise once, another model's falls so again."""
        found = await self._same(engine)
        if found.verdict is not Verdict.PASS:
            found = await self._same(engine)
        if found.verdict is Verdict.PASS:
            return None
        measured = self._provider.pins or self._provider.fingerprint is not None
        return Problem("moved" if measured else "unproven", found.sentence)

    def heard(self, answer: Completion) -> Heard:
        """See Proof: another fingerprint alone need not be another model, and its pinned answers tell."""
        was, now = self._provider.said, answer.model
        if now != was:
            return Heard(True, Problem("moved", f"the provider moved: it was {was} and is {now} now"))
        new = answer.fingerprint not in self._fingerprints and len(self._fingerprints) < _MOST_FINGERPRINTS
        if new:
            self._fingerprints.add(answer.fingerprint)
        return Heard(new, None)

    async def _same(self, engine: Engine) -> Same:
        return identity.repeats(self._provider, await hosted.repeated(self._provider, engine))
