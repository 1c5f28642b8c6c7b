"""Queries over HTTP: where they may stand, formats, parameters, settings, compression, streams."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import clickhouse_connect
import lz4.frame
import pytest
import requests
import zstandard
from clickhouse_connect.driver import options
from clickhouse_connect.driver.exceptions import StreamFailureError

from deploy.local.clickhouse import native_compression
from deploy.local.clickhouse.process import ClickHouseProcess
from tests.deploy.local.clickhouse.conftest import Http


def test_a_query_may_stand_in_the_url_the_body_or_both(http: Http) -> None:
    assert http.get(query="SELECT 1").text == "1\n"
    assert http("SELECT 2").text == "2\n"
    assert http("+ 1", query="SELECT 2").text == "3\n"
    assert http("-- first\nSELECT /* two\nlines */ 1,\n 'a;b' ;\n").text == "1\ta;b\n"


def test_health_checks_and_unknown_paths(http: Http) -> None:
    assert http.get("/ping").text == "Ok.\n"
    assert http.get("/").text == "Ok.\n"
    assert http.get("/nowhere").status_code == 404


def test_the_format_comes_from_the_query_then_the_url_then_the_header(http: Http) -> None:
    assert http("SELECT 1 AS a").headers["X-ClickHouse-Format"] == "TabSeparated"
    assert http("SELECT 1 AS a", default_format="JSONEachRow").text == '{"a":1}\n'
    assert http("SELECT 1 AS a", headers={"X-ClickHouse-Format": "CSVWithNames"}).text == '"a"\n1\n'
    answer = http("SELECT 1 AS format FORMAT JSON SETTINGS max_threads = 1", default_format="CSV")
    assert json.loads(answer.text)["data"] == [{"format": 1}]
    assert answer.headers["X-ClickHouse-Format"] == "JSON"
    assert answer.headers["Content-Type"].startswith("application/json")
    assert http("SELECT format FROM (SELECT 7 AS format)").text == "7\n"


def test_headers_describe_the_query(http: Http) -> None:
    answer = http("SELECT number FROM numbers(10)", query_id="mine")
    assert answer.headers["X-ClickHouse-Query-Id"] == "mine"
    assert answer.headers["X-ClickHouse-Timezone"]
    assert answer.headers["X-ClickHouse-Server-Display-Name"]
    summary = json.loads(answer.headers["X-ClickHouse-Summary"])
    assert summary["read_rows"] == "10"
    assert summary["result_rows"] == "10"


def test_parameters_are_typed(http: Http) -> None:
    answer = http(
        "SELECT {a:UInt8} + 1, {b:String}, {c:Array(String)}", param_a="5", param_b="x'y\\tz", param_c="['q']"
    )
    assert answer.text == "6\tx\\'y\\tz\t['q']\n"
    assert http("SELECT {a:UInt8}", param_a="no").headers["X-ClickHouse-Exception-Code"] == "457"
    assert http("SELECT {a:UInt8}").headers["X-ClickHouse-Exception-Code"] == "456"


def test_settings_and_database_hold_for_one_request(http: Http) -> None:
    assert http("SELECT getSetting('max_threads')", max_threads=3).text == "3\n"
    assert http("SELECT getSetting('max_threads')").text != "3\n"
    assert http("SELECT currentDatabase()", database="system").text == "system\n"
    assert http("SELECT currentDatabase()").text == "default\n"
    assert http("SET max_threads = 3").status_code == 200
    assert http("SELECT getSetting('max_threads')").text != "3\n"


def test_interface_parameters_are_taken_and_change_nothing(http: Http) -> None:
    answer = http(
        "SELECT 1",
        wait_end_of_query=1,
        send_progress_in_http_headers=1,
        http_headers_progress_interval_ms=1000,
        buffer_size=1000,
        cancel_http_readonly_queries_on_client_close=1,
        quota_key="k",
    )
    assert answer.text == "1\n"


def test_get_and_readonly_change_nothing(http: Http) -> None:
    assert (
        http.get(query="CREATE TABLE never (a UInt8) ENGINE = Memory").headers["X-ClickHouse-Exception-Code"] == "164"
    )
    assert (
        http("CREATE TABLE never (a UInt8) ENGINE = Memory", readonly=1).headers["X-ClickHouse-Exception-Code"] == "164"
    )
    assert http("SELECT 1 SETTINGS max_threads = 1", readonly=1).headers["X-ClickHouse-Exception-Code"] == "164"
    assert http("SELECT 1 SETTINGS max_threads = 1", readonly=2).text == "1\n"
    assert http("SELECT 1 SETTINGS readonly = 0", readonly=2).headers["X-ClickHouse-Exception-Code"] == "164"
    assert http("EXISTS TABLE never").text == "0\n"


ENCODINGS = {
    "gzip": gzip.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    "xz": lzma.decompress,
    "bz2": bz2.decompress,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_answers_are_compressed_when_asked_for(http: Http, encoding: str) -> None:
    for rows in (10, 400_000):  # whole, and streamed
        answer = requests.post(
            http.process.url + "/?enable_http_compression=1",
            data=f"SELECT number FROM numbers({rows})",
            headers={"Accept-Encoding": encoding},
            stream=True,
            timeout=60,
        )
        assert answer.headers["Content-Encoding"] == encoding
        raw = answer.raw.read(decode_content=False)
        assert ENCODINGS[encoding](raw).count(b"\n") == rows
    plain = http("SELECT 1", headers={"Accept-Encoding": encoding})
    assert "Content-Encoding" not in plain.headers


def test_a_query_may_come_compressed(http: Http) -> None:
    packers = {"gzip": gzip.compress, "lz4": lz4.frame.compress, "zstd": zstandard.compress}
    for encoding, pack in {**packers, "xz": lzma.compress, "bz2": bz2.compress}.items():
        assert http(pack(b"SELECT 'packed'"), headers={"Content-Encoding": encoding}).text == "packed\n"
    assert http(b"SELECT 1", headers={"Content-Encoding": "lz4"}).headers["X-ClickHouse-Exception-Code"] == "271"
    assert http(b"SELECT 1", headers={"Content-Encoding": "xyz"}).status_code == 501


def test_a_large_result_is_streamed(http: Http) -> None:
    with requests.post(
        http.process.url, data="SELECT number FROM numbers(100000000000)", stream=True, timeout=60
    ) as answer:
        head = next(answer.iter_content(1 << 20))
    assert head.startswith(b"0\n1\n2\n")
    assert http("SELECT 1").text == "1\n"


STREAMED = """Native RowBinary CSV CSVWithNames CSVWithNamesAndTypes TSV TSVWithNames TSVWithNamesAndTypes TSVRaw
JSONEachRow NDJSON JSONStringsEachRow JSONCompactEachRow JSONCompactStringsEachRow JSONCompactEachRowWithNames
JSONCompactEachRowWithNamesAndTypes"""


@pytest.mark.parametrize("name", STREAMED.split())
def test_a_streamed_result_is_the_whole_one(http: Http, name: str) -> None:
    for rows in (0, 200_000):
        columns = r"""SELECT number AS `a\n"b`, 'x\n"y' AS c"""
        sql = f"FROM numbers({rows}) {columns} ORDER BY number FORMAT {name}"
        streamed, whole = http(sql), http(sql, wait_end_of_query=1)
        assert streamed.content == whole.content
        if rows:
            assert streamed.headers.get("Transfer-Encoding") == "chunked"
            assert "Transfer-Encoding" not in whole.headers


def test_what_stands_around_all_rows_does_so_once(http: Http) -> None:
    sql = "SELECT number FROM numbers(200000)"
    listed = http(sql + " FORMAT JSONEachRow", output_format_json_array_of_rows=1)
    assert len(listed.json()) == 200_000
    listed = http(sql + " SETTINGS output_format_json_array_of_rows = 1 FORMAT JSONEachRow")
    assert len(listed.json()) == 200_000
    assert http(sql, extremes=1).text.endswith("\n199999\n\n0\n199999\n")


def test_an_error_after_the_first_bytes_is_reported_in_the_stream(http: Http, client: Any) -> None:
    sql = "SELECT throwIf(number = 3000000) AS a FROM numbers(5000000) SETTINGS max_threads = 1"
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        http(sql)
    with pytest.raises(Exception, match="throwIf"), client.query_row_block_stream(sql) as stream:
        for _ in stream:
            pass


def test_several_statements_and_client_clauses_are_refused(http: Http) -> None:
    assert http("SELECT 1; SELECT 2").headers["X-ClickHouse-Exception-Code"] == "62"
    assert http("SELECT 1 INTO OUTFILE '/tmp/never'").headers["X-ClickHouse-Exception-Code"] == "309"
    assert http("INSERT INTO t FROM INFILE '/etc/hostname' FORMAT CSV").headers["X-ClickHouse-Exception-Code"] == "63"
    assert http("SELECT * FROM Python(os)").headers["X-ClickHouse-Exception-Code"] == "46"
    assert http("SELECT * FROM missing -- { serverError 60 }").status_code == 404
    assert http("SELECT '-- { echo }' /* { */").text == "-- { echo }\n"
    assert http("SYSTEM SHUTDOWN").headers["X-ClickHouse-Exception-Code"] == "48"
    assert http("system kill").headers["X-ClickHouse-Exception-Code"] == "48"
    assert http("EXECUTE AS someone SELECT 1").headers["X-ClickHouse-Exception-Code"] == "344"
    assert http("SELECT 'a;b', 'INTO OUTFILE' -- ; SELECT").text == "a;b\tINTO OUTFILE\n"


def test_forms_carry_parameters_and_external_tables(server: ClickHouseProcess, http: Http) -> None:
    answer = requests.post(
        server.url,
        params={"query": "SELECT sum(_1), {p:String} FROM ext GROUP BY 2", "ext_types": "UInt8,String", "param_p": "x"},
        files={"ext": ("ext.tsv", b"1\ta\n2\tb\n")},
        timeout=60,
    )
    assert answer.text == "3\tx\n"
    with clickhouse_connect.get_client(dsn=server.url, form_encode_query_params=True) as client:
        assert client.query("SELECT {a:String}", parameters={"a": "é'"}).result_rows == [("é'",)]
    assert http("EXISTS TEMPORARY TABLE ext").text == "0\n"


async def test_the_async_client_reads(server: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("np", "pd", "pd_time_test"):  # which our own client does without; it looks for them when asked
        monkeypatch.delitem(vars(options), name, raising=False)
    async with await clickhouse_connect.get_async_client(dsn=server.url) as client:
        result = await client.query("SELECT number, toString(number) FROM numbers(200000)")
        assert len(result.result_rows) == 200_000
        assert (await client.query_df("SELECT 1 AS a"))["a"].tolist() == [1]


def test_native_compression_both_ways(http: Http) -> None:
    """As JDBC asks for it by default; the blocks are checked with a hash of another implementation."""
    for rows in (1, 400_000):  # whole, and streamed
        sql = f"SELECT number, 'text' FROM numbers({rows})"
        packed = http(sql, compress=1)
        assert "Content-Encoding" not in packed.headers
        assert packed.content[16] == 0x82
        assert bytes(native_compression.decompress(packed.content, 1 << 30)) == http(sql).content
    assert http("SELECT 1 WHERE 0", compress=1).content == b""
    http("CREATE OR REPLACE TABLE packed (a UInt64, b String) ENGINE = Memory")
    body = native_compression.compress(b"1\tx\n" * 400_000)
    assert http(body, query="INSERT INTO packed FORMAT TSV", decompress=1).ok
    assert http("SELECT sum(a) FROM packed").text == "400000\n"
    assert http(native_compression.compress(b"SELECT 'packed'"), decompress=1).text == "packed\n"


def test_damaged_blocks_are_refused(http: Http) -> None:
    block = native_compression.compress(b"SELECT 1")
    for body, code in ((block[:-1] + b"?", "40"), (block[:20], "271"), (block[:-1], "40"), (b"SELECT 1", "271")):
        answer = http(body, decompress=1)
        assert answer.headers["X-ClickHouse-Exception-Code"] == code, answer.text


def test_the_engines_own_blocks_are_read(http: Http) -> None:
    """The blocks of a table's file are written by ClickHouse itself."""
    http("CREATE OR REPLACE TABLE blocks (a String CODEC(LZ4)) ENGINE = StripeLog")
    http("INSERT INTO blocks SELECT repeat('x', 1000)")
    path = http("SELECT data_paths[1] FROM system.tables WHERE name = 'blocks'").text.strip()
    found = next(Path(path).glob("data.bin")).read_bytes()
    assert b"x" * 1000 in native_compression.decompress(found, 1 << 20)


