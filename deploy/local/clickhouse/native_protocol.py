"""The format Native as a server writes it for a client that names its protocol's version (`client_protocol_version`).

chDB writes what clients without a version get.  For others a server puts a header before each block, names the time
zone of a DateTime, and says for each column whether its serialization is a special one
(src/Formats/NativeWriter.cpp; numbers from src/Core/ProtocolDefines.h).  clickhouse-connect asks for the first two,
clickhouse-go, and with it Grafana, for all three.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from clickhouse_connect.datatypes import registry
from clickhouse_connect.driver.buffer import ResponseBuffer
from clickhouse_connect.driver.exceptions import Error, StreamCompleteException
from clickhouse_connect.driver.query import QueryContext

from deploy.local.clickhouse.engine import Connection, Result
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.statement import Statement

_WITH_TIME_ZONES: Final = 54337
_WITH_SERIALIZATIONS: Final = 54454
#: src/Core/BlockInfo.cpp: the fields is_overflows (1) = false and bucket_num (2) = -1, and the end.
_BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_DATE_TIME: Final = "DateTime"
#: A block without this has no DateTime among its columns.
_DATE_TIME_HEADER: Final = b"\x08DateTime"


def stream(
    connection: Connection, statement: Statement, params: Mapping[str, str], version: int
) -> Generator[Result, None, None]:
    """Run a SELECT and yield its result block by block, as this version of the protocol writes it."""
    found = connection.stream(statement.sql, "Native", params)
    try:
        first = next(found, None)
        if first is None:
            return
        types: list[str] = []
        if version >= _WITH_TIME_ZONES and _DATE_TIME_HEADER in first.data:
            # The connection runs one query at a time; this one has hardly begun.
            found.close()
            types = _types(connection, statement, params)
            found = connection.stream(statement.sql, "Native", params)
        else:
            yield _converted(first, types, version)
        for block in found:
            yield _converted(block, types, version)
    finally:
        found.close()


def whole(result: Result, version: int) -> Result:
    """Return a whole result, of one block or several, as this version of the protocol writes it."""
    return replace(result, data=b"".join(_rewritten(result.data, [], version)))


def _converted(block: Result, types: Sequence[str], version: int) -> Result:
    if version < _WITH_SERIALIZATIONS and not types:
        return replace(block, data=_BLOCK_INFO + block.data) if block.data else block
    return replace(block, data=b"".join(_rewritten(block.data, types, version)))


def _types(connection: Connection, statement: Statement, params: Mapping[str, str]) -> list[str]:
    """Return the types of a SELECT's columns, with their time zones."""
    described = connection.query(b"DESCRIBE TABLE (\n" + statement.unformatted + b"\n)", "JSONCompactEachRow", params)
    return [json.loads(line)[1] for line in described.data.splitlines()]


def _rewritten(data: bytes, types: Sequence[str], version: int) -> Iterator[bytes]:
    """Yield the pieces of blocks; `types`: the columns' types with time zones, if any has one."""
    source = _Source(data)
    try:
        while source.at < len(data):
            yield _BLOCK_INFO
            start = source.at
            columns, rows = source.read_leb128(), source.read_leb128()
            yield data[start : source.at]
            for number in range(columns):
                yield from _column(source, rows, types[number] if number < len(types) else "", version)
    except (Error, StreamCompleteException, ValueError, KeyError, NotImplementedError):
        raise ClickHouseError(
            48, f"Native with client_protocol_version={version} is not implemented here for one of the types"
        ) from None


def _column(source: _Source, rows: int, described: str, version: int) -> Iterator[bytes]:
    start = source.at
    source.read_leb128_str()
    yield source.data[start : source.at]
    name = source.read_leb128_str()
    shown = described if name == _DATE_TIME and described.startswith(f"{_DATE_TIME}(") else name
    yield _varint(len(shown.encode())) + shown.encode()
    if version >= _WITH_SERIALIZATIONS:
        yield b"\0"  # the default one
    start = source.at
    if rows:
        registry.get_from_name(name).read_column(source, rows, QueryContext())
    yield source.data[start : source.at]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class _Source(ResponseBuffer):
    """Reads from bytes that are all there, and knows where it is."""

    def __init__(self, data: bytes) -> None:
        self.gen = iter(())
        super().__init__(self)  # type: ignore[no-untyped-call]
        self.data = self.buffer = data
        self.buf_sz = len(data)

    @property
    def at(self) -> int:
        """The position of the next byte."""
        return int(self.buf_loc)
