"""A hosted release's engine, which a provider runs: it is not started here, but asked whether it is there."""

import asyncio

from trunkline import identity
from trunkline.clients import hosted
from trunkline.errors import Error
from trunkline.operations.supervise import supply
from trunkline.operations.supervise.keeper import Unfit
from trunkline.operations.supervise.programs import Means
from trunkline.records import PROVIDER_RECORD
from trunkline.records.serving import Provider
from trunkline.records.traffic import Served
from trunkline.verdict import Verdict


class ProviderProgram:
    """A release's provider; see Program. Once it was proved, the gateway proves it again and again.

    Attributes:
        served: where it was proved last; None before the first time.
    """

    def __init__(self, version: str, means: Means) -> None:
        """Know what to ask for; nothing happens yet."""
        self.name = f"provider of {version}"
        self.log = means.folder / "gateway.log"
        self.served: Served | None = None
        self._version, self._means = version, means

    async def start(self) -> None:
        """See Program: bring its prompt here."""
        async with self._means.turn:
            manifest = self._means.manifests[self._version]
            await asyncio.to_thread(supply.supply, manifest, self._means.folder, self._means.params)

    async def prove(self) -> None:
        """See Program; a provider that cannot be asked is asked again after a pause, as each answer has its price."""
        manifest = self._means.manifests[self._version]
        bundle = supply.place(self._means.folder, self._version)
        try:
            provider = hosted.read(bundle, manifest.weights.get(PROVIDER_RECORD))
            await asyncio.to_thread(_check, provider)
        except Error as error:
            raise Unfit(f"{self.name} gets no traffic: {error.problem}", error.hint) from None
        release = f"{manifest.model}@{manifest.version}"
        self.served = Served(release=release, bundle=str(bundle), url=provider.url)

    async def check(self) -> None:
        """See Program: whether it answers is the gateway's to find out."""

    async def close(self) -> None:
        """See Program."""


def _check(provider: Provider) -> None:
    found = identity.repeats(provider, hosted.repeat(provider))
    if found.verdict is not Verdict.PASS:
        raise Error(found.sentence, "let a release serve that was made with what the provider has now")