def test_methods(http: Http) -> None:
    for path, query in (("/ping", ""), ("/", ""), ("/", "?query=SELECT+1")):
        url = http.process.address + path + query
        answer = requests.head(url, headers=http.process.credentials, timeout=20)
        assert (answer.status_code, answer.content) == (200, b"")
    options = requests.options(http.process.address, timeout=20)
    assert (options.status_code, options.headers["Allow"]) == (204, "GET, HEAD, POST, OPTIONS")
    assert requests.put(http.process.address, timeout=20).status_code == 501


@pytest.mark.parametrize(
    ("sql", "has_format"),
    [
        ("SET max_threads = 2", False), ("CREATE TABLE IF NOT EXISTS f (a UInt8) ENGINE = Null", False),
        ("INSERT INTO f VALUES (1)", False), ("INSERT INTO f SELECT 1", False), ("DROP TABLE f", False),
        ("USE system", False), ("SELECT 1 WHERE 0", True), ("SHOW TABLES", True), ("EXISTS f", True),
        ("WITH 1 AS a SELECT a", True), ("EXPLAIN SELECT 1", True), ("KILL QUERY WHERE 0", True),
    ],
)  # fmt: skip
def test_only_a_result_has_a_format(http: Http, sql: str, has_format: bool) -> None:
    answer = http(sql)
    assert answer.ok, answer.text
    assert ("X-ClickHouse-Format" in answer.headers) == has_format


