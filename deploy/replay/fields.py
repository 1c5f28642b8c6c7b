"""From named values, as formats with names have them (JSON, W3C, own ones), to an `Entry`.

The names are ours; each format maps its own to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from deploy.replay import addresses, request
from deploy.replay.entry import Entry, Malformed
from deploy.replay.times import Clock

#: Values that stand for nothing in one log or another.
_ABSENT = ("-", "")


def entry_of(values: Mapping[str, str], clock: Clock, forwarded: bool) -> Entry:
    """Return the entry of a line's values; `forwarded`: believe the log's `X-Forwarded-For`.

    Known: time, address, forwarded, request or (method, target or path and query), status, host, port, scheme,
    user_agent, referrer, language, dnt, gpc, purpose.  Raises `Malformed`.
    """
    found = values.get
    time = found("time", "")
    if time in _ABSENT:
        raise Malformed("no time")
    method, target = _request(values)
    return Entry(
        time_ms=clock(time),
        address=_address(values, forwarded),
        method=method,
        target=target,
        status=status(found("status", "")),
        host=host(found("host", "")),
        scheme=_scheme(found("scheme", ""), found("port", "")),
        user_agent=present(found("user_agent", "")),
        referrer=present(found("referrer", "")),
        language=present(found("language", "")),
        do_not_track=found("dnt", "") == "1" or found("gpc", "") == "1",
        prefetch=is_prefetch(found("purpose", "")),
    )


def present(text: str) -> str:
    """Return the text, empty where it is a log's sign for none."""
    text = text.strip()
    return "" if text == "-" else text


def status(text: str) -> int:
    """Return a status as a number, 0 if there is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else 0


def host(text: str) -> str:
    """Return a hostname without its port; empty for a server's name for "any" (`_`, `*`, `-`)."""
    text = text.strip().lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]" if "]" in text else ""
    name = text.partition(":")[0]
    return "" if name in ("-", "_", "*") else name


def is_prefetch(purpose: str) -> bool:
    """Return whether `Sec-Purpose`, `Purpose`, `X-Purpose` or `X-Moz` marks a prefetch."""
    first = purpose.lower().replace(",", ";").split(";")[0].strip()
    return first in ("prefetch", "preview", "prerender")


def _request(values: Mapping[str, str]) -> tuple[str, str]:
    line = values.get("request")
    if line is not None:
        return request.split(line)
    method = values.get("method", "GET")
    target = values.get("target", "")
    if target in _ABSENT:
        path, query = values.get("path", ""), values.get("query", "").removeprefix("?")
        # IIS and nginx's $uri have the path decoded: a `?` or `%` in it would be read as something else.
        target = quote(path, safe="/:@!$&'()*+,;=~%") if path not in _ABSENT else ""
        if target and query not in _ABSENT:
            target += f"?{query}"
    if method in _ABSENT or not request.is_target(target):
        raise Malformed("not an HTTP request")
    return method, target


def _address(values: Mapping[str, str], forwarded: bool) -> str:
    if forwarded and (found := addresses.first_of(values.get("forwarded", ""))):
        return found
    return addresses.visitor(addresses.first_of(values.get("address", "")))


def _scheme(scheme: str, port: str) -> str:
    scheme = scheme.lower()
    if scheme in ("http", "https"):
        return scheme
    return {"443": "https", "80": "http"}.get(port, "")
