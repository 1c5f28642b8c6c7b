"""Queries side by side: query ids, KILL QUERY, system.processes, the bounded pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import requests

from deploy.local.clickhouse.process import ClickHouseProcess
from tests.deploy.local.clickhouse.conftest import Http

FOREVER = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))"


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def count(http: Http, pattern: str) -> int:
    return int(http(f"SELECT count() FROM system.processes WHERE query_id LIKE '{pattern}'").text)


def begin(http: Http, aside: ThreadPoolExecutor, sql: str, query_id: str) -> Future[requests.Response]:
    job = aside.submit(http, sql, query_id=query_id, max_threads=1)
    wait_for(lambda: count(http, query_id) == 1)
    return job


def slow_insert(http: Http) -> str:
    """A table whose inserts take about 10 s."""
    http("CREATE OR REPLACE TABLE slow (a UInt64) ENGINE = MergeTree ORDER BY a")
    http("CREATE TABLE IF NOT EXISTS sink (a UInt64) ENGINE = MergeTree ORDER BY a")
    http("DROP VIEW IF EXISTS slowly")
    http("CREATE MATERIALIZED VIEW slowly TO sink AS SELECT a FROM slow WHERE NOT ignore(sleepEachRow(0.01))")
    return "INSERT INTO slow FORMAT TSV\n" + "".join(f"{n}\n" for n in range(1000))


def test_an_insert_is_seen_by_its_query_id_and_killed_by_it(http: Http, aside: ThreadPoolExecutor) -> None:
    sql = slow_insert(http)
    job = aside.submit(
        http, sql, query_id="hitline-x-1", function_sleep_max_microseconds_per_block=100_000_000, max_block_size=10
    )
    wait_for(lambda: count(http, "hitline-x-%") == 1)
    shown = http("SELECT user, query FROM system.processes WHERE query_id = 'hitline-x-1' FORMAT TSVRaw").text
    assert shown.lower().startswith("default\tinsert into slow")
    assert "999" not in shown
    killed = http("KILL QUERY WHERE query_id = 'hitline-x-1' SYNC")
    assert killed.text.startswith("finished")
    assert count(http, "hitline-%") == 0
    assert job.result().headers["X-ClickHouse-Exception-Code"] == "394"


def test_killing_what_does_not_run_is_harmless(http: Http) -> None:
    assert http("KILL QUERY WHERE query_id = 'nobody' SYNC").text == ""
    assert count(http, "nobody") == 0


def test_a_running_id_is_taken(http: Http, aside: ThreadPoolExecutor) -> None:
    job = begin(http, aside, FOREVER, "twice")
    second = http("SELECT 1", query_id="twice")
    assert second.headers["X-ClickHouse-Exception-Code"] == "216"
    assert second.status_code == 500
    http("KILL QUERY WHERE query_id = 'twice' SYNC")
    assert job.result().headers["X-ClickHouse-Exception-Code"] == "394"
    assert http("SELECT 1", query_id="twice").ok


def test_a_long_query_delays_no_other(http: Http, aside: ThreadPoolExecutor) -> None:
    jobs = [begin(http, aside, FOREVER, f"long-{n}") for n in range(3)]
    http("CREATE OR REPLACE TABLE quick (a UInt8) ENGINE = MergeTree ORDER BY a")
    began = time.monotonic()
    assert http("1\n", query="INSERT INTO quick FORMAT CSV").ok
    assert time.monotonic() - began < 20
    assert not any(job.done() for job in jobs)
    http("KILL QUERY WHERE query_id LIKE 'long-%' SYNC")
    for job in jobs:
        job.result()


def test_queries_beyond_the_pool_wait_and_kill_gets_through(
    start: Callable[..., ClickHouseProcess], aside: ThreadPoolExecutor
) -> None:
    http = Http(start(arguments=("--max-connections", "1")))
    job = begin(http, aside, FOREVER, "only")
    queued = aside.submit(http, "SELECT 5")
    time.sleep(0.3)
    assert not queued.done()
    assert http("KILL QUERY WHERE query_id = 'only' SYNC").ok
    assert queued.result().text == "5\n"
    assert not job.result().ok


def test_a_look_at_the_processes_misses_no_query_that_has_arrived(
    start: Callable[..., ClickHouseProcess], aside: ThreadPoolExecutor
) -> None:
    http = Http(start(arguments=("--max-connections", "1")))
    holder = begin(http, aside, FOREVER, "holder")
    queued = aside.submit(http, FOREVER, query_id="hitline-queued", max_threads=1)
    time.sleep(1)
    looked = aside.submit(count, http, "hitline-%")
    time.sleep(0.3)
    assert not looked.done()  # it waits until the queued one can be seen
    http("KILL QUERY WHERE query_id = 'holder' SYNC")
    assert looked.result() == 1
    http("KILL QUERY WHERE query_id = 'hitline-queued' SYNC")
    assert not queued.result().ok
    assert not holder.result().ok


def test_a_client_that_leaves_a_stream_ends_its_query(http: Http) -> None:
    with requests.post(
        http.process.url, params={"query_id": "left"}, data="SELECT * FROM system.numbers", stream=True, timeout=60
    ) as answer:
        chunks = answer.iter_content(1 << 20)
        next(chunks)
        assert count(http, "left") == 1
        assert http("SELECT 1", query_id="left").headers["X-ClickHouse-Exception-Code"] == "216"
    wait_for(lambda: count(http, "left") == 0)
    wait_for(lambda: http("SELECT 1", query_id="left").ok)


def test_a_client_that_leaves_while_it_waits_ends_its_query_if_it_said_so(http: Http) -> None:
    for wanted, name in ((0, "stays"), (1, "goes")):
        settings: dict[str, Any] = {
            "query_id": name,
            "cancel_http_readonly_queries_on_client_close": wanted,
            "max_threads": 1,
        }
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.post(http.process.url, params=settings, data=FOREVER, timeout=1)
    wait_for(lambda: count(http, "goes") == 0)
    assert count(http, "stays") == 1
    http("KILL QUERY WHERE query_id = 'stays' SYNC")


def test_a_stream_can_be_killed(http: Http) -> None:
    with requests.post(
        http.process.url, params={"query_id": "stream"}, data="SELECT * FROM system.numbers", stream=True, timeout=60
    ) as answer:
        chunks = answer.iter_content(1 << 20)
        next(chunks)
        assert http("KILL QUERY WHERE query_id = 'stream' ASYNC").ok
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            for _ in chunks:
                pass


def test_an_insert_is_ended_by_an_id_in_a_parameter(http: Http, aside: ThreadPoolExecutor) -> None:
    """As the worker ends an insert that it has given up."""
    sql = slow_insert(http)
    job = aside.submit(
        http, sql, query_id="given-up", function_sleep_max_microseconds_per_block=100_000_000, max_block_size=10
    )
    wait_for(lambda: count(http, "given-up") == 1)
    killed = http("KILL QUERY WHERE query_id = {query_id:String} SYNC", param_query_id="given-up")
    assert killed.text.startswith("finished")
    assert count(http, "given-up") == 0
    assert job.result().headers["X-ClickHouse-Exception-Code"] == "394"
    assert http("SELECT count() FROM sink").text == "0\n"


def test_queries_are_killed_by_user(http: Http, aside: ThreadPoolExecutor) -> None:
    job = begin(http, aside, FOREVER, "mine")
    assert http("KILL QUERY WHERE user = 'someone' AND query_id = 'mine' SYNC").text == ""
    killed = http("KILL QUERY WHERE initial_user = 'default' AND initial_query_id = 'mine' SYNC")
    assert killed.text.startswith("finished")
    assert not job.result().ok