def test_an_error_after_the_first_progress_is_told_in_the_stream(http: Http, client: Any) -> None:
    sql = "SELECT sleepEachRow(0.01), throwIf(number = 50) FROM numbers(100)"
    settings = {"max_block_size": 1, "wait_end_of_query": 0}
    assert http(sql, max_block_size=1).status_code == 500  # the client has been told nothing yet
    progress = {"max_block_size": 1, "send_progress_in_http_headers": 1}
    for given in (settings, progress):
        with requests.post(http.process.url, params=given, data=sql, stream=True, timeout=60) as answer:
            assert answer.status_code == 200
            assert len(answer.headers["X-ClickHouse-Exception-Tag"]) == 16
    with pytest.raises(StreamFailureError, match="throwIf"):
        assert client.query(sql, settings=settings).result_set


def test_what_is_larger_than_a_servers_limits_is_refused(http: Http) -> None:
    assert http("SELECT 1 -- " + "x" * (256 << 10)).headers["X-ClickHouse-Exception-Code"] == "62"
    assert "Max query size exceeded" in http("SELECT 1 -- " + "x" * (256 << 10)).text
    assert http("SELECT 1 -- " + "x" * (256 << 10), max_query_size=300_000).ok
    assert http("SELECT length({a:String})", param_a="x" * (128 << 10)).text == "131072\n"
    too_long = http("SELECT length({a:String})", param_a="x" * (128 << 10) + "x")
    assert too_long.headers["X-ClickHouse-Exception-Code"] == "1000"
    assert "Field value too long" in too_long.text
    fields: dict[str, Any] = {"param_a": (None, "x" * (129 << 10)), "query": (None, "SELECT 1")}
    form = requests.post(http.process.url, files=fields, timeout=20)
    assert form.headers["X-ClickHouse-Exception-Code"] == "1000"
    many: dict[str, Any] = {f"param_p{number}": "x" * 100_000 for number in range(11)}
    assert http("SELECT 1", **many).status_code == 400


