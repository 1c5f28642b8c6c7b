"""Limits that a server has by default, so that what is too large for it fails here as well."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.local.clickhouse.errors import ClickHouseError

#: http_max_uri_size: the request line with a URL.
URL_BYTES = 1 << 20
#: http_max_field_value_size: a parameter in the URL or in a form, a header.
FIELD_BYTES = 128 << 10
#: max_query_size: a statement, without an insert's data.
STATEMENT_BYTES = 256 << 10


def check_fields(args: Mapping[str, str]) -> None:
    """Raise ClickHouseError, as src/Server/HTTP/HTMLForm.cpp, for a parameter that is too long."""
    for value in args.values():
        if len(value) * 4 > FIELD_BYTES and len(value.encode()) > FIELD_BYTES:
            message = "Poco::Exception. Code: 1000, e.code() = 0, HTML Form Exception: Field value too long"
            raise ClickHouseError(1000, message)


def check_statement(size_bytes: int, settings: Mapping[str, str]) -> None:
    """Raise ClickHouseError, as src/Parsers/parseQuery.cpp, for a statement over `max_query_size`."""
    given = settings.get("max_query_size", "")
    limit_bytes = int(given) if given.isdecimal() else STATEMENT_BYTES
    if limit_bytes and size_bytes > limit_bytes:
        raise ClickHouseError(
            62,
            "Max query size exceeded (can be increased with the `max_query_size` setting): Syntax error: failed at"
            f" position {limit_bytes}",
        )
