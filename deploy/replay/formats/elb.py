"""AWS load balancers' access logs: Application (ALB) and Classic (ELB).

Sources: "Access log entries" in the user guides of Application and Classic Load Balancers.
"""

from __future__ import annotations

import re
from typing import Final

from deploy.replay import addresses, fields, request
from deploy.replay.entry import Entry, Malformed
from deploy.replay.text import decode, unescape
from deploy.replay.times import LocalClock

_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)', re.DOTALL)
#: Kinds of connection that carry HTTP; the first value of an ALB's line.
_TYPES: Final = ("http", "https", "h2", "grpcs", "ws", "wss")


class LoadBalancerLog:
    """Parses both: the first value is a time (ELB) or the kind of connection (ALB)."""

    name = "AWS load balancer"

    def __init__(self, clock: LocalClock, forwarded: bool) -> None:  # noqa: ARG002 - a load balancer sees the visitor
        self.clock = clock

    def parse(self, line: bytes) -> Entry | None:
        """Return the line's request; raises `Malformed`."""
        given = [quoted or bare for quoted, bare in _TOKEN.findall(decode(line))]
        if given and given[0] in _TYPES:
            return self._of_alb(given)
        return self._of_elb(given)

    @staticmethod
    def kind(line: bytes) -> str:
        """Return the name of a well-formed line's own format."""
        return "ALB" if line.partition(b" ")[0].decode("ascii", "replace") in _TYPES else "ELB (Classic)"

    def _of_alb(self, given: list[str]) -> Entry:
        if len(given) < 19:
            raise Malformed("fewer values than an ALB's line has")
        # The answer's time is the second value; when the request came is the 22nd, in newer logs.
        received = given[21] if len(given) > 21 and given[21][:1].isdigit() else given[1]
        return self._entry(received, given[3], given[8], given[12], given[13], given[18])

    def _of_elb(self, given: list[str]) -> Entry:
        if len(given) < 12 or not given[0][:1].isdigit() or not given[0].endswith("Z"):
            raise Malformed("not a line of an ALB or ELB")
        agent = given[12] if len(given) > 12 else ""
        return self._entry(given[0], given[2], given[7], given[11], agent, "")

    def _entry(self, time: str, client: str, status: str, line: str, agent: str, domain: str) -> Entry:
        method, target = request.split(unescape(line))
        return Entry(
            time_ms=self.clock(time),
            address=addresses.visitor(addresses.with_port(client)),
            method=method,
            target=target,
            status=fields.status(status),
            host=fields.host(domain),
            user_agent=fields.present(unescape(agent)),
        )
