"""The broker as commands reach it: what keeps them from it is one line that says what to do."""

from __future__ import annotations

from collections.abc import Sequence

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ProbableAuthenticationError
from yarl import URL

from shared import queue


class BrokerError(Exception):
    """The broker can't be reached or refuses; the text says what to do and quotes no password."""


async def connect(urls: Sequence[str], name: str) -> AbstractConnection:
    """Connect to the first broker that answers; raises `BrokerError`."""
    try:
        hosts = ", ".join(f"{URL(url).host}:{URL(url).port or 5672}" for url in urls)
    except ValueError:
        raise BrokerError("HITLINE_AMQP_URL must look like amqp://user:password@host:5672/") from None
    try:
        return await queue.connect(urls, name)
    except ProbableAuthenticationError:
        raise BrokerError(f"the broker ({hosts}) refuses the user or the password: see HITLINE_AMQP_URL") from None
    except ValueError:
        raise BrokerError("HITLINE_AMQP_URL can't be used: look at what follows the ? in it") from None
    except (AMQPError, OSError, TimeoutError) as error:
        raise BrokerError(
            f"the broker ({hosts}) can't be reached or refuses the user: {type(error).__name__};"
            " is it running, and are user, virtual host and port of HITLINE_AMQP_URL right?"
        ) from None


def explain(error: AMQPError) -> str:
    """Return what an error on an open connection asks an operator to do."""
    if isinstance(error, ChannelNotFoundEntity):
        return "the broker has no such queue or exchange: run `hitline migrate`"
    return f"the broker refused or broke off ({type(error).__name__}): is it running, may the user read and write?"
