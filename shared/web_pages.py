"""Tells requests that a web page made a browser send, for ports that are not meant for browsers.

A page of any site can have its visitor's browser send requests to a private port, even on loopback. Browsers mark them:
with `Origin`, with `Sec-Fetch-Site` (W3C Fetch Metadata), or, when the site's name was made to resolve to 127.0.0.1
(DNS rebinding), with a `Host` that is not this machine. No page can change these headers.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multidict import MultiMapping


def reason_to_refuse(headers: MultiMapping[str], *, only_loopback: bool) -> str:
    """Return why a request must not be answered; empty: it comes from no page.

    `only_loopback`: the port listens on loopback, so that `Host` must name this machine.
    """
    hosts = headers.getall("Host", [])
    if only_loopback and (len(hosts) != 1 or not is_loopback(hosts[0])):
        return "the Host header must be 127.0.0.1 or localhost"
    if "Origin" in headers:
        return "the request has an Origin, as a web page's has"
    # "none" is what a person types into the address bar.
    if headers.get("Sec-Fetch-Site", "none") != "none":
        return "the request comes from a web page (Sec-Fetch-Site)"
    return ""


def is_loopback(host: str) -> bool:
    """Return whether a Host header, with or without a port, names this machine by a loopback address or localhost."""
    name = host.strip()
    if name.startswith("["):
        name, _, port = name[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = name.partition(":")
    if port and not port.isdecimal():
        return False
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
