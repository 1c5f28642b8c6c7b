"""What a worker makes of a cluster's answers: two engines that do not know each other, behind addresses that play one.

What the engines themselves do as replicas is in tests/cluster.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from clickhouse_connect.driver.exceptions import DatabaseError

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from shared.clickhouse_errors import ReplicaBehind
from shared.registry.window import read_marker
from tests import parts
from tests.cluster.cluster import Address
from tests.worker.store.test_revise import row_of
from worker.dead_letters.limiter import DeadLetterLimiter
from worker.store import sought
from worker.store.batch import PositionedRow
from worker.store.insert import Inserter
from worker.store.lanes import now_ms
from worker.store.lookup import DuplicateLookup
from worker.store.retry import Retry

NAMES = {
    242: "TABLE_IS_READ_ONLY",
    285: "TOO_FEW_LIVE_REPLICAS",
    319: "UNKNOWN_STATUS_OF_INSERT",
    999: "KEEPER_EXCEPTION",
}


def refusal(code: int) -> web.Response:
    return web.Response(
        status=500,
        text=f"Code: {code}. DB::Exception: as a replica says. ({NAMES[code]})",
        headers={"X-ClickHouse-Exception-Code": str(code)},
    )


@dataclass
class Engine:
    process: ClickHouseProcess
    running: bool = True

    @property
    def port(self) -> int:
        return self.process.port

    @property
    def credentials(self) -> dict[str, str]:
        return self.process.credentials

    def stored(self) -> Counter[int]:
        rows = parts.execute(self.process, "SELECT position FROM hitline.pageviews_raw FORMAT TSV")
        return Counter(map(int, rows.split()))


class Pair:
    """Both addresses; an insert is stored on both engines unless the next of `script` says otherwise."""

    def __init__(self, engines: list[Engine]) -> None:
        self.engines = engines
        self.addresses = [Address(engines, number) for number in (0, 1)]
        #: For each insert to come: what is answered, and the engines that store it.
        self.script: list[tuple[int, tuple[int, ...]]] = []
        #: The token and the address of each insert.
        self.inserts: list[tuple[str, int]] = []
        for number, address in enumerate(self.addresses):
            address.rewrite = lambda sql: sql.replace("system.clusters WHERE cluster = {cluster:String}", "numbers(2)")
            address.insert = self._at(number)

    def _at(self, number: int):
        async def insert(request: web.Request, body: bytes) -> web.Response:
            self.inserts.append((request.query["insert_deduplication_token"], number))
            status, where = self.script.pop(0) if self.script else (200, (0, 1))
            answers = [await self.addresses[number].ask(each, request, body) for each in where]
            assert all(answer.status == 200 for answer in answers)
            if status != 200:
                return refusal(status)
            return answers[0] if answers else web.Response(headers={"X-ClickHouse-Query-Id": "some"})

        return insert

    @property
    def url(self) -> str:
        password = self.engines[0].process.password
        return " ".join(f"http://default:{password}@127.0.0.1:{address.port}" for address in self.addresses)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, clickhouse: ClickHouseProcess) -> Iterator[ClickHouseProcess]:
    with ClickHouseProcess(tmp_path_factory.mktemp("other")) as process:
        parts.run_apart(lambda: parts.apply_schema(process.url))
        yield process


@pytest.fixture
async def pair(tables: ClickHouseProcess, other: ClickHouseProcess) -> AsyncIterator[Pair]:
    parts.empty_tables(other)
    pair = Pair([Engine(tables), Engine(other)])
    for address in pair.addresses:
        await address.start()
    yield pair
    for address in pair.addresses:
        await address.stop()


class Store:
    """A worker's inserter and look-up on the pair."""

    def __init__(self, pair: Pair) -> None:
        self.clickhouse = ClickHouse(pair.url, "hitline tests", cluster="hitline")
        retry = Retry(self.clickhouse.address)
        self.duplicates = DuplicateLookup(self.clickhouse, retry)
        self.inserter = Inserter(self.clickhouse, retry, self.duplicates, DeadLetterLimiter())


@pytest.fixture
async def store(pair: Pair) -> AsyncIterator[Store]:
    store = Store(pair)
    yield store
    await store.clickhouse.close()


def rows(count: int = 20) -> list[PositionedRow]:
    batch_id, now = uuid.uuid4().bytes, now_ms()
    return [
        PositionedRow(
            row_of(timestamp_ms=now + number, received_ms=now, page_id=uuid.uuid4().bytes),
            batch_id,
            number,
        )
        for number in range(count)
    ]


def each_once(pair: Pair, count: int = 20) -> bool:
    return all(engine.stored() == Counter(range(count)) for engine in pair.engines)


async def test_319_is_repeated_under_the_same_token_though_the_replica_has_the_rows(pair: Pair, store: Store) -> None:
    pair.script = [(319, (0,)), (319, (0,))]
    assert await store.inserter.insert(rows(), again=False) == []
    assert each_once(pair)
    assert len(pair.inserts) == 3
    assert len({token for token, _ in pair.inserts}) == 1


