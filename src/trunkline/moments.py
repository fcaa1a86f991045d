"""A moment as people write it."""

from datetime import UTC, datetime

from trunkline.errors import Error


def parse(text: str) -> datetime:
    """An ISO 8601 date or time; UTC where it names no zone.

    Raises:
        Error: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Error(f"{text!r} is no ISO 8601 date or time", "write 2026-11-01 or 2026-11-01T12:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
