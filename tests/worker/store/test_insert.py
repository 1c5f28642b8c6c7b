"""Inserting exactly once, against a ClickHouse that does what each case needs: fail, refuse, lose, swallow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, DataError

from tests.worker.store.impatient import Impatient
from tests.worker.store.test_revise import row_of
from worker.row import COLUMN_TYPES, COLUMNS
from worker.store import insert as module
from worker.store.batch import PositionedRow, deduplication_token
from worker.store.insert import Inserter, RefusedRow

ID = b"b" * 16
BROKEN = DatabaseError("gone", code=210, name="NETWORK_ERROR")
VIOLATED = DatabaseError("no", code=469, name="VIOLATED_CONSTRAINT")
MEMORY = DatabaseError("no memory", code=241, name="MEMORY_LIMIT_EXCEEDED")


def rows(*positions: int) -> list[PositionedRow]:
    return [PositionedRow(row_of(timestamp_ms=each), ID, each) for each in positions]


class FakeClickHouse:
    """Keeps positions; `behave` is asked at each insert, and may store something itself and raise."""

    cluster = ""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.inserts: list[list[int]] = []
        self.tokens: list[str] = []
        self.commands: list[tuple[Any, ...]] = []
        self.behave: Callable[[list[int]], Iterable[int]] = lambda positions: positions

    async def insert(
        self, table: str, columns: Sequence[str], data: Any, *, token: str, settings: Mapping[str, Any], **more: Any
    ) -> None:
        assert (table, columns) == ("hitline.pageviews_raw", COLUMNS)
        assert more == {"column_type_names": COLUMN_TYPES, "column_oriented": True}
        assert settings["query_id"].startswith("hitline-insert-")
        assert settings["insert_quorum"] == "auto"
        assert (settings["max_partitions_per_insert_block"], settings["max_insert_block_size"]) == (0, 1_000_000)
        assert len(self.inserts) < 50, "it never ends"
        positions = list(data[COLUMNS.index("position")])
        self.inserts.append(positions)
        self.tokens.append(token)
        self.stored += self.behave(positions)

    async def command(self, sql: str, parameters: Any, **settings: Any) -> None:
        self.commands.append((sql, parameters, *settings.items()))


class FakeLookup:
    def __init__(self, engine: FakeClickHouse) -> None:
        self._engine = engine
        self.waited: list[bool] = []

    async def stored(self, pageviews: Iterable[Any], *, wait: bool = True) -> dict[tuple[bytes, int], bytes]:
        self.waited.append(wait)
        asked = {each.timestamp_ms for each in pageviews}  # which is the position here
        return {(ID, each): b"" for each in self._engine.stored if each in asked}


class Limiter:
    admitted = 0

    async def admit(self, pageviews: int = 1) -> None:
        self.admitted += pageviews


@pytest.fixture
def engine() -> FakeClickHouse:
    return FakeClickHouse()


@pytest.fixture
def inserter(engine: FakeClickHouse) -> Any:
    made: Any = Inserter(engine, Impatient(), FakeLookup(engine), Limiter())  # type: ignore[arg-type]
    return made


def in_turn(*behaviours: Callable[[list[int]], Iterable[int]] | Exception) -> Callable[[list[int]], Iterable[int]]:
    left = list(behaviours)

    def behave(positions: list[int]) -> Iterable[int]:
        if not left:
            return positions
        now = left.pop(0)
        if isinstance(now, Exception):
            raise now
        return now(positions)

    return behave


def stores_some_and_fails(engine: FakeClickHouse, *some: int) -> Callable[[list[int]], Iterable[int]]:
    def behave(positions: list[int]) -> Iterable[int]:
        engine.stored += some
        raise BROKEN

    return behave


async def test_new_rows_are_inserted_once_under_their_token_and_not_looked_up(engine: Any, inserter: Any) -> None:
    assert await inserter.insert(rows(0, 1), again=False) == []
    assert engine.inserts == [[0, 1]]
    assert engine.tokens == [deduplication_token(rows(0, 1))]
    assert inserter._duplicates.waited == []


async def test_nothing_to_insert_asks_nobody(engine: Any, inserter: Any) -> None:
    assert await inserter.insert([], again=True) == []
    assert engine.inserts == []


async def test_rows_whose_token_may_be_known_are_looked_up_after_the_insert(engine: Any, inserter: Any) -> None:
    assert await inserter.insert(rows(0, 1), again=True) == []
    assert (engine.inserts, inserter._duplicates.waited) == ([[0, 1]], [False])


async def test_what_a_known_token_swallowed_is_inserted_under_a_new_one(engine: Any, inserter: Any) -> None:
    engine.behave = in_turn(lambda _: [0])
    assert await inserter.insert(rows(0, 1, 2), again=True) == []
    assert engine.inserts == [[0, 1, 2], [1, 2]]
    assert engine.tokens[1] != deduplication_token(rows(1, 2))
    assert sorted(engine.stored) == [0, 1, 2]
    assert inserter._duplicates.waited == [False], "a new token can't be known"


async def test_after_a_failure_only_what_is_missing_is_inserted_again(engine: Any, inserter: Any) -> None:
    engine.behave = in_turn(stores_some_and_fails(engine, 1), BROKEN)
    assert await inserter.insert(rows(0, 1, 2), again=False) == []
    assert engine.inserts == [[0, 1, 2], [0, 2], [0, 2]]
    assert engine.tokens[1] == engine.tokens[2] == deduplication_token(rows(0, 2)), "the same block again"
    assert sorted(engine.stored) == [0, 1, 2]
    assert inserter._duplicates.waited == [True, True, False]


async def test_a_failure_after_everything_was_stored_inserts_nothing_more(engine: Any, inserter: Any) -> None:
    engine.behave = in_turn(stores_some_and_fails(engine, 0, 1))
    assert await inserter.insert(rows(0, 1), again=False) == []
    assert (engine.inserts, engine.stored) == ([[0, 1]], [0, 1])


async def test_a_refused_row_is_isolated_and_every_other_is_stored(engine: Any, inserter: Any) -> None:
    def refuse(positions: list[int]) -> list[int]:
        if 3 in positions:
            raise VIOLATED
        return positions

    engine.behave = refuse
    assert await inserter.insert(rows(*range(7)), again=False) == [RefusedRow(rows(3)[0], "VIOLATED_CONSTRAINT")]
    assert sorted(engine.stored) == [0, 1, 2, 4, 5, 6]
    assert inserter._limiter.admitted == 1, "each is admitted before it is told"
    assert engine.inserts[:2] == [[0, 1, 2, 3, 4, 5, 6], [0, 1, 2]], "halves, from the first"


@pytest.mark.parametrize("error", [DataError("x"), OverflowError(), UnicodeEncodeError("utf-8", "x", 0, 1, "y")])
async def test_a_row_that_can_not_even_be_sent_is_refused(engine: Any, inserter: Any, error: Exception) -> None:
    engine.behave = in_turn(error)
    assert await inserter.insert(rows(5), again=False) == [RefusedRow(rows(5)[0], f"client: {type(error).__name__}")]


async def test_rows_stored_by_the_refused_attempt_are_not_refused(engine: Any, inserter: Any) -> None:
    def behave(positions: list[int]) -> list[int]:
        engine.stored += [0, 1]  # another partition than the bad row's
        raise VIOLATED

    engine.behave = in_turn(behave, VIOLATED)
    assert await inserter.insert(rows(0, 1, 2), again=False) == [RefusedRow(rows(2)[0], "VIOLATED_CONSTRAINT")]
    assert engine.inserts == [[0, 1, 2]], "one row is left, and it is the bad one"


async def test_an_insert_that_stays_too_large_is_halved_after_three_attempts(
    engine: Any, inserter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (module._ATTEMPTS_BEFORE_SPLIT, module._FEWEST_ROWS) == (3, 100)
    monkeypatch.setattr(module, "_FEWEST_ROWS", 2)

    def behave(positions: list[int]) -> list[int]:
        if len(positions) > 3:
            raise MEMORY
        return positions

    engine.behave = behave
    assert await inserter.insert(rows(*range(5)), again=False) == []
    assert engine.inserts == [[0, 1, 2, 3, 4]] * 3 + [[0, 1], [2, 3, 4]]
    assert engine.stored == [0, 1, 2, 3, 4]
    # Halves may be known to the server, so they are looked up.
    assert inserter._duplicates.waited == [True, True, True, False, False]


async def test_one_of_few_rows_is_repeated_as_it_is(engine: Any, inserter: Any) -> None:
    engine.behave = in_turn(*[MEMORY] * 5)
    assert await inserter.insert(rows(0, 1), again=False) == []
    assert engine.inserts == [[0, 1]] * 6


async def test_the_insert_under_way_is_killed_and_no_other(engine: Any, inserter: Any) -> None:
    ids: list[str] = []

    async def hang(*_: Any, settings: Any, **__: Any) -> None:
        ids.append(settings["query_id"])
        await asyncio.sleep(60)

    await inserter.kill_running()
    assert engine.commands == []
    engine.insert = hang
    inserting = asyncio.create_task(inserter.insert(rows(0), again=False))
    await asyncio.sleep(0.01)
    inserting.cancel()
    await asyncio.gather(inserting, return_exceptions=True)
    await inserter.kill_running()
    await inserter.kill_running()
    assert engine.commands == [("KILL QUERY WHERE query_id = {query_id:String} ASYNC", {"query_id": ids[0]})]


async def test_a_kill_that_fails_is_no_more_than_logged(engine: Any, inserter: Any, caplog: Any) -> None:
    async def refuse(*_: Any) -> None:
        raise BROKEN

    engine.command = refuse
    inserter._running = "query"
    await inserter.kill_running()
    assert "could not kill the insert of an abandoned batch (NETWORK_ERROR)" in caplog.text


async def test_what_a_new_token_swallowed_too_never_has_the_token_of_its_rows_again(engine: Any, inserter: Any) -> None:
    """The server may know that one: what was swallowed under it is missing, and would be swallowed for ever."""
    engine.behave = in_turn(lambda _: [0], BROKEN, BROKEN)
    assert await inserter.insert(rows(0, 1, 2), again=True) == []
    assert engine.inserts == [[0, 1, 2], [1, 2], [1, 2], [1, 2]]
    assert len(set(engine.tokens)) == 4
    assert deduplication_token(rows(1, 2)) not in engine.tokens
    assert sorted(engine.stored) == [0, 1, 2]


@pytest.mark.parametrize(("again", "waited"), [(True, [True, False]), (False, [True])])
async def test_halves_of_what_may_be_known_are_looked_up_and_others_not(
    engine: Any, inserter: Any, again: bool, waited: list[bool]
) -> None:
    def refuse(positions: list[int]) -> list[int]:
        if 1 in positions:
            raise VIOLATED
        return positions

    engine.behave = refuse
    assert await inserter.insert(rows(0, 1), again=again) == [RefusedRow(rows(1)[0], "VIOLATED_CONSTRAINT")]
    assert inserter._duplicates.waited == [*waited, True]


async def test_halves_of_what_was_swallowed_are_looked_up(engine: Any, inserter: Any) -> None:
    engine.behave = in_turn(lambda _: [0], VIOLATED, lambda positions: positions, VIOLATED)
    refused = await inserter.insert(rows(0, 1, 2), again=True)
    assert [each.row.position for each in refused] == [2]
    assert inserter._duplicates.waited == [False, True, False, True]


async def test_a_cluster_is_sent_the_same_block_until_a_majority_has_it(engine: Any, inserter: Any) -> None:
    engine.cluster = "hits"
    engine.behave = in_turn(stores_some_and_fails(engine, 0), BROKEN)
    assert await inserter.insert(rows(0, 1), again=False) == []
    assert engine.inserts == [[0, 1]] * 3
    assert set(engine.tokens) == {deduplication_token(rows(0, 1))}
    assert inserter._duplicates.waited == [False], "only once it has succeeded, as its token may have been known"


async def test_what_is_too_large_for_a_cluster_is_looked_up_as_elsewhere(engine: Any, inserter: Any) -> None:
    engine.cluster = "hits"
    engine.behave = in_turn(MEMORY)
    assert await inserter.insert(rows(0, 1), again=False) == []
    assert inserter._duplicates.waited == [True, False]


async def test_on_a_cluster_an_insert_is_killed_wherever_it_runs_and_nothing_behind_one_that_ended(
    engine: Any, inserter: Any
) -> None:
    engine.cluster = "hits"
    await inserter.insert(rows(0), again=False)
    await inserter.kill_running()
    assert engine.commands == []
    inserter._running = "query"
    await inserter.kill_running()
    statement = "KILL QUERY ON CLUSTER 'hits' WHERE query_id = {query_id:String} ASYNC"
    settings = {"distributed_ddl_task_timeout": 0}
    assert engine.commands == [(statement, {"query_id": "query"}, ("settings", settings))]


@pytest.mark.parametrize(
    ("prefix", "what"), [("hitline-insert-", "the insert"), ("hitline-insert-old-", "the insert of old rows")]
)
async def test_the_log_tells_today_s_rows_from_old_ones(
    engine: Any, inserter: Any, caplog: pytest.LogCaptureFixture, prefix: str, what: str
) -> None:
    caplog.set_level("INFO")
    named = Inserter(engine, inserter._retry, inserter._duplicates, inserter._limiter, prefix)
    engine.behave = in_turn(BROKEN)
    assert await named.insert(rows(0), again=False) == []
    assert f"; {what} is repeated until it succeeds" in caplog.text
    assert "working again" in caplog.text
