"""One request of an access log, in any format, and the error for a line that contains none."""

from __future__ import annotations

from dataclasses import dataclass


class Malformed(Exception):
    """The line is not a request in this format; the message is the reason for the final table, without input."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A request as logged; strings are decoded, absent ones empty."""

    time_ms: int
    #: The visitor's address in canonical form.
    address: str
    method: str
    #: As sent: `/path?query`, an absolute URL, `*`, or `host:port` of CONNECT.
    target: str
    #: 0 where the log does not say.
    status: int
    #: Hostname of the request without a port; empty where the log does not say.
    host: str = ""
    #: `http` or `https`; empty where the log does not say.
    scheme: str = ""
    user_agent: str = ""
    referrer: str = ""
    language: str = ""
    #: The visitor sent `DNT: 1` or `Sec-GPC: 1`.
    do_not_track: bool = False
    #: A browser fetched the page in case it is opened later (`Sec-Purpose: prefetch` and older spellings).
    prefetch: bool = False
