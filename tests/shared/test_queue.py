"""Connecting to the first of several addresses that is a broker."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import uvloop
from aio_pika.exceptions import AMQPError
from yarl import URL

from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQNode
from shared import queue
from tests import parts


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Serve something other than a broker: it sends `answer` to each client and hangs up.

    In a thread, so that a hang-up can be there before the client has begun to read.
    """

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):  # closed below
            while True:
                with listener.accept()[0] as connection:
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"amqp://guest:guest@127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


NO_BROKERS = {
    "a proxy with nothing behind it": b"",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "another protocol version": b"AMQP\x00\x00\x09\x01",
    "a broken frame": b"\x01\x00\x00\x00\x00\x00\x04\xff\xff\xff\xff\xce",
    "a frame out of place": b"\x08\x00\x00\x00\x00\x00\x00\xce",
}


@pytest.mark.parametrize("answer", NO_BROKERS.values(), ids=NO_BROKERS)
async def test_a_server_that_is_not_a_broker_is_skipped(broker: RabbitMQNode, answer: bytes) -> None:
    with answering(answer) as url:
        connection = await queue.connect([url, broker.amqp_url], "hitline tests")
        await connection.close()


@pytest.mark.parametrize("answer", NO_BROKERS.values(), ids=NO_BROKERS)
def test_a_server_that_is_not_a_broker_is_an_expected_failure(answer: bytes) -> None:
    async def connect(url: str) -> None:
        for _ in range(10):  # a hang-up is noticed in several places
            with pytest.raises((AMQPError, OSError)):
                await queue.connect([url], "hitline tests")
        await asyncio.sleep(0.1)  # for what the library leaves running

    with answering(answer) as url:
        parts.in_thread(lambda: uvloop.run(connect(url)))  # the processes' own loop, on which a hang-up comes early


async def test_a_missing_virtual_host_is_passed_over(broker: RabbitMQNode) -> None:
    elsewhere = str(URL(broker.amqp_url).with_path("/nowhere"))
    connection = await queue.connect([elsewhere, broker.amqp_url], "hitline tests")
    await connection.close()


async def test_options_that_cannot_be_used_are_not_passed_over(broker: RabbitMQNode) -> None:
    with pytest.raises(ValueError, match="base64"):
        await queue.connect([f"{broker.amqp_url}?cadata=A", broker.amqp_url], "hitline tests")


async def test_an_attempt_that_fails_leaves_nothing_to_be_closed_later(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "aiormq")  # a record would keep the error
    failures: list[BaseException] = []
    try:
        await queue.connect([f"amqp://127.0.0.1:{free_port()}/"], "hitline tests")
    except (OSError, AMQPError) as error:
        failures.append(error)  # and with it, by its traceback, whatever was to become a connection

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        parts.in_thread(failures.clear)  # where there is no loop, in which that could close itself
        parts.in_thread(gc.collect)

    assert [str(each.message) for each in warned if "never awaited" in str(each.message)] == []


def test_declared_arguments_never_change() -> None:
    """A queue with others can not be declared: these are what the first version had.  TTL: 30 days in milliseconds."""
    both = {"x-queue-type": "quorum", "x-overflow": "reject-publish", "x-delivery-limit": 1_000_000}
    assert both == queue.QUEUE_ARGUMENTS
    assert {**both, "x-message-ttl": 2_592_000_000} == queue.DEAD_ARGUMENTS
