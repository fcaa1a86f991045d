"""Moments as people write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from trunkline import moments
from trunkline.errors import Error


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T12:30:00", datetime(2026, 11, 1, 12, 30, tzinfo=UTC)),
        ("2026-11-01T12:30:00Z", datetime(2026, 11, 1, 12, 30, tzinfo=UTC)),
        ("2026-11-01T12:30:00+02:00", datetime(2026, 11, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_a_date_or_time_is_utc_unless_it_says_otherwise(text, moment):
    assert moments.parse(text) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "1764460800"])
def test_anything_else_is_an_error_that_says_how_to_write_it(text):
    with pytest.raises(Error, match="is no ISO 8601") as caught:
        moments.parse(text)
    assert "2026-11-01" in caught.value.hint
