"""The formats that are found without help, in the order in which they are tried."""

from __future__ import annotations

from datetime import tzinfo
from typing import Final, Protocol

from deploy.replay.entry import Entry
from deploy.replay.formats.clf import CommonLog
from deploy.replay.formats.elb import LoadBalancerLog
from deploy.replay.formats.haproxy import HAProxyLog
from deploy.replay.formats.json_lines import JsonLog
from deploy.replay.formats.template import BadTemplate, TemplateLog
from deploy.replay.formats.w3c import W3CLog
from deploy.replay.times import LocalClock


class Format(Protocol):
    """Parses the lines of one log, in their order."""

    name: str
    clock: LocalClock

    def parse(self, line: bytes) -> Entry | None:
        """Return the line's request, None for a directive or a comment; raises `Malformed`."""

    def kind(self, line: bytes) -> str:
        """Return the name of a parsed line's format, or an empty string if unknown."""


#: By the names that `--format` takes.
BUILT_IN: Final[dict[str, type[CommonLog | JsonLog | W3CLog | LoadBalancerLog | HAProxyLog]]] = {
    "combined": CommonLog,
    "common": CommonLog,
    "vhost": CommonLog,
    "json": JsonLog,
    "nginx-json": JsonLog,
    "caddy": JsonLog,
    "traefik": JsonLog,
    "w3c": W3CLog,
    "iis": W3CLog,
    "cloudfront": W3CLog,
    "alb": LoadBalancerLog,
    "elb": LoadBalancerLog,
    "haproxy": HAProxyLog,
}
__all__ = ["BUILT_IN", "BadTemplate", "Format", "make"]


def make(wanted: str, zone: tzinfo, forwarded: bool) -> Format:
    """Return the format of a name or a template; raises `BadTemplate`."""
    clock = LocalClock(zone)
    if wanted in BUILT_IN:
        return BUILT_IN[wanted](clock, forwarded)
    return TemplateLog(wanted, clock, forwarded)
