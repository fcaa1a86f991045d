"""What a request says besides its question: its body, whose it is, and what a trusted proxy has decided."""

import uuid
from collections.abc import Mapping
from contextlib import nullcontext

import orjson
from aiohttp import web

from trunkline.clients import listening
from trunkline.operations.serve.admission import Admission
from trunkline.operations.serve.exchange import Asker
from trunkline.operations.serve.routing import ARMS, Told
from trunkline.params.serve import GatewayParams, NameParams
from trunkline.records.serving import Failure

ARM, WEIGHT = "x-trunkline-arm", "x-trunkline-weight"
REQUEST_ID = "x-request-id"
# Of a unit's or customer's name, and of a request id that a client chose; the log's limit.
_LONGEST = 256


async def body(request: web.Request, admission: Admission, arms: int | None = None) -> dict[str, object]:
    """The JSON object of a request that is let in; not read before it is.

    Args:
        arms: where it is to be answered: so many engines may work and be waited for.

    Raises:
        Refused: by the admission.
        Failure: ``invalid``, it is none.
        web.HTTPRequestEntityTooLarge: it is too large.
    """
    key = admission.admit(request.headers.get("Authorization", ""))
    if arms is not None:
        admission.check(arms)
    # What has come with its head is not on its way.
    async with nullcontext() if request.content.is_eof() else admission.coming(key):
        content = await listening.content(request)
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Failure("invalid", f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Failure("invalid", "the body is not a JSON object")
    return found


def asker(request: web.Request, found: dict[str, object], settings: GatewayParams) -> Asker:
    """Whose request it is; takes the fields that say it out of the body, as they are no parameters.

    Raises:
        Failure: ``invalid``, a name is no text, is too long or holds what cannot be printed.
    """
    both = (settings.unit, settings.customer)
    said = Asker(*(_name(request, found, names) for names in both))
    for names in both:
        if names.field is not None:
            found.pop(names.field, None)
    return said


def told(headers: Mapping[str, str]) -> Told | None:
    """What the proxy has decided; None where it says nothing.

    Raises:
        Failure: ``invalid``, it says what is no arm or no weight.
    """
    arm, weight = headers.get(ARM), headers.get(WEIGHT)
    if arm is None and weight is None:
        return None
    try:
        share = float(weight or "")
    except ValueError:
        share = -1.0
    for known in ARMS:
        if arm == known and 0 <= share <= 1:
            return Told(known, share)
    raise Failure("invalid", f"the proxy says {ARM} {arm!r} and {WEIGHT} {weight!r}")


def identifier(headers: Mapping[str, str]) -> str:
    """The request's id: the client's, if it gives a sensible one."""
    given = headers.get(REQUEST_ID, "")
    return given if 0 < len(given) <= _LONGEST and given.isascii() and given.isprintable() else uuid.uuid4().hex


def _name(request: web.Request, found: dict[str, object], names: NameParams) -> str | None:
    # A header that comes more than once: the last is the nearest proxy's.
    headers = [] if names.header is None else request.headers.getall(names.header, [])
    field = None if names.field is None else found.get(names.field)
    if field is not None and not isinstance(field, str):
        raise Failure("invalid", f"{names.field}: is no text")
    name = headers[-1] if headers and headers[-1] else field
    if not name:
        return None
    # What is hashed must be what is logged, and no database takes everything.
    if len(name) > _LONGEST or not name.isprintable():
        where = names.header if headers else names.field
        raise Failure("invalid", f"{where}: takes at most {_LONGEST} printable characters")
    return name
