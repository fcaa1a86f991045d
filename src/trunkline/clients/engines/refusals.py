"""What servers say when they do not answer, in one vocabulary."""

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel

from trunkline.records.serving import Failure, FailureKind

# Of an error's body that is read.
MOST_SAID = 4096
_SHOWN = 300
_OVERLOADED = (429, 503, 529)
_TIMEOUT = (408, 504)
_INVALID = (400, 413, 415, 422)
# TGI's words, in its streams, which have status 200 whatever happens.
_TYPES: dict[str, FailureKind] = {
    "validation": "invalid",
    "template_error": "invalid",
    "missing_template_variable": "invalid",
    "tool_error": "invalid",
    "overloaded": "overloaded",
}

Kind = TypeVar("Kind", bound=BaseModel)


def from_status(status: int, body: bytes, retry_after: str | None, host: str) -> Failure:
    """The failure that a status says; the body only explains it."""
    problem = f"{host} answers {status}: {_said(body)}"
    return Failure(_kind(status), problem, _seconds(retry_after))


def read(kind: type[Kind], content: object, api: str) -> Kind:
    """A document of a kind; other fields than the kind's are passed over.

    Args:
        api: whose it should be, for messages.

    Raises:
        Failure: it tells an error, or is none of this kind.
    """
    failure = _from_document(content) if isinstance(content, dict) else None
    if failure is not None:
        raise failure
    try:
        return kind.model_validate(content)
    except ValueError:
        raise Failure("garbage", f"the engine answers what is no answer of {api}") from None


def _from_document(document: dict[str, Any]) -> Failure | None:
    """The failure that a document tells within an answer that began well; None where it tells none."""
    error = document.get("error")
    if error is None:
        return None
    fields = error if isinstance(error, dict) else {}
    said = fields.get("message") or error
    status = next((code for code in (fields.get("http_status_code"), fields.get("code")) if _is_status(code)), None)
    kind = _TYPES.get(str(document.get("error_type")), "failed") if status is None else _kind(status)
    return Failure(kind, f"the engine says: {str(said)[:_SHOWN]}")


def _is_status(code: object) -> bool:
    return isinstance(code, int) and 400 <= code < 600


def _kind(status: int) -> FailureKind:
    if status in _OVERLOADED:
        return "overloaded"
    if status in _TIMEOUT:
        return "timeout"
    if status in _INVALID:
        return "invalid"
    # 424 is TGI's for a generation that failed.
    return "failed" if status >= 500 or status == 424 else "refused"


def _said(body: bytes) -> str:
    text = body.decode(errors="replace")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, dict):
        error = document.get("error") or document.get("detail") or document.get("message") or text
        text = str(error.get("message") or error if isinstance(error, dict) else error)
    return " ".join(text.split())[:_SHOWN] or "nothing more"


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.strip().isdecimal() else None
