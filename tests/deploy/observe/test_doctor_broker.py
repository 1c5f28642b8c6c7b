"""`hitline doctor` on a broker with the management API: a planted fault each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import aio_pika
import pytest

from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQNode
from deploy.observe.checks.management import held_by_nobody
from deploy.observe.finding import Finding, Level
from deploy.queue import topology
from shared import queue
from shared.management_api import ManagementApi
from tests import parts
from tests.deploy.observe.instance import Instance, manage, one, remove_policy, set_policy

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """A broker of this module's own, since it is given alarms, and the plugin."""
    config = {"management.tcp.ip": "127.0.0.1", "management.tcp.port": str(free_port())}
    started = RabbitMQNode(tmp_path_factory.mktemp("broker"), config=config, plugins=["rabbitmq_management"])
    started.start()
    yield started
    started.stop()


@pytest.fixture
def broker(node: RabbitMQNode) -> RabbitMQNode:
    parts.run_apart(lambda: parts.empty_queues(node.amqp_url))
    return node


@pytest.fixture
def api(broker: RabbitMQNode) -> str:
    at = urlsplit(broker.amqp_url)
    return f"http://{at.username}:{at.password}@127.0.0.1:{broker._config['management.tcp.port']}"


@pytest.fixture
def instance(broker: RabbitMQNode, api: str, tmp_path: Path) -> Instance:
    return Instance(parts.make_env(tmp_path / "state", broker=broker, RABBITMQ_API_URL=api))


def _found(instance: Instance, says: str, **changed: str) -> Finding:
    return one(instance.findings("broker", **changed), says)


def test_nothing_is_wrong_with_a_healthy_broker(instance: Instance) -> None:
    assert instance.findings("broker") == []
    assert instance.findings("broker") == [], "and the first look left nothing behind"


def test_without_the_management_api_it_says_what_is_not_seen(instance: Instance) -> None:
    found = _found(instance, "policies and alarms can't be seen", RABBITMQ_API_URL="http://a:b@127.0.0.1:1")
    assert found.level is Level.UNKNOWN


def test_a_broker_that_is_not_there_or_refuses(instance: Instance, broker: RabbitMQNode) -> None:
    _found(instance, "can't be reached", AMQP_URL="amqp://guest:guest@127.0.0.1:1/")
    at = urlsplit(broker.amqp_url)
    found = _found(instance, "refuses the user or password", AMQP_URL=f"amqp://hitline:wrong@{at.hostname}:{at.port}/")
    assert "wrong" not in found.problem
    assert instance.findings("broker", AMQP_URL=f"{broker.amqp_url}none"), "a virtual host that does not exist"


def test_one_of_several_addresses_is_down(instance: Instance, broker: RabbitMQNode) -> None:
    _found(instance, "can't be reached", AMQP_URL=f"amqp://guest:guest@127.0.0.1:1/ {broker.amqp_url}")


def test_what_is_not_declared(instance: Instance, broker: RabbitMQNode) -> None:
    parts.run_apart(lambda: parts.delete_queue(broker.amqp_url, queue.DEAD_QUEUE))
    _found(instance, "the queue hitline.dead does not exist")
    parts.run_apart(lambda: parts.delete_exchange(broker.amqp_url))
    problems = {finding.problem for finding in instance.findings("broker")}
    assert "the exchange hitline does not exist: nothing is accepted" in problems


def test_a_queue_that_is_not_bound(instance: Instance, api: str) -> None:
    bound = manage(api, "GET", "/bindings/%2F/e/hitline/q/hitline.pageviews")
    manage(api, "DELETE", f"/bindings/%2F/e/hitline/q/hitline.pageviews/{bound[0]['properties_key']}")
    _found(instance, "hitline.pageviews is not bound to hitline")


def test_a_queue_of_another_type(instance: Instance, broker: RabbitMQNode) -> None:
    async def declare_classic() -> None:
        await parts.delete_queue(broker.amqp_url, queue.QUEUE)
        async with await queue.connect([broker.amqp_url], "hitline tests") as connection:
            channel = await connection.channel()
            await (await channel.declare_queue(queue.QUEUE, durable=True)).bind(queue.EXCHANGE, queue.PAGEVIEWS)

    parts.run_apart(declare_classic)
    try:
        problems = [finding.problem for finding in instance.findings("broker")]
    finally:
        parts.run_apart(lambda: parts.delete_queue(broker.amqp_url, queue.QUEUE))
    assert "differs from what Hitline declares (x-" in problems[0]
    assert problems[1].startswith("hitline.pageviews is a classic queue, not a quorum queue")


async def _post(broker: RabbitMQNode, key: str) -> None:
    async with await queue.connect([broker.amqp_url], "hitline tests") as connection:
        channel = await connection.channel()
        await topology.declare(connection)
        exchange = await channel.get_exchange(queue.EXCHANGE)
        await exchange.publish(aio_pika.Message(b"planted"), key, mandatory=True)


