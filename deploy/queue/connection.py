"""Connecting commands to the broker; every failure is one line that says what to do."""

from __future__ import annotations

from collections.abc import Sequence

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ProbableAuthenticationError
from yarl import URL

from shared import queue
from shared.broker_errors import VirtualHostRefused


class BrokerError(Exception):
    """The broker can't be reached or refuses the request; the message says what to do and quotes no password."""


async def connect(urls: Sequence[str], name: str) -> AbstractConnection:
    """Connect to the first broker that answers; raises `BrokerError`."""
    try:
        hosts = ", ".join(f"{URL(url).host}:{URL(url).port or 5672}" for url in urls)
    except ValueError:
        raise BrokerError("HITLINE_AMQP_URL is malformed; use a URL like amqp://user:password@host:5672/") from None
    try:
        return await queue.connect(urls, name)
    except ProbableAuthenticationError:
        raise BrokerError(f"the broker ({hosts}) refuses the user or password: check HITLINE_AMQP_URL") from None
    except VirtualHostRefused as error:
        raise BrokerError(f"the broker ({hosts}): {error}") from None
    except ValueError:
        raise BrokerError("HITLINE_AMQP_URL has invalid options: check what follows the ? in it") from None
    except (AMQPError, OSError, TimeoutError) as error:
        raise BrokerError(
            f"the broker ({hosts}) can't be reached or refuses the user: {type(error).__name__};"
            " is it running, and are user, virtual host and port in HITLINE_AMQP_URL correct?"
        ) from None


def explain(error: AMQPError) -> str:
    """Return what an operator should do about an error on an open connection."""
    if isinstance(error, ChannelNotFoundEntity):
        return "the broker has no such queue or exchange: run `hitline migrate`"
    return (
        f"the broker refused the request or closed the connection ({type(error).__name__}):"
        " is it running, and may the user read and write?"
    )
