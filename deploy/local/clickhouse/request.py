"""Reads an HTTP request: query text, data, credentials, settings, parameters."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from multidict import MultiMapping

from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.lexer import tokens

# src/Server/HTTPHandler.cpp: parameters of the interface; every other one is a setting or `param_*`.
_INTERFACE = frozenset(
    [
        "query",
        "user",
        "password",
        "quota_key",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "database",
        "default_format",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "stacktrace",
        "role",
        "client_protocol_version",
    ]
)
# Settings that only the HTTP side of a server reads: handled here, not passed to the engine.
_OURS = frozenset(
    [
        "enable_http_compression",
        "log_comment",  # used for the query id (processes_view.py)
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "http_zlib_compression_level",
        "http_write_exception_in_output_format",
        "http_response_buffer_size",
        "http_wait_end_of_query",
    ]
)
# The default of http_headers_progress_interval_ms.
_SOON_S = 0.1


@dataclass(frozen=True)
class External:
    """A table that came with the request (a file field of a form)."""

    name: str
    structure: str
    format: str
    data: bytes


@dataclass(frozen=True)
class Query:
    """A request. `text` is the URL's query; `body` is still encoded as `encoding` and `decompress` say.

    `whole_s`: a result that takes longer is not kept until it is whole: the client said that it does not wait for the
    end, or has been sent headers with the progress by then; either way with the status 200. `progress_s`: a query that
    takes longer has such a header.
    """

    query_id: str
    text: str
    body: bytes | bytearray
    encoding: str
    method: str
    user: str
    password: str
    database: str | None
    default_format: str | None
    accept_encoding: str | None
    session_id: str | None = None
    session_timeout_s: float = 60.0
    session_check: bool = False
    close_session: bool = False
    roles: tuple[str, ...] = ()
    compress: bool = False
    decompress: bool = False
    whole_s: float | None = None
    wait_end: bool = False
    progress_s: float | None = None
    ends_with_client: bool = False
    protocol_version: int = 0
    exception_in_format: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    external: tuple[External, ...] = ()


def read(
    method: str,
    args: MultiMapping[str],
    headers: Mapping[str, str],
    body: bytes | bytearray,
    files: Mapping[str, bytes] | None = None,
) -> Query:
    """Read a request; `files` are the file fields of a form. Raises ClickHouseError for invalid arguments."""
    user, password = _credentials(args, headers)
    external = tuple(_external(name, data, args) for name, data in (files or {}).items())
    described = {f"{table.name}_{what}" for table in external for what in ("structure", "types", "format")}
    settings = {name: value for name, value in args.items() if _is_setting(name) and name not in described}
    if method != "POST" and settings.get("readonly", "0") == "0":
        settings["readonly"] = "2"  # as on the server: a GET must not change anything
    compressed = args.get("enable_http_compression", "0") in ("1", "true")
    return Query(
        query_id=args.get("query_id") or str(uuid4()),
        text=args.get("query", ""),
        body=body,
        encoding=headers.get("Content-Encoding", "").strip().lower(),
        method=method,
        user=user,
        password=password,
        database=args.get("database") or headers.get("X-ClickHouse-Database"),
        default_format=args.get("default_format") or headers.get("X-ClickHouse-Format"),
        accept_encoding=headers.get("Accept-Encoding", "") if compressed else None,
        session_id=args.get("session_id") or None,
        session_timeout_s=_seconds(args.get("session_timeout", "60")),
        session_check=_flag(args, "session_check"),
        close_session=_flag(args, "close_session"),
        roles=tuple(args.getall("role", ())),
        compress=_flag(args, "compress"),
        decompress=_flag(args, "decompress"),
        whole_s=_whole_s(args),
        wait_end=_flag(args, "wait_end_of_query"),
        progress_s=_progress_s(args),
        ends_with_client=_flag(args, "cancel_http_readonly_queries_on_client_close"),
        protocol_version=_number(args, "client_protocol_version"),
        exception_in_format=_flag(args, "http_write_exception_in_output_format"),
        settings=settings,
        params={name.removeprefix("param_"): value for name, value in args.items() if name.startswith("param_")},
        external=external,
    )


def _external(name: str, data: bytes, args: Mapping[str, str]) -> External:
    structure = args.get(f"{name}_structure")
    if structure is None:
        types = args.get(f"{name}_types")
        if types is None:
            raise ClickHouseError(36, f"Neither {name}_structure nor {name}_types is given for external data")
        structure = ", ".join(f"_{number} {part.strip()}" for number, part in enumerate(_types(types), 1))
    fmt = args.get(f"{name}_format", "TabSeparated")
    if not fmt.isidentifier():
        raise ClickHouseError(73, f"Unknown format in {name}_format")
    return External(name, structure, fmt, data)


def _types(text: str) -> list[str]:
    """Return the types of a list, whose columns are called _1, _2 and so on; a type may contain commas, in brackets."""
    encoded, start, found = text.encode(), 0, []
    for token in tokens(encoded):
        if token.text == b"," and not token.depth:
            found.append(encoded[start : token.start].decode())
            start = token.end
    return [*found, encoded[start:].decode()]


def _is_setting(name: str) -> bool:
    return name not in _INTERFACE and name not in _OURS and not name.startswith("param_")


def _flag(args: Mapping[str, Any], name: str) -> bool:
    return args.get(name, "0").lower() in ("1", "true")


def _whole_s(args: Mapping[str, str]) -> float | None:
    return _SOON_S if args.get("wait_end_of_query") == "0" else _progress_s(args)


def _progress_s(args: Mapping[str, str]) -> float | None:
    if not _flag(args, "send_progress_in_http_headers"):
        return None
    interval_ms = args.get("http_headers_progress_interval_ms", "")
    return int(interval_ms) / 1000 if interval_ms.isdecimal() else _SOON_S


def _number(args: Mapping[str, str], name: str) -> int:
    value = args.get(name, "0")
    if not (value.isascii() and value.isdecimal()):
        raise ClickHouseError(6, f"Cannot parse {name}: it is not a number")
    return int(value)


def _seconds(value: str) -> float:
    if not (value.isascii() and value.isdecimal()):
        raise ClickHouseError(374, f"Invalid session timeout: '{value}'")
    if int(value) > 3600:
        raise ClickHouseError(374, f"Session timeout '{value}' is larger than max_session_timeout: 3600")
    return float(value)


def _credentials(args: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    """Return user and password from X-ClickHouse-* headers, Basic authentication or the URL: one of them, not two."""
    basic = headers.get("Authorization", "")
    of_clickhouse = "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers
    ways = {
        "X-ClickHouse HTTP headers": of_clickhouse,
        "Authorization HTTP header": bool(basic),
        "authentication via parameters": "user" in args or "password" in args,
    }
    if len(used := [way for way, is_used in ways.items() if is_used]) > 1:
        raise ClickHouseError(
            516, f"Invalid authentication: it is not allowed to use {used[0]} and {used[1]} simultaneously"
        )
    if of_clickhouse:
        return headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", "")
    if basic:
        scheme, _, encoded = basic.partition(" ")
        if scheme.lower() != "basic":
            raise ClickHouseError(516, f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise ClickHouseError(516, "Invalid authentication: the Basic credentials can't be read") from None
        return user or "default", password
    return args.get("user") or "default", args.get("password", "")
