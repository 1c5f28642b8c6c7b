"""Apache's and nginx's common and combined formats, with or without the virtual host in front (Traefik's, too).

    [vhost[:port]] address ident user [day/Mon/year:time zone] "request" status bytes ["referrer" "user agent" …]

Source: Apache's mod_log_config, nginx's ngx_http_log_module.
"""

from __future__ import annotations

import re
from typing import Final

from deploy.replay import addresses, fields, request
from deploy.replay.entry import Entry, Malformed
from deploy.replay.text import decode, unescape
from deploy.replay.times import LocalClock

_TIME: Final = re.compile(r" \[(\d{1,2}/[A-Za-z]{3}/\d{4}:[\d:.,]+ [+-]\d{4})\] \"", re.ASCII)
_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_REST: Final = re.compile(rf"((?:[^\"\\]|\\.)*)\" (\d{{3}}|-) (?:\d+|-)(?: {_QUOTED} {_QUOTED}( .*)?)?\s*", re.DOTALL)
#: The end of a request in which quotes were not escaped (very old servers).
_AFTER_REQUEST: Final = re.compile(r'" (\d{3}|-) (?:\d+|-)(?= "|\s|$)', re.ASCII)
#: Characters behind the user agent in which a list of addresses is looked for.
_MAX_EXTRA: Final = 1024
_EXTRA: Final = re.compile(_QUOTED, re.DOTALL)


class CommonLog:
    """Parses all four: what a line has says which it is."""

    name = "common or combined"

    def __init__(self, clock: LocalClock, forwarded: bool) -> None:
        self.clock = clock
        self._forwarded = forwarded

    def parse(self, line: bytes) -> Entry | None:
        """Return the line's request; raises `Malformed`."""
        text = decode(line)
        time = _TIME.search(text)
        if time is None:
            raise Malformed("not in common or combined log format")
        host, address = _head(text[: time.start()].split())
        found_request, found_status, referrer, agent, extra = _rest(text[time.end() :])
        method, target = request.split(unescape(found_request))
        if self._forwarded:
            address = _forwarded(extra) or address
        return Entry(
            time_ms=self.clock(time[1]),
            address=addresses.visitor(address),
            method=method,
            target=target,
            status=fields.status(found_status),
            host=fields.host(host),
            scheme="https" if host.endswith(":443") else "http" if host.endswith(":80") else "",
            user_agent=fields.present(unescape(agent)),
            referrer=fields.present(unescape(referrer)),
        )

    @staticmethod
    def kind(line: bytes) -> str:
        """Return the name of a well-formed line's own format."""
        text = decode(line)
        time = _TIME.search(text)
        if time is None:
            return ""
        name = "combined" if len(text[time.end() :].split('"')) > 3 else "common"
        return f"{name} with virtual host" if _head(text[: time.start()].split())[0] else name


def _head(words: list[str]) -> tuple[str, str | None]:
    """Return (virtual host, address) of what is before the time; the address may be a list."""
    if not words:
        return "", None
    host = ""
    is_host = not words[0].endswith(",") and addresses.parse(words[0]) is None
    if is_host and len(words) > 3 and addresses.parse(words[1].rstrip(",")):
        host, *words = words
    listed = [words[0]]
    while listed[-1].endswith(",") and len(listed) < len(words):
        listed.append(words[len(listed)])
    return host, addresses.first_of("".join(listed))


def _rest(text: str) -> tuple[str, str, str, str, str]:
    """Return (request, status, referrer, user agent, what follows), still escaped."""
    match = _REST.fullmatch(text)
    if match:
        return match[1], match[2], match[3] or "", match[4] or "", match[5] or ""
    after = _AFTER_REQUEST.search(text)
    if after is None:
        raise Malformed("not in common or combined log format")
    referrer, _, agent = text[after.end() :].strip().removeprefix('"').partition('" "')
    # A line that its logger cut has no closing quote; one whose agent has bare quotes has several.
    return text[: after.start()], after[1], referrer.removesuffix('"'), agent.removesuffix('"'), ""


def _forwarded(extra: str) -> str | None:
    """Return the client's address of the first list of addresses behind the user agent (nginx's `main` format)."""
    for quoted in _EXTRA.findall(extra[:_MAX_EXTRA]):
        if found := addresses.first_of(quoted):
            return found
    return None
