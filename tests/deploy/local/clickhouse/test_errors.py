"""Errors as a server gives them: status, code, text; and nothing that ends the process."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests.deploy.local.clickhouse.conftest import Http

CASES = [
    ("SELECT * FROM missing", 404, 60, "UNKNOWN_TABLE"),
    ("SELECT * FROM nowhere.t", 404, 81, "UNKNOWN_DATABASE"),
    ("SELECT nothing FROM system.one", 404, 47, "UNKNOWN_IDENTIFIER"),
    ("SELECT nofunction(1)", 404, 46, "UNKNOWN_FUNCTION"),
    ("SELECT 1 SETTINGS no_such = 1", 404, 115, "UNKNOWN_SETTING"),
    ("SELECT 1 FORMAT Nothing", 404, 73, "UNKNOWN_FORMAT"),
    ("SELEC 1", 400, 62, "SYNTAX_ERROR"),
    ("SELECT toUInt8('x')", 400, 6, "CANNOT_PARSE_TEXT"),
    ("SELECT throwIf(1)", 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
    ("", 400, 62, "SYNTAX_ERROR"),
]


@pytest.mark.parametrize(("sql", "status", "code", "name"), CASES)
def test_codes_and_statuses_are_the_servers(http: Http, sql: str, status: int, code: int, name: str) -> None:
    answer = http(sql)
    assert answer.status_code == status, answer.text
    if code:
        assert answer.headers["X-ClickHouse-Exception-Code"] == str(code)
        assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
        assert answer.text.count("DB::Exception") == 1
        assert f"({name}) (version 26." in answer.text
        assert answer.text.count(f"({name})") == answer.text.count("(version ") == 1


def test_unknown_url_settings_and_databases(http: Http) -> None:
    assert http("SELECT 1", no_such_setting=1).headers["X-ClickHouse-Exception-Code"] == "115"
    assert http("SELECT 1", max_threads="abc").status_code == 400
    assert http("SELECT 1", database="nowhere").headers["X-ClickHouse-Exception-Code"] == "81"


def test_odd_queries_do_not_end_the_process(http: Http) -> None:
    for sql in (
        b"\x00\xff",
        b"(" * 5000,
        b"SELECT '" + b"x" * 100_000,
        b"/*",
        b";",
        b"'",
        b"INSERT",
        b"INSERT INTO t FORMAT",
    ):
        assert http(sql).status_code in (400, 404, 500), sql[:20]
    assert http("SELECT 1").text == "1\n"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"no part"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--'),
    ],
)
def test_a_malformed_form_is_the_clients_error(http: Http, content_type: str, body: bytes) -> None:
    answer = http(body, headers={"Content-Type": content_type})
    assert answer.status_code == 400, answer.text
    assert answer.headers["X-ClickHouse-Exception-Code"] == "36"


def test_a_query_id_with_a_line_break_makes_no_header(http: Http) -> None:
    for sql in ("SELECT 1", "SELECT nothing"):
        answer = http(sql, query_id="a\r\nX-Other: 1")
        assert answer.headers["X-ClickHouse-Query-Id"] == "a__X-Other: 1"
        assert "X-Other" not in answer.headers


def test_a_memory_limit_is_an_error_not_an_end(http: Http) -> None:
    answer = http("SELECT groupArray(number) FROM numbers(100000000)", max_memory_usage=10_000_000)
    assert answer.headers["X-ClickHouse-Exception-Code"] == "241"
    assert http("SELECT 1").text == "1\n"


@pytest.mark.processes
def test_all_queries_together_take_at_most_half_of_the_machine(start: Callable[..., ClickHouseProcess]) -> None:
    http = Http(start())
    limit = int(http("SELECT getServerSetting('max_server_memory_usage')").text)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # a control group may have less
    assert 0 < limit <= machine // 2
    http.process.stop()

    small = Http(start(path=http.process.path, arguments=("--max-memory-bytes", str(1 << 30))))
    answer = small("SELECT length(groupArray(number)) FROM numbers(500000000)", max_memory_usage=0)
    assert answer.headers["X-ClickHouse-Exception-Code"] == "241", answer.text
    assert "half of this machine's memory" in answer.text
    assert small("SELECT 1").text == "1\n"
