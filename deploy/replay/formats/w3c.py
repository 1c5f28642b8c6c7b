"""W3C extended logs: IIS's, Amazon CloudFront's, and others that say their fields in `#Fields:`.

Sources: https://www.w3.org/TR/WD-logfile.html; IIS's "W3C Extended Log File Format"; CloudFront's "Standard logging".
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from deploy.replay import fields
from deploy.replay.entry import Entry, Malformed
from deploy.replay.text import clean, decode
from deploy.replay.times import LocalClock

#: The log's names for what we know, in lower case; of several the last that the line has a value for.
_NAMES: Final = {
    "cs-method": "method", "cs-uri": "target", "cs-uri-stem": "path", "cs-uri-query": "query", "c-ip": "address",
    "x-forwarded-for": "forwarded", "cs(x-forwarded-for)": "forwarded", "sc-status": "status", "s-port": "port",
    "cs-protocol": "scheme", "cs(user-agent)": "user_agent", "cs(referer)": "referrer", "cs-host": "host",
    "cs(host)": "host", "x-host-header": "host", "cs(accept-language)": "language", "cs(dnt)": "dnt",
    "cs(sec-gpc)": "gpc", "cs(sec-purpose)": "purpose",
}  # fmt: skip
_TOKEN: Final = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|(\S+)')
#: IIS writes a blank as `+` and a plus as it is: one before an address is the plus of `(+http://…)`.
_PLUS: Final = re.compile(r"(?<=[(+])\+(?=https?:)|(\+)")


class W3CLog:
    """Follows the directives; `#Fields` may change in the middle of a file."""

    name = "W3C extended"

    def __init__(self, clock: LocalClock, forwarded: bool) -> None:
        self.clock = clock
        self._forwarded = forwarded
        #: `#Fields`, `#Software` and `#Date` in force, kept with a checkpoint.
        self.directives: dict[str, str] = {}

    def parse(self, line: bytes) -> Entry | None:
        """Return the line's request, None for a directive; raises `Malformed`."""
        text = decode(line)
        if text.startswith("#"):
            name, _, value = text[1:].partition(":")
            if name.lower() in ("fields", "software", "date"):
                self.directives[name.lower()] = value.strip()
            return None
        if "fields" not in self.directives:
            raise Malformed("a line before any #Fields directive")
        return fields.entry_of(self._values(text), self.clock, self._forwarded)

    def kind(self, line: bytes) -> str:
        """Return whose log it is, as its directives say."""
        if line.startswith(b"#"):
            return ""
        if "x-edge-location" in self.directives.get("fields", ""):
            return "CloudFront (W3C extended)"
        software = self.directives.get("software", "")
        return "IIS (W3C extended)" if "Internet Information" in software else "W3C extended"

    def _values(self, text: str) -> dict[str, str]:
        names = self.directives["fields"].lower().split()
        tabs = "\t" in text
        given = text.split("\t") if tabs else [quoted or bare for quoted, bare in _TOKEN.findall(text)]
        if len(given) != len(names):
            raise Malformed("not as many values as #Fields names")
        by_name = dict(zip(names, (clean(value.replace('""', '"')) for value in given), strict=True))
        found: dict[str, str] = {}
        for name, ours in _NAMES.items():
            if by_name.get(name, "-") not in ("-", ""):
                found[ours] = by_name[name]
        date = by_name.get("date") or self.directives.get("date", "").partition(" ")[0]
        found["time"] = f"{date} {by_name.get('time', '')}"
        return _with_blanks(found, url_encoded=tabs)


def _with_blanks(found: dict[str, str], url_encoded: bool) -> dict[str, str]:
    """Undo what the log does to blanks: CloudFront's URL encoding, which it once applied twice, or IIS's `+`."""
    agent = found.get("user_agent", "")
    if url_encoded or "%20" in agent:
        agent = unquote(agent, errors="replace")
        agent = unquote(agent, errors="replace") if "%20" in agent else agent
    elif " " not in agent:
        agent = _PLUS.sub(lambda match: " " if match[1] else "+", agent)
    if url_encoded and "%25" in found.get("referrer", ""):
        found["referrer"] = unquote(found["referrer"], errors="replace")
    return {**found, "user_agent": agent}