@pytest.mark.parametrize("code", [242, 285, 999])
async def test_a_replica_that_can_store_nothing_is_told_once_and_asked_again(
    pair: Pair, store: Store, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pair.script = [(code, ()), (code, ())]
    assert await store.inserter.insert(rows(), again=False) == []
    assert each_once(pair)
    assert len({token for token, _ in pair.inserts}) == 1
    # Another replica may have a Keeper; whether a majority is alive, none knows better.
    assert [address for _, address in pair.inserts] == ([0, 0, 0] if code == 285 else [0, 1, 0])
    told = [message for message in caplog.messages if NAMES[code] in message]
    assert len(told) == 1
    assert told[0].endswith("; the insert is repeated until it succeeds")


async def test_a_survivor_that_says_yes_and_holds_nothing_is_found_out(pair: Pair, store: Store) -> None:
    pair.script = [(319, ()), (200, ())]
    assert await store.inserter.insert(rows(), again=False) == []
    assert each_once(pair)
    first, again, last = (token for token, _ in pair.inserts)
    assert first == again != last, "ClickHouse would have dropped them once more"


async def test_rows_of_one_replica_are_not_stored_and_rows_of_both_are(pair: Pair, store: Store) -> None:
    some, others = rows(), rows()
    pair.script = [(200, (1,)), (200, (0, 1))]
    for batch in (some, others):
        await store.inserter.insert(batch, again=False)
    found = await store.duplicates.stored(sought.of_rows(some + others))
    assert set(found) == {(row.batch_id, row.position) for row in others}


async def test_a_lookup_waits_while_fewer_than_a_majority_answer(
    pair: Pair, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    batch = rows()
    await store.inserter.insert(batch, again=False)
    pair.engines[1].running = False
    looking = asyncio.create_task(store.duplicates.stored(sought.of_rows(batch)))
    while not any("1 of the 2 replicas" in message for message in caplog.messages):
        assert not looking.done()
        await asyncio.sleep(0.02)
    pair.engines[1].running = True
    assert len(await looking) == len(batch)


async def test_it_waits_for_inserts_of_every_replica(pair: Pair, store: Store) -> None:
    """An insert that runs on the replica that this worker does not use."""
    running = asyncio.create_task(
        asyncio.to_thread(
            parts.execute_as,
            pair.engines[1].process,
            "SELECT sleep(2)",
            "hitline-insert-elsewhere",
        )
    )
    while "hitline-insert-elsewhere" not in await store.duplicates._running_inserts(recent=False):
        assert not running.done()
        await asyncio.sleep(0.02)
    await store.duplicates.stored(sought.of_rows(rows()))
    assert running.done()


async def test_a_given_up_insert_is_ended_on_every_replica(pair: Pair, store: Store) -> None:
    store.inserter._running = "hitline-insert-given-up"
    await store.inserter.kill_running()
    assert any(sql.startswith("KILL QUERY ON CLUSTER 'hitline'") for sql in pair.addresses[0].everywhere)


async def test_the_next_replica_is_used_where_one_is_gone(pair: Pair, tmp_path: Path) -> None:
    gone, there = pair.url.split()
    await pair.addresses[0].stop()
    clickhouse = ClickHouse(f"{gone}, {there}", "hitline tests", cluster="hitline")
    assert (await clickhouse.query("SELECT 1")).result_rows == [(1,)]
    await clickhouse.close()


async def test_the_registry_is_not_read_from_a_replica_without_keeper(pair: Pair) -> None:
    """Its tables would go on to look unchanged; the next replica is asked instead."""
    lost = "(SELECT 'hitline_control' AS database, 'sites' AS table, 1 AS is_readonly, 0 AS is_session_expired,"
    pair.addresses[0].rewrite = lambda sql: sql.replace("system.replicas", f"{lost} 0 AS absolute_delay)")
    clickhouse = ClickHouse(pair.url, "hitline tests", cluster="hitline")
    with pytest.raises(ReplicaBehind, match=r"no session with Keeper"):
        await read_marker(clickhouse)
    assert await read_marker(clickhouse)
    await clickhouse.close()


async def test_a_command_stays_with_its_replica(pair: Pair) -> None:
    clickhouse = ClickHouse(pair.url, "hitline tests", cluster="hitline", stays=True)
    pair.script = [(242, ())]
    salts, types = [["some"]], ["String"]
    with pytest.raises(DatabaseError):
        await clickhouse.insert("hitline_control.salts", ["salt"], salts, token="some", column_type_names=types)
    await clickhouse.insert("hitline_control.salts", ["salt"], salts, token="some", column_type_names=types)
    assert [address for _, address in pair.inserts] == [0, 0]
    await clickhouse.close()
