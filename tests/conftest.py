"""Fixtures: one real ClickHouse engine and one real broker for each test process, started when first asked for.

A start of the broker takes four seconds of processor time, one of the engine and its schema two, a gateway's or a
worker's as a fork a tenth.  So tests share the first two and get them empty (`tables`, `queues`), and have processes of
Hitline to themselves, most of them for a module (`system`).  A broker that is stopped or killed is the same one
(`mortal_broker`), since it needs no more than a start then.  One of its own is for a test that configures it or reads
its files (`services.own_broker`), and an engine for one that kills or stops it (`ClickHouseProcess`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import hypothesis
import pytest

from deploy.local.broker import ensure_rabbitmq
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.rabbitmq import RabbitMQNode
from tests import parts, services
from tests.file_server import DROP, DROP6, HOSTS, SOURCES, FileServer
from tests.fork_server import PRELOADED, ForkServer

pytest_plugins = ["tests.quick", "tests.session", "tests.in_memory"]

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("hitline", deadline=None)
hypothesis.settings.load_profile("hitline")


services.FORK_SERVERS |= {program: ForkServer(program) for program in PRELOADED}


#: A statement that has run a few times is compiled to machine code, which pays for millions of rows, not for hundreds.
_INTERPRETED = tuple(f"--setting=compile_{what}=0" for what in ("expressions", "aggregate_expressions"))


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[ClickHouseProcess]:
    """Start a ClickHouse engine, without any schema, on a free port; in the short tests it compiles no statement."""
    is_short = "not full" in request.config.option.markexpr
    process = ClickHouseProcess(tmp_path_factory.mktemp("clickhouse"), arguments=_INTERPRETED if is_short else ())
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """Start a broker of our own, without any queue, on free ports."""
    ensure_rabbitmq()
    node = RabbitMQNode(tmp_path_factory.mktemp("broker"))
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def mortal_broker(broker: RabbitMQNode) -> Iterator[RabbitMQNode]:
    """The broker with Hitline's topology on its disk, which a test may stop and kill: it runs again behind it."""
    parts.run_apart(partial(parts.empty_queues, broker.amqp_url))
    broker.sync_new_queues()
    yield broker
    broker.start()  # where a test failed before it did


@pytest.fixture(scope="session")
def _schema(clickhouse: ClickHouseProcess) -> None:
    parts.run_apart(partial(parts.apply_schema, clickhouse.url))


@pytest.fixture
def tables(clickhouse: ClickHouseProcess, _schema: None) -> ClickHouseProcess:
    """ClickHouse with Hitline's schema, all tables empty."""
    parts.empty_tables(clickhouse)
    return clickhouse


@pytest.fixture
def queues(broker: RabbitMQNode) -> RabbitMQNode:
    """The broker with Hitline's topology, all queues empty."""
    parts.run_apart(partial(parts.empty_queues, broker.amqp_url))
    return broker


@pytest.fixture
def stack(tables: ClickHouseProcess, queues: RabbitMQNode, tmp_path: Path) -> parts.Stack:
    """Both, and the environment that Hitline's processes need to find them."""
    return parts.Stack(tables, queues, parts.make_env(tmp_path / "state", tables, queues))


@pytest.fixture(scope="module")
def system(
    clickhouse: ClickHouseProcess, broker: RabbitMQNode, _schema: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[services.System]:
    """A gateway and a worker on empty tables and queues, for all tests of a module."""
    parts.empty_tables(clickhouse)
    parts.run_apart(partial(parts.empty_queues, broker.amqp_url))
    with services.system(clickhouse, broker, tmp_path_factory.mktemp("system")) as running:
        yield running


@pytest.fixture
def file_server() -> Iterator[FileServer]:
    """A web server with one sound list for each spam feed."""
    server = FileServer()
    lists = {"drop_v4.json": DROP, "drop_v6.json": DROP6, "referrer_spam.txt": HOSTS, **SOURCES}
    for file, body in lists.items():
        server.put(file, body)
    yield server
    server.close()
