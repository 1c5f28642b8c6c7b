"""`hitline migrate`, and what commands say when a part is missing."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.rabbitmq import RabbitMQNode
from shared import queue
from tests import parts
from tests.deploy.cli.conftest import Hitline, runner_with


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    with ClickHouseProcess(tmp_path_factory.mktemp("clickhouse")) as process:
        yield process


@pytest.fixture
def bare(engine: ClickHouseProcess) -> ClickHouseProcess:
    """An engine without any schema."""
    for database in ("hitline", "hitline_control"):
        parts.execute(engine, f"DROP DATABASE IF EXISTS {database} SYNC")
    return engine


@pytest.fixture
def hitline(bare: ClickHouseProcess, tmp_path: Path) -> Hitline:
    return runner_with(parts.make_env(tmp_path / "state", bare))


@pytest.mark.processes
def test_everything_is_applied_once_and_recorded(hitline: Hitline, bare: ClickHouseProcess) -> None:
    assert "0001_pageviews.sql is pending" in hitline("migrate", "--no-broker", "--dry-run").stdout
    assert "CREATE TABLE" in hitline("migrate", "--no-broker", "--dry-run").stdout
    hitline("migrate", "--no-broker", "--check", expect=1)
    assert "0001_pageviews.sql applied" in hitline("migrate", "--no-broker").stdout
    assert "up to date" in hitline("migrate", "--no-broker").stdout
    hitline("migrate", "--no-broker", "--check")
    counts = parts.execute(bare, "SELECT count() = uniqExact(number) FROM hitline_control.migrations")
    assert counts.strip() in ("1", "true")


@pytest.mark.processes
def test_two_at_once_do_no_harm(bare: ClickHouseProcess) -> None:
    threads = [threading.Thread(target=lambda: parts.run_apart(lambda: parts.apply_schema(bare.url))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert parts.execute(bare, "SELECT count() FROM hitline.pageviews").strip() == "0"


@pytest.mark.processes
def test_a_command_before_migrate_says_to_run_it(hitline: Hitline) -> None:
    for command in (("site", "list"), ("site", "add", "a.example"), ("client", "list"), ("exclude", "list")):
        assert "run `hitline migrate`" in hitline(*command, expect=1).stderr


def test_clickhouse_out_of_reach_is_one_line(tmp_path: Path) -> None:
    hitline = runner_with(parts.make_env(tmp_path))
    for command in (("site", "list"), ("client", "add", "x"), ("migrate",), ("exclude", "add", "--path", "/a")):
        assert "HITLINE_CLICKHOUSE_URL" in hitline(*command, expect=1).stderr


def test_a_malformed_setting_is_named(tmp_path: Path) -> None:
    hitline = runner_with(parts.make_env(tmp_path, CLICKHOUSE_URL="clickhouse:9000"))
    assert "HITLINE_CLICKHOUSE_URL" in hitline("site", "list", expect=1).stderr


@pytest.mark.processes
def test_a_user_with_a_password_can_change_the_registry(tmp_path: Path) -> None:
    config = tmp_path / "users.xml"
    sha256 = hashlib.sha256(b"p@ss/word:1").hexdigest()
    config.write_text(
        f"<clickhouse><users><default><password_sha256_hex>{sha256}</password_sha256_hex>"
        "<profile>default</profile></default></users><profiles><default/></profiles></clickhouse>"
    )
    with ClickHouseProcess(tmp_path / "data", config_file=config) as process:
        url = process.url.replace("http://", "http://default:{}@")
        good = runner_with(parts.make_env(tmp_path, CLICKHOUSE_URL=url.format("p%40ss%2Fword%3A1")))
        good("migrate", "--no-broker")
        good("site", "add", "example.com")
        good("client", "add", "edge", "--grant", "example.com")
        bad = runner_with(parts.make_env(tmp_path, CLICKHOUSE_URL=url.format("wrong-secret")))
        refused = bad("site", "list", expect=1).stderr
        assert "refuses the user or password" in refused
        assert "wrong-secret" not in refused


def test_the_topology_is_declared_and_a_differing_queue_is_reported(
    hitline: Hitline, broker: RabbitMQNode, bare: ClickHouseProcess, tmp_path: Path
) -> None:
    both = runner_with(parts.make_env(tmp_path / "state", bare, broker))

    async def spoil() -> None:
        connection = await queue.connect([broker.amqp_url], "hitline tests")
        async with connection:
            channel = await connection.channel()
            await channel.queue_delete(queue.QUEUE)
            await channel.queue_delete(queue.DEAD_QUEUE)
            await channel.declare_queue(queue.QUEUE, durable=True, arguments={"x-queue-type": "quorum"})

    async def repair() -> None:
        connection = await queue.connect([broker.amqp_url], "hitline tests")
        async with connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(queue.EXCHANGE)
            published = await exchange.publish(aio_pika.Message(b"x"), queue.PAGEVIEWS, mandatory=True)
            assert published, "the queue that differs is bound anyway"
            await channel.queue_delete(queue.QUEUE)

    parts.run_apart(spoil)
    output = both("migrate")
    assert "queue hitline.pageviews differs from what Hitline declares" in output.stderr
    assert "x-overflow" in output.stderr
    parts.run_apart(repair)
    assert both("migrate").stderr == ""
    both("migrate", "--check")


def test_the_broker_out_of_reach_is_one_line_without_its_password(tmp_path: Path) -> None:
    hitline = runner_with(parts.make_env(tmp_path, AMQP_URL="amqp://user:very-secret@127.0.0.1:1/"))
    refused = hitline("migrate", "--no-clickhouse", expect=1).stderr
    assert "127.0.0.1:1" in refused
    assert "very-secret" not in refused
