"""JSON access logs, one object a line: Caddy's, Traefik's, and nginx's with the fields' usual names.

Sources: Caddy's `log` directive, Traefik's access log fields, nginx's `log_format … escape=json` (whose field names are
the administrator's: `ALIASES` has the usual ones, which are nginx's variables).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from deploy.replay import fields
from deploy.replay.entry import Entry, Malformed
from deploy.replay.text import clean, decode
from deploy.replay.times import LocalClock

#: Our name, and the names that logs have for it, the best first.
ALIASES: Final = {
    "time": (
        "msec", "time_iso8601", "time_local", "@timestamp", "timestamp", "time", "datetime", "date", "ts", "StartUTC",
        "StartLocal",
    ),
    "address": ("remote_addr", "client_ip", "clientip", "remote_ip", "client_addr", "client", "ip", "visitor_ip"),
    "forwarded": ("http_x_forwarded_for", "x_forwarded_for", "xff", "forwarded_for"),
    "request": ("request", "request_line"),
    "method": ("request_method", "method", "verb", "http_method"),
    "target": ("request_uri", "uri", "request_url", "url"),
    "path": ("path", "uri_path", "document_uri"),
    "query": ("args", "query_string", "query"),
    "status": ("status", "status_code", "response_code", "response"),
    "host": ("http_host", "host", "hostname", "vhost", "server_name", "domain", "request_host"),
    "port": ("server_port",),
    "scheme": ("scheme", "request_scheme"),
    "user_agent": ("http_user_agent", "user_agent", "useragent", "agent", "ua"),
    "referrer": ("http_referer", "http_referrer", "referer", "referrer"),
    "language": ("http_accept_language", "accept_language"),
    "dnt": ("http_dnt", "dnt"),
    "gpc": ("http_sec_gpc", "sec_gpc"),
    "purpose": ("http_sec_purpose", "sec_purpose", "http_purpose", "purpose"),
}  # fmt: skip
_TRAEFIK: Final = {
    "time": "StartUTC", "address": "ClientHost", "method": "RequestMethod", "target": "RequestPath",
    "host": "RequestHost", "scheme": "RequestScheme", "status": "DownstreamStatus",
    "user_agent": "request_User-Agent", "referrer": "request_Referer", "language": "request_Accept-Language",
    "forwarded": "request_X-Forwarded-For", "dnt": "request_Dnt", "gpc": "request_Sec-Gpc",
    "purpose": "request_Sec-Purpose",
}  # fmt: skip
_CADDY_HEADERS: Final = {
    "user_agent": "User-Agent", "referrer": "Referer", "language": "Accept-Language", "forwarded": "X-Forwarded-For",
    "dnt": "Dnt", "gpc": "Sec-Gpc",
}  # fmt: skip
_PURPOSE: Final = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
#: What `escape=default` writes, which is not JSON.
_HEX: Final = re.compile(rb"\\x([0-9A-Fa-f]{2})")


class JsonLog:
    """Parses all three: an object's fields say whose it is."""

    name = "JSON"

    def __init__(self, clock: LocalClock, forwarded: bool) -> None:
        self.clock = clock
        self._forwarded = forwarded

    def parse(self, line: bytes) -> Entry | None:
        """Return the line's request; raises `Malformed`."""
        value = _load(line)
        return fields.entry_of(_values(value), self.clock, self._forwarded)

    @staticmethod
    def kind(line: bytes) -> str:
        """Return the name of a well-formed line's own format."""
        try:
            return f"{_writer(_load(line))} JSON"
        except Malformed:
            return ""


def _load(line: bytes) -> Mapping[str, Any]:
    if not line.lstrip().startswith(b"{"):
        raise Malformed("not a JSON object")
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value = _load_leniently(line)
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    return value


def _load_leniently(line: bytes) -> Any:
    """Load what orjson refuses: halves of surrogate pairs, bytes that are not UTF-8, nginx's escapes."""
    try:
        return json.loads(_repaired(line), strict=False)
    except (ValueError, RecursionError):
        raise Malformed("not a JSON object") from None


def _repaired(line: bytes) -> bytes:
    r"""Return the line with nginx's `\xHH` as the characters they stand for, and U+FFFD for what is not UTF-8."""
    raw = _HEX.sub(lambda match: _json_byte(bytes.fromhex(match[1].decode())), line)
    return clean(decode(raw)).encode()


def _json_byte(byte: bytes) -> bytes:
    return b"\\" + byte if byte in (b'"', b"\\") else b"\\u%04x" % byte[0] if byte < b" " else byte


def _writer(value: Mapping[str, Any]) -> str:
    if isinstance(value.get("request"), dict):
        return "Caddy"
    return "Traefik" if "RequestPath" in value else "nginx"


def _values(value: Mapping[str, Any]) -> dict[str, str]:
    writer = _writer(value)
    if writer == "Caddy":
        return _of_caddy(value)
    if writer == "Traefik":
        found = {ours: _text(value.get(theirs)) for ours, theirs in _TRAEFIK.items() if theirs in value}
        found.setdefault("time", _text(value.get("StartLocal", value.get("time"))))
        return found
    found = {}
    for ours, names in ALIASES.items():
        for name in names:
            if name in value and _text(value[name]) not in ("", "-"):
                found[ours] = _text(value[name])
                break
    return found


def _of_caddy(value: Mapping[str, Any]) -> dict[str, str]:
    request = value["request"]
    headers = request.get("headers")
    headers = headers if isinstance(headers, dict) else {}
    found = {
        "time": _text(value.get("ts")),
        # client_ip is the visitor behind trusted proxies (2.7 and later); remote_addr is what versions before 2.5 have.
        "address": _text(request.get("client_ip") or request.get("remote_ip") or request.get("remote_addr")),
        "method": _text(request.get("method")),
        "target": _text(request.get("uri")),
        "host": _text(request.get("host")),
        "status": _text(value.get("status")),
        "scheme": "https" if request.get("tls") else "http",
        "purpose": next((_text(headers[name]) for name in _PURPOSE if name in headers), ""),
    }
    return {**found, **{ours: _text(headers.get(theirs)) for ours, theirs in _CADDY_HEADERS.items()}}


def _text(value: Any) -> str:
    """Return a JSON value as text: a header's first value, a number as it is written."""
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, bool) or value is None:
        return "1" if value is True else ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return clean(value) if isinstance(value, str) else str(value)
