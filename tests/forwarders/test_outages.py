"""Every recipe while the gateway is killed and the broker restarted: nothing is lost, nothing doubled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.rabbitmq import RabbitMQNode
from tests import parts, services
from tests.forwarders import applications, servers, traffic
from tests.forwarders.conftest import exclude, rows, wait_for_rows
from tests.forwarders.tools import Tool
from tests.services import System

#: The whole of the log that `HITLINE_TEST_LOG` names, or as many made-up lines.
LINES = 10_000
TOOLS = (
    *(servers.nginx_json, servers.nginx_njs, servers.nginx_lua, servers.haproxy),
    *(servers.apache, servers.caddy, servers.varnish),
    *(applications.python, applications.php, applications.node),
)


@pytest.fixture(scope="module")
def mortal(
    clickhouse: ClickHouseProcess, mortal_broker: RabbitMQNode, _schema: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """A system whose parts may be stopped."""
    parts.empty_tables(clickhouse)
    with services.system(clickhouse, mortal_broker, tmp_path_factory.mktemp("system")) as running:
        exclude(running)
        yield running


def through_outages(system: System, tool: Tool, directory: Path, host: str, number: int) -> None:
    """Make requests before, during and after the gateway's death and the broker's restart."""
    visits = traffic.visits(number)
    parts_of_it = [visits[start::4] for start in range(4)]
    with tool(system, directory) as port:
        traffic.drive(port, host, parts_of_it[0])
        services.wait_for(lambda: rows(system, host).total() > 0)
        system.gateway.kill()  # in the middle of what it has in hand
        traffic.drive(port, host, parts_of_it[1])
        system.gateway.start()
        traffic.drive(port, host, parts_of_it[2])
        system.broker.stop()
        traffic.drive(port, host, parts_of_it[3])
        system.broker.start()
        wait_for_rows(system, host, traffic.pages(visits), 120)


@pytest.mark.full
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_the_whole_log_through_outages(mortal: System, tmp_path: Path, host: str, tool: Tool) -> None:
    through_outages(mortal, tool, tmp_path, host, LINES)
