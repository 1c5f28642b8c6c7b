"""Each recipe with real requests: every page is one row, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.forwarders import applications, servers, traffic
from tests.forwarders.conftest import sessions, wait_for_rows
from tests.forwarders.tools import Tool
from tests.services import System

#: Requests of a test.
REQUESTS = 300
#: Those that give no session: each pageview is one of its own.
WITHOUT_SESSIONS = (servers.nginx_json, servers.haproxy)
#: Sessions of half hours of the clock, one of which may end meanwhile.
BY_THE_CLOCK = (
    *(servers.nginx_njs, servers.nginx_lua),
    *(applications.python, applications.php, applications.node),
)
#: Sessions that `hitline replay` makes.
BY_VISIT = (servers.apache, servers.caddy, servers.varnish)


@pytest.mark.parametrize("tool", [*WITHOUT_SESSIONS, *BY_THE_CLOCK, *BY_VISIT], ids=lambda tool: tool.__name__)
def test_every_page_is_one_row(site: System, tmp_path: Path, host: str, tool: Tool) -> None:
    visits = traffic.visits(REQUESTS)
    pages, visitors = traffic.pages(visits), traffic.visitors(visits)
    with tool(site, tmp_path) as port:
        traffic.drive(port, host, visits)
        wait_for_rows(site, host, pages)
    if tool in WITHOUT_SESSIONS:
        assert sessions(site, host) == pages.total()
    elif tool in BY_VISIT:
        assert sessions(site, host) == visitors
    else:
        assert visitors <= sessions(site, host) <= 2 * visitors


def test_a_killed_gateway_costs_nothing(site: System, tmp_path: Path, host: str) -> None:
    visits = traffic.visits(REQUESTS)
    with servers.nginx_json(site, tmp_path) as port:
        traffic.drive(port, host, visits[::2])
        site.gateway.kill()
        traffic.drive(port, host, visits[1::2])
        site.gateway.start()
        wait_for_rows(site, host, traffic.pages(visits))
