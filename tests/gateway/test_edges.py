"""The first and the last value that a field takes, and the ones beside them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.replies import Rejected
from gateway.validate import PageviewRequest, validate
from tests.services import pageview

NOW_MS = 1_800_000_000_123  # 2027-01-15T08:00:00.123Z


def taken(**fields: Any) -> PageviewRequest:
    return validate(pageview(**{"timestamp": "2027-01-01T00:00:00Z", **fields}), NOW_MS)


@pytest.mark.parametrize(
    ("timestamp", "milliseconds"),
    [
        ("1990-01-01T00:00:00Z", 631_152_000_000),
        ("1990-01-01T00:00:00.000999Z", 631_152_000_000),
        ("1989-12-31T23:59:59.001-00:01", 631_152_059_001),
        ("2027-01-16T08:00:00.123Z", NOW_MS + 86_400_000),
        ("2027-01-16T08:00:00.1239Z", NOW_MS + 86_400_000),
        ("2027-01-16T13:30:00.123+05:30", NOW_MS + 86_400_000),
        # Both sides of a midnight, and the second that is inserted there.
        ("2026-12-31T23:59:59.999Z", 1_798_761_599_999),
        ("2027-01-01T00:00:00Z", 1_798_761_600_000),
        ("2026-12-31T23:59:60.5Z", 1_798_761_600_000),
    ],
)
def test_times_from_1990_to_a_day_ahead_are_taken(timestamp: str, milliseconds: int) -> None:
    assert taken(timestamp=timestamp).timestamp == milliseconds


@pytest.mark.parametrize(
    ("timestamp", "rule"),
    [
        ("1989-12-31T23:59:59.999Z", "must not be before 1990"),
        ("1990-01-01T00:00:00+00:01", "must not be before 1990"),
        ("2027-01-16T08:00:00.124Z", "must not be more than 24 hours in the future"),
        ("2027-01-16T08:00:00.123-00:01", "must not be more than 24 hours in the future"),
        ("2026-12-31T23:58:60Z", "must be a time that exists: leap seconds are at 23:59:60 UTC"),
    ],
)
def test_the_moments_beside_them_are_not(timestamp: str, rule: str) -> None:
    with pytest.raises(Rejected) as rejected:
        taken(timestamp=timestamp)
    assert rejected.value.text == f"timestamp: {rule}"


@pytest.mark.parametrize(
    ("given", "stored"),
    [(0, 0), (1, 1), (65_535, 65_535), (65_535.4, 65_535), (65_535.6, 0), (65_536, 0), (-0.4, 0), (-0.6, 0), (-1, 0)],
)
def test_sizes_go_as_far_as_their_column(given: float, stored: int) -> None:
    names = ("screen_width", "screen_height", "viewport_width", "viewport_height")
    for name in names:
        found = taken(**{name: given})
        assert [getattr(found, each) or 0 for each in names] == [stored if each == name else 0 for each in names]
