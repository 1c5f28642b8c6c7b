"""HAProxy's HTTP log (`option httplog` and `httpslog`), with or without syslog's header.

    address:port [time] frontend backend/server timers status bytes - - ---- conns queue {captures} {captures} "request"

Source: HAProxy's Configuration Manual, "HTTP log format" and "Non-printable characters".
"""

from __future__ import annotations

import re
from typing import Final

from deploy.replay import addresses, fields, request
from deploy.replay.entry import Entry, Malformed
from deploy.replay.text import clean, decode
from deploy.replay.times import LocalClock

_HEAD: Final = re.compile(
    r"(?:^|[ :])(\S{1,64}):(\d{1,5}) \[(\d\d/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d\.\d+)\]"
    r" (\S+) [^\s/]+/(\S+) (\S+) (-?\d+) \S+ ",
    re.ASCII,
)
_REQUEST: Final = re.compile(r'"([^"]*)(?:"|$)')
_CAPTURES: Final = re.compile(r"\{([^{}]*)\}")
_HEX: Final = re.compile(rb"#([0-9A-F]{2})")
_HOST: Final = re.compile(r"(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]+(?::\d+)?|localhost", re.IGNORECASE | re.ASCII)
_AGENT: Final = re.compile(r"[^\s/]+/\S+")


class HAProxyLog:
    """Parses lines; captured values are recognised by their form, since the log does not name them."""

    name = "HAProxy"

    def __init__(self, clock: LocalClock, forwarded: bool) -> None:
        self.clock = clock
        self._forwarded = forwarded

    def parse(self, line: bytes) -> Entry | None:
        """Return the line's request; raises `Malformed`."""
        text = decode(line)
        head = _HEAD.search(text)
        if head is None:
            raise Malformed("not a line of HAProxy's HTTP log")
        quoted = _REQUEST.search(text, head.end())
        if quoted is None:
            raise Malformed("no request")
        method, target = request.split(_unescape(quoted[1]))
        captured = _captured(text[head.end() : quoted.start()])
        address = addresses.first_of(captured["forwarded"]) if self._forwarded else None
        return Entry(
            time_ms=self.clock(head[3]),
            address=addresses.visitor(address or addresses.parse(head[1])),
            method=method,
            target=target,
            status=fields.status(head[7]),
            host=fields.host(captured["host"]),
            scheme="https" if head[4].endswith("~") else "",  # the manual: `~` is a frontend's mark for TLS
            user_agent=fields.present(captured["user_agent"]),
            referrer=fields.present(captured["referrer"]),
        )

    @staticmethod
    def kind(line: bytes) -> str:  # noqa: ARG004
        """Return the name of a well-formed line's own format."""
        return "HAProxy"


def _unescape(text: str) -> str:
    """Undo `#XX`, which HAProxy writes for control characters and for `"`, `#`, `{`, `|` and `}`."""
    if "#" not in text:
        return clean(text)
    raw = text.encode("utf-8", "surrogateescape")
    return _HEX.sub(lambda match: bytes.fromhex(match[1].decode()), raw).decode("utf-8", "replace")


def _captured(text: str) -> dict[str, str]:
    """Return what the request's captures are, by their shape; with `option httplog` they are the first braces."""
    found = {"host": "", "referrer": "", "forwarded": "", "user_agent": ""}
    first = _CAPTURES.search(text)
    for part in first[1].split("|") if first else ():
        value = _unescape(part).strip()
        if not value or value == "-":
            continue
        if value.startswith(("http://", "https://")):
            kind = "referrer"
        elif _HOST.fullmatch(value):
            kind = "host"
        elif addresses.first_of(value):
            kind = "forwarded"
        elif _AGENT.match(value) or " " in value:
            kind = "user_agent"
        else:
            continue
        found[kind] = found[kind] or value
    return found
