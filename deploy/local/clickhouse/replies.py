"""HTTP answers: headers and bodies as ClickHouse's interface gives them."""

from __future__ import annotations

import json
import re
import secrets
import socket
from dataclasses import dataclass

from aiohttp import web

from deploy.local.clickhouse.encoding import Compressor, Packer, chosen
from deploy.local.clickhouse.engine import Result
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.native_compression import NativeCompressor
from deploy.local.clickhouse.request import Query

_CONTENT_TYPES = {
    "csv": "text/csv; charset=UTF-8; header=absent",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "csvwithnamesandtypes": "text/csv; charset=UTF-8; header=present",
    "json": "application/json; charset=UTF-8",
    "jsoncompact": "application/json; charset=UTF-8",
    "jsoneachrow": "application/x-ndjson; charset=UTF-8",
    "jsonlines": "application/x-ndjson; charset=UTF-8",
    "tabseparated": "text/tab-separated-values; charset=UTF-8",
    "tsv": "text/tab-separated-values; charset=UTF-8",
    "tabseparatedwithnames": "text/tab-separated-values; charset=UTF-8",
    "tabseparatedwithnamesandtypes": "text/tab-separated-values; charset=UTF-8",
    "xml": "application/xml; charset=UTF-8",
    "native": "application/octet-stream",
    "rowbinary": "application/octet-stream",
    "parquet": "application/octet-stream",
    "arrow": "application/octet-stream",
    "arrowstream": "application/octet-stream",
}
# What http_write_exception_in_output_format means for what is streamed; other formats of one document are not.
_OBJECTS_IN_LINES = frozenset(("jsoneachrow", "jsonlines", "ndjson", "jsonstringseachrow"))
_DISPLAY_NAME = socket.gethostname()


def summary(result: Result) -> str:
    """Return X-ClickHouse-Summary: counts as strings, as clients expect them."""
    counts = {
        "read_rows": result.read_rows,
        "read_bytes": result.read_bytes,
        "written_rows": result.written_rows,
        "written_bytes": result.written_bytes,
        "total_rows_to_read": result.read_rows,
        "result_rows": result.written_rows or result.result_rows,
        "result_bytes": result.written_bytes or len(result.data),
        "elapsed_ns": result.elapsed_ns,
        "memory_usage": 0,
    }
    return json.dumps({name: str(count) for name, count in counts.items()}, separators=(",", ":"))


def _add_summary(fields: dict[str, str], query: Query, result: Result) -> None:
    fields["X-ClickHouse-Summary"] = summary(result)
    if query.progress_s is not None and result.elapsed_ns > query.progress_s * 1e9:
        fields["X-ClickHouse-Progress"] = fields["X-ClickHouse-Summary"]  # of many on a server, the last one


def headers(query_id: str, fmt: str | None, timezone: str) -> dict[str, str]:
    """Return the headers of every answer to a successful query; `fmt` None: the statement has no result."""
    fields = {
        "X-ClickHouse-Server-Display-Name": _DISPLAY_NAME,
        "X-ClickHouse-Query-Id": _in_a_line(query_id),
        "X-ClickHouse-Timezone": timezone,
        "Content-Type": _CONTENT_TYPES.get((fmt or "").lower(), "text/plain; charset=UTF-8"),
    }
    return fields if fmt is None else {**fields, "X-ClickHouse-Format": fmt}


def _in_a_line(text: str) -> str:
    """Return a client's text without line breaks, for a header."""
    return re.sub(r"[\x00-\x1f\x7f]", "_", text)


def result(query: Query, fmt: str | None, timezone: str, got: Result) -> web.Response:
    """Return a query's whole answer, compressed if the client asked for it."""
    fields = headers(query.query_id, fmt, timezone)
    _add_summary(fields, query, got)
    packer = _packer(query, fields)
    return web.Response(body=packer.add(got.data) + packer.end(), headers=fields)


@dataclass(frozen=True)
class Streamed:
    """The start of a streamed answer, the tag that marks an error in it, and whether an error is its last row."""

    response: web.StreamResponse
    packer: Packer
    tag: str
    error_is_row: bool


def streamed(query: Query, fmt: str, timezone: str, so_far: Result) -> Streamed:
    """Return the start of a streamed answer."""
    fields = headers(query.query_id, fmt, timezone)
    _add_summary(fields, query, so_far)
    tag = secrets.token_hex(8)
    fields["X-ClickHouse-Exception-Tag"] = tag
    packer = _packer(query, fields)
    error_is_row = query.exception_in_format and fmt.lower() in _OBJECTS_IN_LINES
    return Streamed(web.StreamResponse(headers=fields), packer, tag, error_is_row)


def _packer(query: Query, fields: dict[str, str]) -> Packer:
    """Return what compresses the answer as the client asked for, and add the header for it."""
    if query.compress:
        return NativeCompressor()
    encoding = chosen(query.accept_encoding) if query.accept_encoding else None
    if encoding:
        fields["Content-Encoding"] = encoding
    return Compressor(encoding)


def late_error(error: ClickHouseError, version: str, answer: Streamed) -> bytes:
    """Return an error for the middle of a stream, as servers write it since 25.11 (src/Server/HTTP/), or as a row."""
    if answer.error_is_row:
        return json.dumps({"exception": error.text(version).rstrip("\n")}, ensure_ascii=False).encode() + b"\n"
    text, tag = error.text(version).encode(), answer.tag
    return b"\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n" % (tag.encode(), text, len(text), tag.encode())


def error(error: ClickHouseError, version: str, query_id: str | None = None) -> web.Response:
    """Return an error's answer."""
    fields = {
        "X-ClickHouse-Exception-Code": str(error.code),
        "X-ClickHouse-Server-Display-Name": _DISPLAY_NAME,
        "Content-Type": "text/plain; charset=UTF-8",
    }
    if query_id:
        fields["X-ClickHouse-Query-Id"] = _in_a_line(query_id)
    return web.Response(status=error.status, text=error.text(version), headers=fields)
