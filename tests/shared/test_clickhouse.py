"""The ClickHouse client: lazy, retried by its callers, errors classified."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from shared.clickhouse_address import BadAddress, parse_address
from shared.clickhouse_errors import explain, failure_of
from tests.front import Front, running
from tests.parts import execute


@pytest.fixture
async def client(clickhouse: ClickHouseProcess) -> AsyncIterator[ClickHouse]:
    execute(clickhouse, "CREATE DATABASE IF NOT EXISTS client_test")
    execute(
        clickhouse,
        "CREATE OR REPLACE TABLE client_test.t (n UInt8, s String) ENGINE = MergeTree ORDER BY n"
        " SETTINGS non_replicated_deduplication_window = 100",
    )
    made = ClickHouse(clickhouse.url, "hitline tests")
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://127.0.0.1:8123", (False, "127.0.0.1", 8123, "default", "")),
        ("http://ch/", (False, "ch", 8123, "default", "")),
        ("https://ch", (True, "ch", 8443, "default", "")),
        ("https://me:p%40ss%2F@ch:443/hitline", (True, "ch", 443, "me", "p@ss/")),
        ("http://[::1]:9", (False, "::1", 9, "default", "")),
    ],
)
def test_an_address_is_parsed(url: str, parts: tuple[object, ...]) -> None:
    assert parse_address(url) == parts


@pytest.mark.parametrize(
    "url", ["", "clickhouse:8123", "tcp://ch:9000", "http://", "http://ch:port", "http://ch?a=secret"]
)
def test_a_malformed_address_names_its_setting_and_shows_nothing_of_it(url: str) -> None:
    with pytest.raises(BadAddress, match="HITLINE_CLICKHOUSE_URL") as refused:
        parse_address(url)
    assert "secret" not in str(refused.value)


def test_an_address_is_shown_without_user_and_password() -> None:
    assert str(parse_address("https://me:secret@ch:443")) == "https://ch:443"
    assert str(parse_address("http://me:secret@[::1]:8123")) == "http://[::1]:8123"


async def test_parameters_are_filled_in_by_the_server(client: ClickHouse) -> None:
    rows = (await client.query("SELECT {a:String}, {b:Array(String)}", {"a": "it's", "b": ["x'", "\\"]})).result_rows
    assert rows == [("it's", ["x'", "\\"])]


async def test_times_come_with_their_zone(client: ClickHouse) -> None:
    moment = (await client.query("SELECT toDateTime64(0, 3, 'UTC')")).result_rows[0][0]
    assert moment.timestamp() == 0


async def test_many_statements_run_side_by_side(client: ClickHouse) -> None:
    results = await asyncio.gather(*(client.query("SELECT sleep(0.05)") for _ in range(10)))
    assert len(results) == 10


async def test_an_insert_repeated_under_its_token_is_stored_once(
    client: ClickHouse, clickhouse: ClickHouseProcess
) -> None:
    for _ in range(2):
        await client.insert("client_test.t", ["n", "s"], [[1, "a"], [2, "b"]], token="one")
    await client.insert("client_test.t", ["n", "s"], [[3], ["c"]], token="two", column_oriented=True)
    assert (
        execute(clickhouse, "SELECT groupArray(n) FROM (SELECT n FROM client_test.t ORDER BY n)").strip() == "[1,2,3]"
    )


async def test_an_insert_whose_connection_is_closed_is_not_repeated_by_the_client(
    clickhouse: ClickHouseProcess,
) -> None:
    def hang_up(request: web.Request, _: bytes) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    front = Front(clickhouse.url)
    front.instead = hang_up
    async with running(front) as url:
        made = ClickHouse(url, "hitline tests")
        with pytest.raises(Exception, match="Network Error"):
            await made.insert("t", ["n"], [[1]], token="one", column_type_names=["UInt8"])
        await made.close()
    assert front.answered == 1


async def test_an_insert_without_a_token_is_refused(client: ClickHouse) -> None:
    with pytest.raises(ValueError, match="token"):
        await client.insert("client_test.t", ["n", "s"], [[1, "a"]], token="")


async def test_errors_are_classified(client: ClickHouse) -> None:
    cases = {"SELECT * FROM no_such.t": 81, "SELECT * FROM client_test.no_such": 60, "SELEC 1": 62}
    for sql, code in cases.items():
        with pytest.raises(Exception, match=str(code)) as raised:
            await client.query(sql)
        failure = failure_of(raised.value)
        assert failure is not None
        assert (failure.code, failure.reachable, failure.no_schema) == (code, True, code != 62)


async def test_values_that_do_not_fit_a_column_are_not_a_clickhouse_failure(client: ClickHouse) -> None:
    with pytest.raises(Exception, match="column") as raised:
        await client.insert("client_test.t", ["n", "s"], [[1000, "a"]], token="unfit")
    assert failure_of(raised.value) is None
    assert "1000" not in explain(raised.value, client.address)


@pytest.mark.processes
async def test_a_client_created_while_clickhouse_is_down_connects_once_it_is_up(tmp_path: Path) -> None:
    engine = ClickHouseProcess(tmp_path)
    engine.start()
    engine.stop()
    client = ClickHouse(engine.url, "hitline tests")
    try:
        with pytest.raises(Exception, match="Network Error") as raised:
            await client.query("SELECT 1")
        failure = failure_of(raised.value)
        assert failure is not None
        assert not failure.reachable
        assert "HITLINE_CLICKHOUSE_URL" in explain(raised.value, client.address)
        engine.start()
        assert (await client.query("SELECT 1")).result_rows == [(1,)]
        engine.restart()
        assert (await client.query("SELECT 2")).result_rows == [(2,)], "a lost connection is opened again"
    finally:
        engine.stop()
        await client.close()


async def test_a_server_that_never_answers_times_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = ClickHouse(f"http://127.0.0.1:{silent.getsockname()[1]}", "hitline tests", read_s=0.2)
        with pytest.raises(Exception, match="Network Error") as raised:
            await asyncio.wait_for(client.query("SELECT 1"), 60)
        failure = failure_of(raised.value)
        assert failure is not None
        assert not failure.reachable


async def test_a_proxy_of_the_environment_is_not_asked(
    clickhouse: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    client = ClickHouse(clickhouse.url, "hitline tests")
    try:
        assert (await client.query("SELECT 1")).result_rows == [(1,)]
    finally:
        await client.close()


def test_an_error_of_ours_is_not_reported_as_clickhouses() -> None:
    assert failure_of(KeyError("x")) is None
    assert failure_of(ConnectionRefusedError()) == (None, None)
    assert failure_of(TimeoutError()) == (None, None)
