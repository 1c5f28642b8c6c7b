"""Which statement looks for which pageviews, and what it waits for."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import given
from hypothesis import strategies as st

from shared.message import Headers
from shared.outcomes import Outcome
from tests.worker.deliveries import FakeDelivery
from tests.worker.factories import SITE
from tests.worker.store.impatient import Impatient
from tests.worker.store.test_revise import row_of
from worker.delivery import PageviewOutcome, ProcessedMessage
from worker.store import lanes, lookup, sought
from worker.store.batch import PositionedRow
from worker.store.lookup import DuplicateLookup
from worker.store.sought import SoughtGroup, SoughtPageview

DAY_MS = 86_400_000
SITE_ID = uuid.UUID(int=9)
ID, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
NOON = datetime(2026, 5, 28, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)


class FakeClickHouse:
    def __init__(self, *running: list[str], cluster: str = "") -> None:
        self.cluster = cluster
        self.running = list(running)
        self.stored: list[tuple[uuid.UUID, int, uuid.UUID]] = []
        self.asked: list[tuple[str, Any, Any]] = []

    async def query(self, sql: str, parameters: Any = None, external: Any = None) -> Any:
        self.asked.append((sql, parameters, external))
        if "system.clusters" in sql:
            return SimpleNamespace(result_rows=[(3,)])
        if "system.one" in sql:
            return SimpleNamespace(result_rows=[(1,), (3,)])
        if "system.processes" in sql:
            assert parameters == {"prefix": "hitline-insert-"}
            ids = self.running.pop(0) if self.running else []
            return SimpleNamespace(result_rows=[(each,) for each in ids])
        return SimpleNamespace(result_rows=self.stored)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_POLL_S", 0.0)
    monkeypatch.setattr(lookup, "table_of_lines", lambda *table: table)


def look_up_of(clickhouse: FakeClickHouse) -> DuplicateLookup:
    made: Any = clickhouse
    return DuplicateLookup(made, Impatient())


async def test_rows_of_an_hour_are_asked_for_by_their_times_their_day_and_when_they_were_received() -> None:
    clickhouse = FakeClickHouse()
    clickhouse.stored = [(ID, 3, OTHER)]
    pageviews = [
        SoughtPageview(ID.bytes, NOON_MS, 1_780_000_000),
        SoughtPageview(OTHER.bytes, NOON_MS + 90_000, 1_780_000_500),
    ]
    assert await look_up_of(clickhouse).stored(pageviews) == {(ID.bytes, 3): OTHER.bytes}
    (_, (_, parameters, sent)) = clickhouse.asked
    assert sent == ("sought", "batch_id UUID", f"{ID}\n{OTHER}".encode())
    assert parameters == {
        "first": datetime(2026, 5, 28, 11, 59, 59, tzinfo=UTC),
        "last": datetime(2026, 5, 28, 12, 1, 31, tzinfo=UTC),
        "days": [date(2026, 5, 28)],
        "received": datetime.fromtimestamp(1_780_000_000, UTC),
    }


async def test_of_a_cluster_every_replica_is_asked_and_what_a_majority_has_is_stored() -> None:
    clickhouse = FakeClickHouse(cluster="hits")
    clickhouse.stored = [(1, ID, 3, OTHER), (2, ID, 4, OTHER), (3, ID, 3, OTHER)]  # type: ignore[list-item]
    assert await look_up_of(clickhouse).stored([SoughtPageview(ID.bytes, NOON_MS, 0)]) == {(ID.bytes, 3): OTHER.bytes}
    running, *_, rows = (sql for sql, _, _ in clickhouse.asked)
    everywhere = "FROM clusterAllReplicas('hits', "
    assert running.endswith(f"{everywhere}system.processes) WHERE startsWith(query_id, {{prefix:String}})")
    assert f"SELECT DISTINCT _shard_num, batch_id, position, site_id {everywhere}hitline.pageviews_raw)" in rows


async def test_of_a_cluster_the_newest_row_of_each_message_counts() -> None:
    clickhouse = FakeClickHouse(cluster="hits")
    rows: Any = [(ID, 0, [NOON], [SITE_ID], [OTHER], ["stored"], [1], [], [], version) for version in (17, 19, 18)]
    clickhouse.stored = rows
    assert (await look_up_of(clickhouse).counted([message_of(ID, 1)])).versions == {(ID.bytes, 0): 19}
    assert "FROM clusterAllReplicas('hits', hitline.outcomes_raw) FINAL" in clickhouse.asked[-1][0]
    assert len(clickhouse.asked) == 3, "whether a majority answers is asked first"


async def test_on_one_server_the_tables_themselves_are_asked() -> None:
    clickhouse = FakeClickHouse()
    await look_up_of(clickhouse).stored([SoughtPageview(ID.bytes, NOON_MS, 0)])
    running, rows = (sql for sql, _, _ in clickhouse.asked)
    assert running == "SELECT query_id FROM system.processes WHERE startsWith(query_id, {prefix:String})"
    assert "SELECT batch_id, position, site_id FROM hitline.pageviews_raw\nWHERE" in rows


async def test_what_every_group_finds_is_found() -> None:
    clickhouse = FakeClickHouse()
    answers = [[(ID, 1, OTHER)], [(OTHER, 2, ID)]]

    async def stored_once(_: Any) -> Any:
        return {(batch_id.bytes, position): site.bytes for batch_id, position, site in answers.pop(0)}

    looking: Any = look_up_of(clickhouse)
    looking._stored_once = stored_once
    pageviews = [SoughtPageview(ID.bytes, NOON_MS, 0), SoughtPageview(OTHER.bytes, NOON_MS - 40 * DAY_MS, 0)]
    assert await looking.stored(pageviews) == {(ID.bytes, 1): OTHER.bytes, (OTHER.bytes, 2): ID.bytes}


def message_of(batch_id: uuid.UUID, *times: int, day: int = 28) -> ProcessedMessage:
    outcome = PageviewOutcome(1_780_000_020, SITE.site_id, b"c" * 16, Outcome.STORED)
    delivery = FakeDelivery(timestamp=datetime(2026, 5, day, tzinfo=UTC))
    outcomes = {position: outcome._replace(minute=outcome.minute - 60 * position) for position in range(len(times))}
    return ProcessedMessage(delivery, Headers(batch_id, len(times), 0), {}, outcomes, (), 1, times)


async def test_all_pageviews_of_a_message_are_looked_for_since_the_first_of_them_was_received() -> None:
    nothing = ProcessedMessage(FakeDelivery(), None, {}, {}, (), 1)
    messages = [message_of(ID, NOON_MS, NOON_MS + 1), nothing, message_of(OTHER), message_of(OTHER, 7)]
    assert list(sought.of_messages(messages)) == [
        SoughtPageview(ID.bytes, NOON_MS, 1_779_999_960),
        SoughtPageview(ID.bytes, NOON_MS + 1, 1_779_999_960),
        SoughtPageview(OTHER.bytes, 7, 1_780_000_020),
    ]
    clickhouse = FakeClickHouse()
    clickhouse.stored = [(ID, 0, OTHER)]
    assert await look_up_of(clickhouse).stored_of(messages[:1]) == {(ID.bytes, 0): OTHER.bytes}
    row = row_of(timestamp_ms=5, received_ms=1_780_000_000_999)
    assert list(sought.of_rows([PositionedRow(row, ID.bytes, 3)])) == [SoughtPageview(ID.bytes, 5, 1_780_000_000)]


async def test_what_was_counted_is_asked_for_by_day_and_message() -> None:
    clickhouse = FakeClickHouse()
    minute = datetime(2026, 5, 28, 12, tzinfo=UTC)
    row = (ID, 0, [minute], [SITE_ID], [OTHER], ["dead_lettered"], [1], [4], [1], 17)
    clickhouse.stored = [row]  # type: ignore[list-item]
    found = await look_up_of(clickhouse).counted([message_of(OTHER, 1, day=29), message_of(ID, 1), message_of(ID, 1)])
    assert found.versions == {(ID.bytes, 0): 17}
    outcome = PageviewOutcome(int(minute.timestamp()), SITE_ID.bytes, OTHER.bytes, "dead_lettered")
    assert found.dead == {(ID.bytes, 4): outcome}
    [(sql, _, sent)] = clickhouse.asked
    assert sql == (
        "SELECT batch_id, part, minutes, sites, clients, outcomes, counts, dead_positions, dead_entries, version"
        " FROM hitline.outcomes_raw FINAL WHERE (day, batch_id) IN (SELECT day, batch_id FROM sought)"
    )
    assert sent == ("sought", "day Date, batch_id UUID", f"2026-05-28\t{ID}\n2026-05-29\t{OTHER}".encode())


async def test_a_look_up_that_fails_is_repeated_and_told_as_one(caplog: pytest.LogCaptureFixture) -> None:
    clickhouse = FakeClickHouse()
    looking, query = look_up_of(clickhouse), clickhouse.query
    for look in (looking.stored_of, looking.counted):
        failures: list[Exception] = [DatabaseError("gone", code=210, name="NETWORK_ERROR")] * 3

        async def fail_at_first(*asked: Any, left: list[Exception] = failures, **more: Any) -> Any:
            if left:
                raise left.pop()
            return await query(*asked, **more)

        clickhouse.query = fail_at_first  # type: ignore[method-assign]
        caplog.clear()
        assert await look([message_of(ID, NOON_MS)]) is not None
        assert not failures
        assert "; the look-up is repeated until it succeeds" in caplog.text


async def test_nothing_is_asked_about_nothing() -> None:
    clickhouse = FakeClickHouse()
    assert await look_up_of(clickhouse).stored([]) == {}
    assert clickhouse.asked == []


OLD, NEW, LATER = "hitline-insert-old-a", "hitline-insert-b", "hitline-insert-c"


@pytest.mark.parametrize(
    ("age_ms", "running", "looks"),
    [
        (0, [], 1),
        (0, [[NEW], [NEW, LATER], [LATER]], 3),  # one that began later does not matter
        (0, [[NEW], [NEW], []], 3),
        (0, [[OLD]], 1),  # an insert of old rows can't add to today's
        (lanes.SURELY_RECENT_MS + 60_000, [[OLD], [OLD], []], 3),
        (lanes.SURELY_RECENT_MS - 60_000, [[OLD]], 1),
    ],
)
async def test_a_look_up_waits_for_the_inserts_that_run_and_may_add_to_it(
    age_ms: int, running: list[list[str]], looks: int
) -> None:
    clickhouse = FakeClickHouse(*running)
    times = [lanes.now_ms(), lanes.now_ms() - age_ms]
    await look_up_of(clickhouse).stored([SoughtPageview(ID.bytes, each, 0) for each in times])
    assert sum("system.processes" in sql for sql, _, _ in clickhouse.asked) == looks
    assert "system.processes" not in clickhouse.asked[-1][0], "the rows are read after that"


async def test_without_waiting_the_rows_are_read_at_once() -> None:
    clickhouse = FakeClickHouse([NEW], [NEW])
    await look_up_of(clickhouse).stored([SoughtPageview(ID.bytes, NOON_MS, 0)], wait=False)
    assert len(clickhouse.asked) == 1


wanted = st.lists(
    st.builds(
        SoughtPageview,
        st.sampled_from([uuid.UUID(int=number).bytes for number in range(4)]),
        st.integers(0, 4 * 366 * DAY_MS),
        st.sampled_from([0, 86_399, 86_400, 40 * 86_400, 10**9]),
    ),
    max_size=120,
)


@given(wanted)
def test_every_pageview_is_looked_for_where_it_is_by_few_statements(pageviews: list[SoughtPageview]) -> None:
    groups = sought.groups(pageviews)
    assert len(groups) <= max(64, 48 * 4)
    assert_exactly(groups, pageviews)


def assert_exactly(groups: list[SoughtGroup], pageviews: list[SoughtPageview]) -> None:
    for batch_id, time_ms, received_s in pageviews:
        assert any(
            batch_id in group.batch_ids
            and time_ms // DAY_MS in group.days
            and group.first_ms <= time_ms <= group.last_ms
            and group.received_s <= received_s
            for group in groups
        )
    # And nothing else: each group is exactly as wide as what is in it.
    for group in groups:
        assert {group.first_ms, group.last_ms} <= {each.timestamp_ms for each in pageviews}
        assert group.days <= {each.timestamp_ms // DAY_MS for each in pageviews}
        assert group.received_s in {each.received_s for each in pageviews}
        assert set(group.external.decode().split("\n")) == {str(uuid.UUID(bytes=each)) for each in group.batch_ids}


def test_months_are_looked_for_as_exactly_as_days() -> None:
    """Each day's pageview is of another message, and the first of a month is neither the earliest nor the last."""
    days = sorted(range(400), key=lambda day: (day % 7, day))
    pageviews = [
        SoughtPageview(uuid.UUID(int=day).bytes, day * DAY_MS + day, 40 * 86_400 - 60 * (day % 11)) for day in days
    ]
    groups = sought.groups(pageviews)
    assert len(groups) < 64
    assert_exactly(groups, pageviews)
    assert {day for group in groups for day in group.days} == set(days)


@pytest.mark.parametrize(("days", "groups"), [(1, 1), (64, 64), (65, 3), (400, 14)])
def test_days_have_a_statement_each_until_there_are_too_many(days: int, groups: int) -> None:
    first = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1000
    assert len(sought.groups(SoughtPageview(ID.bytes, first + each * DAY_MS, 0) for each in range(days))) == groups


def test_what_was_received_on_many_days_is_joined_by_months_too() -> None:
    pageviews = [SoughtPageview(ID.bytes, 0, each * 86_400) for each in range(365)]
    assert len(sought.groups(pageviews)) == 12
    assert len(sought.groups(pageviews[:64])) == 64


def test_days_are_those_of_utc() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Etc/GMT+12")
        time.tzset()
        days = [sought.as_date(day) for day in (0, 20_601, 65_535)]
    time.tzset()
    assert days == [date(1970, 1, 1), date(2026, 5, 28), date(2149, 6, 6)]
