"""Inserts over HTTP: formats, encodings, where query and data stand, settings that take effect."""

from __future__ import annotations

import gzip
import io
import statistics
import time
from typing import Any

import clickhouse_connect
import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
import zstandard

from deploy.local.clickhouse.process import ClickHouseProcess
from tests.deploy.local.clickhouse.conftest import Http


@pytest.fixture
def table(http: Http) -> str:
    answer = http(
        "CREATE OR REPLACE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a PARTITION BY intDiv(a, 1000)"
        " SETTINGS non_replicated_deduplication_window = 100, fsync_after_insert = 1"
    )
    assert answer.ok, answer.text
    return "t"


def rows(http: Http) -> str:
    return http("SELECT * FROM t ORDER BY a FORMAT CSV").text


def arrow(writer: Any) -> bytes:
    table = pa.table({"a": pa.array([1], pa.uint32()), "b": ["x"]})
    out = io.BytesIO()
    if writer is pq:
        pq.write_table(table, out)
    else:
        with pa.ipc.new_file(out, table.schema) as file:
            file.write_table(table)
    return out.getvalue()


FORMATS = {
    "JSONEachRow": b'{"a":1,"b":"x"}\n',
    "CSV": b'1,"x"\n',
    "TSV": b"1\tx\n",
    "Values": b"(1,'x')",
    "RowBinary": b"\x01\x00\x00\x00\x01x",
    "Native": b"\x02\x01\x01a\x06UInt32\x01\x00\x00\x00\x01b\x06String\x01x",
    "Arrow": arrow(pa),
    "Parquet": arrow(pq),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_with_the_query_in_url_or_body(http: Http, table: str, name: str) -> None:
    query = f"INSERT INTO t (a, b) FORMAT {name}"
    answer = http(FORMATS[name], query=query)
    assert answer.ok, answer.text
    assert '"written_rows":"1"' in answer.headers["X-ClickHouse-Summary"]
    assert http(query.encode() + b"\n" + FORMATS[name], deduplicate_insert="disable").ok
    assert rows(http) == '1,"x"\n1,"x"\n'


@pytest.mark.parametrize("encoding", ["gzip", "lz4", "zstd"])
def test_bodies_may_be_compressed_even_in_several_frames(http: Http, table: str, encoding: str) -> None:
    pack = {"gzip": gzip.compress, "lz4": lz4.frame.compress, "zstd": zstandard.compress}[encoding]
    headers = {"Content-Encoding": encoding}
    assert http(pack(b"1,x\n") + pack(b"2,y\n"), headers, query="INSERT INTO t FORMAT CSV").ok
    assert http(pack(b"INSERT INTO t FORMAT CSV\n3,z\n"), headers).ok
    assert rows(http) == '1,"x"\n2,"y"\n3,"z"\n'


def test_a_chunked_upload(server: ClickHouseProcess, http: Http, table: str) -> None:
    pieces = (f"{n},x\n".encode() for n in range(100))
    answer = requests.post(server.url, params={"query": "INSERT INTO t FORMAT CSV"}, data=pieces, timeout=60)
    assert answer.ok
    assert http("SELECT count() FROM t").text == "100\n"


def test_inserts_of_every_shape(http: Http, table: str) -> None:
    assert http("INSERT INTO t VALUES (1, 'a;b'), (2, concat('x', 'y'))").ok
    assert http("INSERT INTO t (a) SETTINGS async_insert = 0 VALUES (3)").ok
    assert http("INSERT INTO t SELECT number + 4, 'format' AS format FROM numbers(1)").ok
    assert http("INSERT INTO t SELECT * FROM values('a UInt32, b String', (5, 'v'))").ok
    assert http("6\tin\n", query="INSERT INTO t SELECT a, b FROM input('a UInt32, b String') FORMAT TSV").ok
    assert http("(7, 'url')", query="INSERT INTO t VALUES").ok
    assert http("INSERT INTO t VALUES ({n:UInt32}, {s:String})", param_n=8, param_s="p").ok
    assert http('{"a":9,"b":"d"}', query="INSERT INTO t", default_format="JSONEachRow").ok
    assert http("WITH 10 AS n INSERT INTO t SELECT n, 'w'").ok
    assert http("INSERT INTO t (SELECT 11, 's')").ok
    assert http("INSERT INTO t (b, a) ((SELECT 's', 12))").ok
    assert http("INSERT INTO t FROM (SELECT 13, 'f')").ok
    assert rows(http).splitlines() == [
        '1,"a;b"', '2,"xy"', '3,""', '4,"format"', '5,"v"', '6,"in"', '7,"url"', '8,"p"', '9,"d"',
        '10,"w"', '11,"s"', '12,"s"', '13,"f"',
    ]  # fmt: skip


def test_a_token_inserts_once_and_leaks_into_no_other_insert(http: Http, table: str) -> None:
    query = "INSERT INTO t FORMAT CSV"
    for _ in range(2):
        assert http("1,x\n", query=query, insert_deduplication_token="k", async_insert=0).ok
    assert http("SELECT count() FROM t").text == "1\n"
    for _ in range(2):
        assert http("1,x\n", query=query, async_insert=0, insert_deduplication_token=str(_)).ok
    assert http("SELECT count() FROM t").text == "3\n"


def test_partition_limits_take_effect(http: Http, table: str) -> None:
    data = "".join(f"{n},x\n" for n in range(0, 10_000, 500))
    query = "INSERT INTO t FORMAT CSV"
    assert http(data, query=query, max_partitions_per_insert_block=3).headers["X-ClickHouse-Exception-Code"] == "252"
    assert http("SELECT count() FROM t").text == "0\n"
    assert http(data, query=query, max_partitions_per_insert_block=30).ok


def test_a_refused_insert_stores_nothing(http: Http, table: str) -> None:
    assert http("1,x\nno number,y\n", query="INSERT INTO t FORMAT CSV").status_code == 400
    assert http("1,x\n", query="INSERT INTO missing FORMAT CSV").status_code == 404
    assert http("1,x\n", query="INSERT INTO t FORMAT CSV", readonly=1).headers["X-ClickHouse-Exception-Code"] == "164"
    assert rows(http) == ""


def test_clickhouse_connect_inserts(client: Any, http: Http, table: str) -> None:
    summary = client.insert("t", [[1, "x"], [2, "y"]], column_names=["a", "b"])
    assert summary.written_rows == 2
    client.raw_insert("t", insert_block=b"3,z\n", fmt="CSV")
    assert client.query("SELECT a FROM t ORDER BY a").result_columns == [[1, 2, 3]]
    with pytest.raises(Exception, match="UNKNOWN_TABLE"):
        client.insert("missing", [[1]], column_names=["a"], column_type_names=["UInt8"])


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip", False])
async def test_the_async_client_inserts_many_rows(
    server: ClickHouseProcess, http: Http, table: str, compression: Any
) -> None:
    connect = clickhouse_connect.get_async_client(dsn=server.url, compress=compression)
    async with await connect as client:
        data: list[Any] = [list(range(50_000)), ["text"] * 50_000]
        settings = {
            "async_insert": 0,
            "insert_deduplication_token": f"{compression}",
            "max_partitions_per_insert_block": 100,
        }
        summary = await client.insert("t", data, column_names=["a", "b"], column_oriented=True, settings=settings)
        assert summary.written_rows == 50_000
        assert (await client.query("SELECT count(), sum(a) FROM t")).result_rows == [(50_000, 1249975000)]


def test_a_body_of_100_mb(http: Http) -> None:
    http("CREATE OR REPLACE TABLE big (s String CODEC(LZ4)) ENGINE = MergeTree ORDER BY tuple()")
    line = b"x" * 9_999 + b"\n"
    answer = http(line * 10_000, query="INSERT INTO big FORMAT TSV")
    assert answer.ok, answer.text
    assert http("SELECT count() FROM big").text == "10000\n"


def test_a_body_over_the_limit_is_413(start: Any) -> None:
    http = Http(start(arguments=("--max-body-bytes", "1000")))
    answer = http(b"1\n" * 1000, query="INSERT INTO t FORMAT CSV")
    assert answer.status_code == 413
    assert "--max-body-bytes" in answer.text
    packed = gzip.compress(b"1\n" * 10_000)
    assert http(packed, {"Content-Encoding": "gzip"}, query="INSERT INTO t FORMAT CSV").status_code == 413


def test_data_behind_with_are_stored_as_they_are(http: Http) -> None:
    http("CREATE OR REPLACE TABLE texts (b String) ENGINE = Memory")
    for sql in (
        "WITH 1 AS y INSERT INTO texts FORMAT TSV\nvalue_1;",
        "with x as (select 1), 2 as insert, [insert] AS z INSERT INTO texts FORMAT TSV\nvalue_2; INTO OUTFILE 'x';",
        "INSERT INTO texts FORMAT TSV\nvalue_3;",
        "WITH 1 AS y INSERT INTO texts VALUES ('value_4');",
        "WITH 'value_5;' AS y INSERT INTO texts SELECT y;",
    ):
        assert http(sql).ok, http(sql).text
    assert http("value_6;", query="WITH 1 AS y INSERT INTO texts FORMAT TSV").ok
    stored = http("SELECT b FROM texts ORDER BY b").text.splitlines()
    assert stored == ["value_1;", "value_2; INTO OUTFILE \\'x\\';", "value_3;", "value_4", "value_5;", "value_6;"]
    assert http("WITH 1 AS insert SELECT insert").text == "1\n"


def test_settings_say_how_external_data_are_read(http: Http) -> None:
    query = {"query": "SELECT count() FROM ext", "ext_structure": "a UInt8", "input_format_allow_errors_num": "5"}
    for more in ({}, {"session_id": "with external data"}, {"readonly": "1"}):
        answer = requests.post(
            http.process.url, params={**query, **more}, files={"ext": ("x", b"1\nno number\n2\n")}, timeout=20
        )
        assert answer.text == "2\n"


def test_deletes_do_not_wait_for_the_next_look_of_the_background_pool(http: Http) -> None:
    """With chDB's own two threads most take half a second, where arrays are in parts that can be merged."""
    http(
        "CREATE TABLE erased (d Date, x UInt64, s Array(String)) ENGINE = MergeTree PARTITION BY toYYYYMM(d) ORDER BY x"
    )
    rows = "SELECT toDate('2026-01-01') + number, number, ['a'] FROM numbers(60)"

    def took_s(statement: str) -> float:
        began = time.monotonic()
        assert http(statement).text == ""
        return time.monotonic() - began

    inserts = [took_s(f"INSERT INTO erased {rows}") for _ in range(6)]
    deletes = [took_s(f"DELETE FROM erased WHERE x = {number}") for number in range(9)]
    assert statistics.median(deletes) < 0.1 + 3 * statistics.median(inserts)