def test_messages_that_nobody_consumes_and_dead_letters(instance: Instance, broker: RabbitMQNode) -> None:
    parts.run_apart(lambda: _post(broker, queue.PAGEVIEWS))
    assert _found(instance, "1 messages wait and no worker consumes").level is Level.ERROR
    parts.run_apart(lambda: parts.empty_queues(broker.amqp_url))
    parts.run_apart(lambda: _post(broker, queue.DEAD))
    assert _found(instance, "1 dead letters").level is Level.WARNING


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ({"overflow": "drop-head", "max-length": 1000}, "overflow drop-head on hitline.pageviews"),
        ({"message-ttl": 60_000}, "sets message-ttl on hitline.pageviews: pageviews that wait for longer are deleted"),
        ({"expires": 3_600_000}, "sets expires on hitline.pageviews"),
        ({"delivery-limit": 5}, "sets delivery-limit 5 on hitline.pageviews"),
    ],
)
def test_a_policy_that_breaks_a_promise(instance: Instance, api: str, definition: dict[str, object], says: str) -> None:
    set_policy(api, definition)
    try:
        found = [finding for finding in instance.findings("broker") if says in finding.problem]
    finally:
        remove_policy(api)
    assert found
    assert found[0].level is Level.ERROR
    assert "policy planted" in found[0].problem


def test_a_policy_that_is_allowed(instance: Instance, api: str) -> None:
    set_policy(api, {"max-length": 1_000_000, "overflow": "reject-publish"})
    try:
        assert instance.findings("broker") == []
    finally:
        remove_policy(api)


@pytest.mark.parametrize(
    ("permission", "says"),
    [
        ({"write": "^$"}, "may not publish to hitline"),
        ({"read": "^$"}, "may not read"),
    ],
)
def test_a_user_without_permission(
    instance: Instance, broker: RabbitMQNode, api: str, permission: dict[str, str], says: str
) -> None:
    manage(api, "PUT", "/users/limited", {"password": "a password", "tags": "monitoring"})
    manage(
        api,
        "PUT",
        "/permissions/%2F/limited",
        {"configure": "^$", "write": "^hitline", "read": "^hitline", **permission},
    )
    at = urlsplit(broker.amqp_url)
    user = f"limited:{quote('a password')}"
    url, other_api = f"amqp://{user}@{at.hostname}:{at.port}/", api.replace(f"{at.username}:{at.password}", user)
    try:
        found = instance.findings("broker", AMQP_URL=url, RABBITMQ_API_URL=other_api)
    finally:
        manage(api, "DELETE", "/users/limited")
    assert any(says in finding.problem for finding in found), found


def test_a_memory_alarm(instance: Instance, broker: RabbitMQNode) -> None:
    broker.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        problems = [finding.problem for finding in instance.findings("broker")]
    finally:
        broker.ctl("set_vm_memory_high_watermark", "0.4")
    assert any("has a memory alarm" in problem or "does not confirm" in problem for problem in problems), problems


class Figures(ManagementApi):
    """What the API answers, look by look: unacknowledged messages of the queue, and of each channel."""

    def __init__(self, *looks: tuple[int, list[int]]) -> None:
        self._looks = list(looks)

    async def queue(self, vhost: str, name: str) -> dict[str, int]:
        return {"messages_unacknowledged": self._looks[0][0]}

    async def get(self, path: str) -> list[dict[str, int]]:
        assert path == "/api/vhosts/%2F/channels"
        return [{"messages_unacknowledged": number} for number in self._looks.pop(0)[1]]


@pytest.mark.parametrize(
    ("looks", "held"),
    [
        ([(0, [])], 0),
        ([(20, [0, 20])], 0),
        ([(20, [0, 0]), (20, [20, 0])], 0),  # the figures are of different moments
        ([(20, [0, 0]), (0, [0, 0])], 0),
        ([(20, [0, 0]), (18, [])], 18),
    ],
)
async def test_messages_that_a_queue_counts_as_delivered_and_no_channel_has(
    looks: list[tuple[int, list[int]]], held: int
) -> None:
    assert await held_by_nobody(Figures(*looks), "/", queue.QUEUE, wait_s=0) == held


async def test_what_a_consumer_holds_is_not_held_by_nobody(broker: RabbitMQNode, api: str) -> None:
    await _post(broker, queue.PAGEVIEWS)
    async with await queue.connect([broker.amqp_url], "hitline tests") as connection:
        source = await (await connection.channel()).get_queue(queue.QUEUE, ensure=False)
        await source.get()
        async with ManagementApi(api) as figures:
            assert await held_by_nobody(figures, "/", queue.QUEUE, wait_s=0) == 0
            channels = await figures.get("/api/vhosts/%2F/channels")
    assert isinstance(channels, list)
