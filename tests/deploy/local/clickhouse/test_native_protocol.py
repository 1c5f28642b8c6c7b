"""Native for clients that name their protocol's version, as a server writes it."""

from __future__ import annotations

from typing import Any

import pytest
from clickhouse_connect.driver.ctypes import RespBuffCls
from clickhouse_connect.driver.query import QueryContext
from clickhouse_connect.driver.transform import NativeTransform

from tests.deploy.local.clickhouse.conftest import Http

DATE_TIME = "SELECT toDateTime(1676369730, 'Asia/Shanghai') AS dt FORMAT Native"
BLOCK_INFO = "010002ffffffff00"

TYPES = """'text'
toLowCardinality('text')
toNullable(3)
[1, 2]
(1, 'x')
map('k', [1])
toDecimal64(1.5, 3)
toDate('2026-01-01')
toDate32('2026-01-01')
toDateTime64(0, 3, 'Europe/Paris')
[toDateTime(0, 'UTC')]
toUUID('018f3b5a-7c1e-7000-8000-0123456789ab')
toIPv4('1.2.3.4')
toIPv6('::1')
CAST('a', 'Enum8(\\'a\\' = 1)')
toFixedString('abc', 4)
toInt256(-1)
NULL
true
toFloat32(1.5)
CAST(1, 'Variant(UInt8, String)')
CAST('{"a": 1}', 'JSON')"""


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (0, "0101026474084461746554696d65425feb63"),
        (54336, BLOCK_INFO + "0101026474084461746554696d65425feb63"),
        (54405, BLOCK_INFO + "0101026474194461746554696d652827417369612f5368616e676861692729425feb63"),
        (54460, BLOCK_INFO + "0101026474194461746554696d652827417369612f536861" + "6e67686169272900425feb63"),
    ],
)
@pytest.mark.parametrize("arguments", [{}, {"wait_end_of_query": 1}, {"session_id": "native"}])
def test_blocks_are_those_of_the_version(http: Http, version: int, expected: str, arguments: dict[str, Any]) -> None:
    assert http(DATE_TIME, client_protocol_version=version, **arguments).content.hex() == expected


@pytest.mark.parametrize("expression", TYPES.splitlines())
def test_every_type_is_followed_by_the_next_column(http: Http, expression: str) -> None:
    sql = f"SELECT {expression} AS a, toDateTime(number, 'UTC') AS b, 'last' AS c FROM numbers(3) FORMAT Native"
    plain, other = http(sql), http(sql, client_protocol_version=54460)
    assert other.ok, other.text
    assert len(other.content) == len(plain.content) + 8 + 3 + len("('UTC')")
    assert b"\x01b\x0fDateTime('UTC')\x00\x00\x00\x00\x00\x01" in other.content


@pytest.mark.parametrize("version", [54405, 54460])
def test_large_results_keep_every_row(http: Http, version: int) -> None:
    sql = "SELECT number, toDateTime(number, 'UTC') AS d FROM numbers(200000) ORDER BY 1 FORMAT Native"
    for wait in (0, 1):
        answer = http(sql, client_protocol_version=version, wait_end_of_query=wait)
        assert [row[0] for row in read(answer.content, version)] == list(range(200_000))


def read(data: bytes, version: int) -> list[tuple[Any, ...]]:
    """Read blocks as the Python client does; it knows nothing of serializations."""
    if version >= 54454:
        assert data.count(b"DateTime('UTC')\0") == data.count(b"\x06UInt64\0") == data.count(bytes.fromhex(BLOCK_INFO))
        data = data.replace(b"DateTime('UTC')\0", b"DateTime('UTC')").replace(b"\x06UInt64\0", b"\x06UInt64")
    context = QueryContext()
    context.block_info = True
    result = NativeTransform.parse_response(RespBuffCls(_Source(data)), context)
    assert result.column_types[1].name == "DateTime('UTC')"
    rows: Any = result.result_set
    return list(rows)


class _Source:
    def __init__(self, data: bytes) -> None:
        self.gen = iter([data])

    def close(self) -> None: ...


def test_what_is_no_select_is_written_in_the_same_way(http: Http) -> None:
    plain = http("DESCRIBE TABLE (SELECT 1 AS a) FORMAT Native")
    answer = http("DESCRIBE TABLE (SELECT 1 AS a)", client_protocol_version=54405, default_format="Native")
    assert answer.content == bytes.fromhex(BLOCK_INFO) + plain.content
    assert http("SELECT 1 WHERE 0 FORMAT Native", client_protocol_version=54460).content == b""
    assert http("SELECT 1", client_protocol_version=54460).text == "1\n"
    assert http("SELECT 1", client_protocol_version="x").headers["X-ClickHouse-Exception-Code"] == "6"


def test_the_python_client_sees_time_zones(client: Any) -> None:
    assert client.protocol_version == 54405
    (row,) = client.query("SELECT toDateTime('2026-01-01 00:00:00', 'America/Denver') AS d").result_rows
    assert str(row[0].tzinfo) == "America/Denver"
