"""What a look-up reads follows what is asked, not what is stored."""

from __future__ import annotations

import uuid

from tests import parts
from tests.bench import look_up
from worker.store.sought import SoughtPageview, groups

DAY_MS = 86_400_000


def test_a_look_up_reads_little_of_a_year(stack: parts.Stack) -> None:
    rows = 1_000_000
    look_up.fill(stack.clickhouse, rows, sites=3)
    shares = {what: share for what, (share, _) in look_up.measure(stack.clickhouse, rows, ids=1_000, sites=3).items()}
    print(shares)
    assert max(shares.values()) < 0.08, shares  # a granule is 0.8 %


def test_an_old_row_does_not_widen_what_is_read_for_todays() -> None:
    batch = uuid.uuid4().bytes
    now = 20_500 * DAY_MS + 7
    found = groups([SoughtPageview(batch, now, 0), SoughtPageview(batch, now + 5, 0), SoughtPageview(batch, 9, 0)])
    assert sorted((group.first_ms, group.last_ms) for group in found) == [(9, 9), (now, now + 5)]


def test_a_decade_is_looked_up_by_months() -> None:
    decade = [SoughtPageview(uuid.uuid4().bytes, (17_000 + day) * DAY_MS, 1_780_000_000) for day in range(3_650)]
    found = groups(decade)
    assert 110 < len(found) < 130
    assert {each.batch_id for each in decade} == set().union(*(group.batch_ids for group in found))
    assert all(len(group.days) <= 31 for group in found)