def test_a_query_sees_its_own_id(http: Http) -> None:
    answer = http(
        "SELECT queryID(), count() FROM system.one WHERE query_id() = 'a/b' FORMAT TSVWithNames", query_id="a/b"
    )
    assert answer.text == "queryID()\tcount()\na/b\t1\n"
    assert http("SELECT 'queryID()'").text == "queryID()\n"


def test_a_slow_query_has_a_header_with_its_progress(http: Http) -> None:
    sql = "SELECT sleepEachRow(0.05) FROM numbers(4) FORMAT Null"
    progress = http(sql, send_progress_in_http_headers=1).headers["X-ClickHouse-Progress"]
    assert json.loads(progress)["read_rows"] == "4"
    assert "X-ClickHouse-Progress" not in http("SELECT 1", send_progress_in_http_headers=1).headers


def test_types_of_external_data_may_contain_commas(http: Http) -> None:
    types = "UInt8, Tuple(UInt8, Array(Decimal(10,2))), Enum8('a,b' = 1)"
    answer = requests.post(
        http.process.url, params={"query": "SELECT * FROM e", "e_types": types},
        files={"e": ("e", b"1\t(1,[2])\ta,b\n")}, timeout=20,
    )  # fmt: skip
    assert answer.text == "1\t(1,[2])\ta,b\n"


def test_several_statements_side_by_side_and_explained_inserts(http: Http) -> None:
    assert http(
        "CREATE TABLE side_1 (a UInt8) ENGINE = Memory PARALLEL WITH CREATE TABLE side_2 (a UInt8) ENGINE = Memory"
    )
    assert http("INSERT INTO side_1 SELECT 1 PARALLEL WITH INSERT INTO side_2 SELECT 2").ok
    assert http("SELECT * FROM side_1 UNION ALL SELECT * FROM side_2 ORDER BY 1").text == "1\n2\n"
    assert http("EXPLAIN AST INSERT INTO side_1 VALUES (3)").text.startswith("InsertQuery")
    assert http("EXPLAIN SYNTAX INSERT INTO side_1 SELECT 4").text.startswith("INSERT INTO side_1")
    assert http("SELECT count() FROM side_1").text == "1\n"
    assert http("DROP TABLE side_1 PARALLEL WITH DROP TABLE side_2").ok
