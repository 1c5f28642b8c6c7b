"""What `hitline reconcile` counts: the figures of the views, read by the day; and where it goes on from."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.outcomes import ledger
from deploy.outcomes.fold import fold
from deploy.outcomes.ledger import Counted, Period
from shared.clickhouse import ClickHouse
from tests import parts, services
from tests.bench.scale import Counting
from tests.deploy.outcomes import messages

DAYS = 1_000
A_DAY = 150
SITE = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def history(tables: ClickHouseProcess) -> Iterator[ClickHouseProcess]:
    insert_history(tables, A_DAY)
    yield tables
    parts.empty_tables(tables)


def insert_history(tables: ClickHouseProcess, a_day: int) -> None:
    """Insert a thousand days, with sessions of three pageviews and a message for each pageview; a tenth is repeated.

    The pageviews are spread over each day, and each was received a moment after it was viewed.
    """
    when = f"toDateTime64('2024-01-01 00:00:00', 3, 'UTC') + toIntervalMillisecond(intDiv(number * 86400000, {a_day}))"
    stored = (
        "INSERT INTO hitline.pageviews_raw (site_id, timestamp, received_at, session_id, page_id, batch_id) SELECT"
        f" toUUID('{SITE}'), {when} AS t, t + toIntervalMillisecond(40),"
        " reinterpretAsUUID(sipHash128(intDiv(number, 3))), reinterpretAsUUID(sipHash128(number, 1)), generateUUIDv4()"
        f" FROM numbers({DAYS * a_day}) WHERE number % {{}} = 0 SETTINGS max_partitions_per_insert_block = 0"
    )
    for every in (1, 10):
        parts.execute(tables, stored.format(every))
    parts.execute(
        tables,
        "INSERT INTO hitline.outcomes_raw (batch_id, day, minutes, sites, clients, outcomes, counts, version) SELECT"
        f" generateUUIDv4(), toDate({when} AS t), [toStartOfMinute(t)], [toUUID('{SITE}')], [generateUUIDv4()],"
        " [if(number % 7 = 0, 'dnt', 'stored')], [1 + number % 7], toUnixTimestamp64Micro(t) AS version"
        f" FROM numbers({DAYS * a_day}) SETTINGS max_partitions_per_insert_block = 0",
    )


async def count(clickhouse: ClickHouseProcess, period: Period) -> tuple[Counted, int]:
    client = Counting(clickhouse.url, "hitline tests")
    try:
        await client.client()
        client.rows_read = 0
        return await ledger.count(client, period), client.rows_read
    finally:
        await client.close()


def by_views(clickhouse: ClickHouseProcess, period: Period) -> Counted:
    first, last = (f"toDateTime64('{each:%Y-%m-%d %H:%M:%S}', 3, 'UTC')" for each in (period.first, period.last))
    where = f"minute >= {first} AND minute < {last} AND NOT startsWith(outcome, 'refused:')"
    ended = services.rows(
        clickhouse, f"SELECT outcome, sum(pageviews) AS n FROM hitline.outcomes WHERE {where} GROUP BY outcome"
    )
    dropped = {row["outcome"]: int(row["n"]) for row in ended}
    rows = services.count(clickhouse, where=f"received_at >= {first} AND received_at < {last}")
    return Counted(rows, dropped.pop("stored", 0), dropped.pop("dead_lettered", 0), dropped)


async def test_a_day_among_a_thousand_reads_the_day(history: ClickHouseProcess) -> None:
    first = datetime(2025, 3, 17, tzinfo=UTC)
    period = Period(first, first + timedelta(1))
    counted, read = await count(history, period)
    assert counted == by_views(history, period)
    assert counted.pageviews == A_DAY
    # Granules of that month's pageviews, without FINAL and with it, and the messages of three days.
    assert read < DAYS * A_DAY / 10
    everything, all_read = await count(history, Period())
    assert everything.pageviews == DAYS * A_DAY
    assert all_read > DAYS * A_DAY


async def test_a_period_has_its_first_moment_and_not_its_last(tables: ClickHouseProcess) -> None:
    first, last = datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    minute, moment = timedelta(minutes=1), timedelta(milliseconds=1)
    received = ", ".join(f"'{each:%Y-%m-%d %H:%M:%S.%f}'" for each in (first - moment, first, last - moment, last))
    parts.execute(
        tables,
        "INSERT INTO hitline.pageviews_raw (site_id, timestamp, received_at, session_id, page_id)"
        f" SELECT toUUID('{SITE}'), received_at, received_at, generateUUIDv4(), generateUUIDv4()"
        f" FROM (SELECT arrayJoin([{received}])::DateTime64(3, 'UTC') AS received_at)",
    )
    counted: list[messages.Row] = [
        (uuid.uuid4(), 0, at.date(), [(at, messages.SITES[1], messages.CLIENTS[0], "stored", 1)], [], [], 1)
        for at in (first - minute, first, last - minute, last)
    ]
    messages.insert(tables, counted)
    for period, number in ((Period(last=first), 1), (Period(first, last), 2), (Period(first=last), 1)):
        assert (await count(tables, period))[0] == by_views(tables, period) == Counted(number, number, 0, {})


async def test_figures_are_those_of_the_views_folded_or_not(tables: ClickHouseProcess) -> None:
    for days in (range(0, 90, 9), range(4, 90, 9)):  # messages published just after midnight, received just before
        for day in days:
            messages.insert(tables, messages.make(1, 6, seed=day, first=messages.FIRST + timedelta(day)))
    messages.insert(tables, messages.make(60, 2, seed=500, first=messages.FIRST + timedelta(60)))
    messages.insert(tables, messages.with_dead_letter(messages.FIRST + timedelta(4)))
    midnight = datetime(2026, 1, 5, tzinfo=UTC)
    hours = [timedelta(hours=number) for number in (0, 1, 24, 25)]
    minute = timedelta(minutes=1)
    periods = [Period(midnight + begin - minute, midnight + end) for begin in hours for end in hours if end >= begin]
    periods += [Period(), Period(ledger.FIRST, midnight), Period(midnight, ledger.LAST)]
    expected = [by_views(tables, period) for period in periods]
    assert [(await count(tables, period))[0] for period in periods] == expected
    client = ClickHouse(tables.url, "hitline tests")
    assert (await fold(client)).messages
    await client.close()
    assert [(await count(tables, period))[0] for period in periods] == expected


async def test_the_next_run_goes_on_where_the_last_verified_one_ended(tables: ClickHouseProcess) -> None:
    client = ClickHouse(tables.url, "hitline tests")
    now = datetime(2026, 5, 6, 12, 0, 30, tzinfo=UTC)
    nothing = Counted(0, 0, 0, {})
    held = datetime(2026, 5, 6, 11, 25, tzinfo=UTC)

    async def note(at: datetime = now, **given: Any) -> datetime | None:
        return await ledger.note(client, Period(**given), nothing, at)

    try:
        assert await ledger.verified_to(client) == ledger.FIRST
        assert await note(first=held) is None, "nothing before it is verified"
        assert await note(site="example.com") is await note(client="edge") is None, "others are not"
        assert await note(last=datetime(2026, 5, 1, tzinfo=UTC)) == datetime(2026, 5, 1, tzinfo=UTC)
        assert await note() == held, "a worker may hold what came later"
        assert await note() is None
        assert await note(first=held, at=now + timedelta(minutes=1)) == held + timedelta(minutes=1)
        assert await ledger.verified_to(client) == held + timedelta(minutes=1)
    finally:
        await client.close()


def test_sessions_of_a_day_among_a_thousand_read_two_weeks(history: ClickHouseProcess) -> None:
    """And they are those of the view over everything."""
    between = f"hitline.sessions_between(site = '{SITE}', zone = 'UTC', from = '2025-03-17', to = '2025-03-17')"
    sessions = "SELECT {} FROM {} {} FORMAT {}"
    answer = parts.execute(history, sessions.format("session_id", between, "", "JSON"))
    read = int(answer.partition('"rows_read":')[2].partition(",")[0])
    assert 0 < read < DAYS * A_DAY / 10
    exact = f"WHERE site_id = '{SITE}' AND toDate(started_at) <= '2025-03-17' AND toDate(ended_at) >= '2025-03-17'"
    hashes = "count(), groupBitXor(cityHash64(*))"
    assert parts.execute(history, sessions.format(hashes, between, "", "TSV")) == parts.execute(
        history, sessions.format(hashes, "hitline.sessions", exact, "TSV")
    )


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_sessions_reach_seven_days_beyond_the_period(tables: ClickHouseProcess, zone: str) -> None:
    """One that goes on for weeks is read from the seventh day before to the seventh after, by the site's calendar."""
    parts.execute(
        tables,
        "INSERT INTO hitline.pageviews_raw (site_id, timestamp, session_id, page_id) SELECT"
        f" '{SITE}', toDateTime('2026-03-01 00:00:00', '{zone}') + toIntervalHour(number), '{SITE}', generateUUIDv4()"
        " FROM numbers(720) SETTINGS max_partitions_per_insert_block = 0",
    )
    sql = (
        f"SELECT pageviews, toDate(started_at, '{zone}'), toDate(ended_at, '{zone}') FROM"
        f" hitline.sessions_between(site = '{SITE}', zone = '{zone}', from = '{{}}', to = '{{}}') FORMAT TSV"
    )
    ask = [
        parts.execute(tables, sql.format(*days)).split() for days in (("2026-03-12",) * 2, ("1970-01-01", "2100-01-01"))
    ]
    assert ask == [[str(15 * 24), "2026-03-05", "2026-03-19"], ["720", "2026-03-01", "2026-03-30"]]
