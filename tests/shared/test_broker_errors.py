"""Failures of the broker are told by their cause, with what to do about it."""

from __future__ import annotations

import pytest
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from yarl import URL

from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQNode
from shared import queue
from shared.broker_errors import explain, explain_lost_channel


async def connecting_fails(url: str) -> str:
    with pytest.raises(Exception) as caught:
        await queue.connect([url], "hitline tests")
    return explain(caught.value)


async def test_a_missing_virtual_host_is_named(broker: RabbitMQNode) -> None:
    told = await connecting_fails(str(URL(broker.amqp_url).with_path("/no where")))
    assert told.startswith("the virtual host 'no where' does not exist, or the user may not use it")
    assert "HITLINE_AMQP_URL" in told


async def test_a_wrong_password_is_named_and_not_quoted(broker: RabbitMQNode) -> None:
    told = await connecting_fails(str(URL(broker.amqp_url).with_password("a wrong one")))
    assert told == "the broker refuses the user or password: check HITLINE_AMQP_URL"


async def test_a_port_without_a_broker_is_named() -> None:
    told = await connecting_fails(f"amqp://127.0.0.1:{free_port()}/")
    assert told.startswith("the broker can't be reached (AMQPConnectionError): is it running")


async def test_a_missing_queue_is_named(broker: RabbitMQNode) -> None:
    connection = await queue.connect([broker.amqp_url], "hitline tests")
    async with connection:
        with pytest.raises(ChannelNotFoundEntity) as caught:
            await (await connection.channel()).get_queue("hitline.nowhere")
    assert "no queue 'hitline.nowhere' in vhost '/'" in explain(caught.value)


def test_a_consumer_timeout_is_told_as_such_by_both_of_its_forms() -> None:
    text = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms."
    closed = explain_lost_channel(ChannelPreconditionFailed(406, text))  # up to RabbitMQ 4.2
    cancelled = explain_lost_channel(None)  # from 4.3 on
    assert "longer than its consumer_timeout" in closed
    assert "the queue was deleted" in cancelled
    assert "longer than its consumer timeout" in cancelled


def test_other_reasons_are_in_the_brokers_own_words() -> None:
    told = explain_lost_channel(ChannelPreconditionFailed(406, "PRECONDITION_FAILED - unknown delivery tag 7"))
    assert told == "the broker closed the channel (PRECONDITION_FAILED - unknown delivery tag 7)"
    assert explain(TimeoutError()).startswith("no answer from the broker")
