"""`trunkline engine` over HTTP: OpenAI's API, and what only it tells."""

from pydantic import BaseModel, JsonValue

from trunkline.clients.engines.openai import OpenAI
from trunkline.clients.engines.refusals import read
from trunkline.clients.engines.spans import spans
from trunkline.records.serving import Identity, Request, Span


class _Info(BaseModel):
    model_id: str
    model_sha: str | None
    version: str | None


class Embedded(OpenAI):
    """`trunkline engine`, which also tells tokens' numbers and the digest of what it serves."""

    async def health(self) -> None:
        """See Engine."""
        await self._server.get("/health", self._server.timeouts.connect)

    async def identity(self) -> Identity:
        """See Engine."""
        info = read(_Info, await self._server.get("/info", self._server.timeouts.first_token), "OpenAI's API")
        return Identity((info.model_id,), info.model_sha, info.version)

    async def tokenize(self, text: str) -> list[Span] | None:
        """See Engine."""
        return await spans(self._server, text)

    async def _name(self) -> str:
        """Whatever it serves, as TGI is asked too; each answer says what that was."""
        return self._model or "tgi"

    def _details(self, request: Request, chat: bool) -> dict[str, JsonValue]:
        return {**super()._details(request, chat), "return_token_ids": True} if request.details else {}
