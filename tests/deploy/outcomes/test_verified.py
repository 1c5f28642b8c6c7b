"""What `hitline reconcile` has verified is not counted again, and its figures are still those of the views."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.outcomes import verified
from deploy.outcomes.ledger import FIRST, HELD, Counted, Period
from deploy.outcomes.verified import Verified
from tests import parts
from tests.bench.scale import Counting
from tests.deploy.outcomes import messages
from tests.deploy.outcomes.test_ledger import DAYS, SITE, by_views, insert_history

NOW = datetime(2026, 9, 20, 12, tzinfo=UTC)
LETTER = messages.FIRST
A_DAY = 30


@pytest.fixture
def history(tables: ClickHouseProcess) -> Iterator[ClickHouseProcess]:
    insert_history(tables, A_DAY)
    messages.insert(tables, list(messages.with_dead_letter(LETTER))[:1])
    yield tables
    parts.empty_tables(tables)


@pytest.fixture
async def client(history: ClickHouseProcess) -> AsyncIterator[Counting]:
    client = Counting(history.url, "hitline tests")
    await client.client()
    yield client
    await client.close()


async def noted(client: Counting, period: Period | None = None, now: datetime = NOW) -> Verified:
    _, sums = await verified.count(client, period or Period(), now)
    assert sums
    assert await verified.note(client, sums)
    return sums


async def counted(client: Counting, period: Period | None = None, *, again: bool = False) -> tuple[Counted, int]:
    client.rows_read = 0
    found, _ = await verified.count(client, period or Period(), NOW, again=again)
    return found, client.rows_read


async def test_everything_reads_what_came_since(history: ClickHouseProcess, client: Counting) -> None:
    first, all_read = await counted(client)
    sums = await noted(client)
    assert sums.to == NOW - HELD
    assert sums.counted == by_views(history, Period(last=sums.to))
    again, read = await counted(client)
    assert again == first == by_views(history, Period())
    assert all_read > DAYS * A_DAY
    assert read < all_read / 10
    assert (await counted(client, again=True))[1] > DAYS * A_DAY


async def test_each_run_goes_on_from_the_sums_of_the_last(history: ClickHouseProcess, client: Counting) -> None:
    sums = await noted(client, now=NOW - timedelta(days=9))
    later = await noted(client, Period(first=sums.to))
    assert later.counted == by_views(history, Period(last=later.to))
    assert (await verified.latest(client)).to == later.to == NOW - HELD
    _, gap = await verified.count(client, Period(first=later.to - timedelta(1)), NOW + timedelta(1))
    assert gap is None, "a period that begins elsewhere adds up with nothing"
    midnight = datetime(2026, 9, 1, tzinfo=UTC)
    for period in (Period(last=midnight), Period(first=midnight)):
        assert (await counted(client, period))[0] == by_views(history, period)
    for period in (Period(site="example.com"), Period(client="example")):
        found, _ = await counted(client, period)
        assert (found.stored, found.dropped) == (0, {}), "nobody's"


async def test_a_dead_letter_that_is_replayed_later(history: ClickHouseProcess, client: Counting) -> None:
    before = await noted(client)
    assert before.counted.dead_lettered == 1
    replay(history)
    found, read = await counted(client)
    assert found == by_views(history, Period())
    assert (found.dead_lettered, found.stored) == (0, by_views(history, Period()).stored)
    assert read < DAYS * A_DAY / 5
    _, sums = await verified.count(client, Period(), NOW + timedelta(days=1))
    assert sums
    assert not await verified.note(client, sums), "a worker may count the replay again"
    assert (await verified.latest(client)).noted_at == before.noted_at
    assert not await verified.note(client, Verified(sums.to, sums.noted_at + HELD / 2, sums.counted))
    longer_ago = Verified(sums.to, sums.noted_at + 2 * HELD, sums.counted)
    assert await verified.note(client, longer_ago)


def replay(history: ClickHouseProcess) -> None:
    """Count and store the dead letter; it is delivered twice, and the later row counts."""
    batch_id, part, day, entries, *rest, _ = list(messages.with_dead_letter(LETTER))[1]
    for seconds in (1, 2):
        version = int((datetime.now(UTC) + timedelta(seconds=seconds)).timestamp() * 1_000_000)
        messages.insert(history, [(batch_id, part, day, entries, rest[0], rest[1], version)])
    at = f"'{LETTER} 07:00:00'"
    parts.execute(
        history,
        "INSERT INTO hitline.pageviews_raw (site_id, timestamp, received_at, session_id, page_id)"
        f" VALUES ('{SITE}', {at}, {at}, generateUUIDv4(), generateUUIDv4())",
    )


async def test_a_replay_of_what_came_after_the_sums_counts_once(history: ClickHouseProcess, client: Counting) -> None:
    await noted(client, now=datetime(LETTER.year, LETTER.month, LETTER.day, tzinfo=UTC))
    replay(history)
    assert (await counted(client))[0] == by_views(history, Period())


async def test_replays_are_added_to_the_sums_that_are_noted_next(history: ClickHouseProcess, client: Counting) -> None:
    """Of what was verified before, by a run that goes on from there: also what a replay dropped."""
    before = await noted(client, now=NOW - timedelta(days=9))
    batch_id, part, day, entries, *rest, _ = list(messages.with_dead_letter(LETTER))[1]
    (minute, site, by, _, _), dead = entries
    version = int((datetime.now(UTC) + timedelta(seconds=1)).timestamp() * 1_000_000)
    of_two_letters = [(minute, site, by, "stored", 3), (*dead[:4], -3)], [(minute, site, by, "dnt", 2), (*dead[:4], -2)]
    for number, counts in enumerate(of_two_letters):
        messages.insert(history, [(batch_id, part + number, day, counts, rest[0], rest[1], version)])
    found, sums = await verified.count(client, Period(first=before.to), NOW)
    assert sums
    assert sums.counted == by_views(history, Period(last=sums.to))
    assert sums.counted.dropped["dnt"] > before.counted.dropped["dnt"]
    assert found == by_views(history, Period(first=before.to))


async def test_what_was_erased_since_stays_in_the_sums(history: ClickHouseProcess, client: Counting) -> None:
    sums = await noted(client)
    parts.execute(history, f"DELETE FROM hitline.pageviews_raw WHERE received_at < '{messages.FIRST} 00:00:00'")
    found, _ = await counted(client)
    exact, _ = await counted(client, again=True)
    assert exact == by_views(history, Period())
    assert exact.pageviews < sums.counted.pageviews <= found.pageviews
    assert exact.stored == found.stored


async def test_nothing_is_taken_from_sums_that_reach_beyond_the_period(
    history: ClickHouseProcess, client: Counting
) -> None:
    await noted(client)
    period = Period(FIRST, datetime(2025, 1, 1, tzinfo=UTC))
    assert (await counted(client, period))[0] == by_views(history, period)
