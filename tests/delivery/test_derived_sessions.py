"""Pageviews without a session, through gateway and workers, on a site that derives them."""

from __future__ import annotations

import base64
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.seal import Sealer
from tests import parts, services
from tests.services import System

DAY_S = 86_400
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def at(clock: str, day: datetime = TODAY) -> str:
    hours, minutes = map(int, clock.split(":"))
    return (day + timedelta(hours=hours, minutes=minutes)).isoformat()


def sessions(system: System) -> dict[str, str]:
    """Return the session of each page."""
    rows = services.rows(system.clickhouse, "SELECT path, session_id FROM hitline.pageviews")
    return {row["path"].strip("/"): row["session_id"] for row in rows}


def post(system: System, page: str, clock: str = "10:00", **fields: Any) -> None:
    fields = {"timestamp": at(clock), **fields}
    assert system.post(url=f"https://example.com/{page}", **fields).status == 202


@pytest.fixture
def derived(bare: System) -> System:
    services.hitline(bare.env, "site", "change", "example.com", "--sessions", "derived")
    services.wait_for(lambda: "derived" in services.hitline(bare.env, "site", "list").stdout)
    return bare


def test_visitors_are_told_apart_by_two_workers_and_only_where_a_session_is_missing(derived: System) -> None:
    for _ in range(2):
        derived.add_worker()
    own = str(uuid.uuid4())
    post(derived, "a")
    post(derived, "b", "10:20")
    post(derived, "c", "10:50")  # 30 minutes after b
    post(derived, "d", "11:21")  # 31 minutes after c
    post(derived, "same-v4", "10:10", visitor_ip="::ffff:198.51.100.23")
    post(derived, "other-address", visitor_ip="198.51.100.24")
    post(derived, "other-agent", user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0")
    post(derived, "tomorrow", timestamp=at("00:00", TODAY + timedelta(days=1)))
    post(derived, "long-ago", timestamp=at("10:00", TODAY - timedelta(days=9)))
    post(derived, "long-ago-too", timestamp=at("10:01", TODAY - timedelta(days=9)))
    post(derived, "own", session_id=own)
    post(derived, "page-id", "10:05", page_id=str(uuid.uuid4()))
    post(derived, "late", "10:15")
    derived.wait_for_outcomes(13)
    found = sessions(derived)
    assert found["a"] == found["b"] == found["c"] == found["same-v4"] == found["page-id"] == found["late"]
    assert found["own"] == own
    others = ("d", "other-address", "other-agent", "tomorrow", "long-ago", "long-ago-too", "own")
    assert len({found["a"], *(found[page] for page in others)}) == 8
    pages = services.rows(derived.clickhouse, "SELECT entry_page, exit_page FROM hitline.sessions WHERE pageviews > 1")
    assert pages == [{"entry_page": "/a", "exit_page": "/c"}]
    assert int(parts.execute(derived.clickhouse, "SELECT count() FROM hitline_control.salts")) == 3


def test_the_same_pageview_without_its_salt_is_no_second_one(derived: System) -> None:
    day = TODAY - timedelta(days=2)
    number = int(day.timestamp()) // DAY_S
    sealed = base64.b64encode(Sealer([parts.QUEUE_KEY]).seal(b"s" * 32, b"hitline salt of day %d" % number)).decode()
    # Older than the second that workers let pass before they believe a salt to be the only one of its day.
    row = f"toDate({number}), '{sealed}', now64(6) - INTERVAL 1 HOUR"
    parts.execute(derived.clickhouse, f"INSERT INTO hitline_control.salts (day, salt, created_at) SELECT {row}")
    ids = [str(uuid.uuid4()) for _ in range(2)]

    def post_both(expected: int) -> dict[str, str]:
        worker = derived.add_worker()
        for number, page_id in enumerate(ids):
            post(derived, str(number), timestamp=at(f"10:0{number}", day), page_id=page_id)
        derived.wait_for_outcomes(expected)
        worker.stop()
        return sessions(derived)

    first = post_both(2)
    assert first["0"] == first["1"]
    parts.execute(derived.clickhouse, f"ALTER TABLE hitline_control.salts DROP PARTITION '{day.date()}'")
    again = post_both(4)
    assert len(again) == 2, "still two pageviews"
    assert again["0"] != again["1"]
    assert services.count(derived.clickhouse) == 2


def test_pageviews_wait_for_a_salt_and_are_not_lost(derived: System) -> None:
    parts.execute(derived.clickhouse, "RENAME TABLE hitline_control.salts TO hitline_control.away")
    try:
        worker = derived.add_worker()
        post(derived, "a")
        post(derived, "b")
        services.wait_for(lambda: "pageviews of derived sessions wait for its salts" in worker.text())
        time.sleep(1)
        assert services.count(derived.clickhouse) == 0
    finally:
        parts.execute(derived.clickhouse, "RENAME TABLE hitline_control.away TO hitline_control.salts")
    derived.wait_for_outcomes(2)
    found = sessions(derived)
    assert found["a"] == found["b"]
