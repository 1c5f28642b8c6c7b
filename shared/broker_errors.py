"""What a failure of the broker's connection means, and what to do about it, in one line for logs.

The broker's own texts name queues, virtual hosts and users; passwords, visitors and messages are in none of them.
"""

from __future__ import annotations

from typing import Final

from aio_pika.exceptions import (
    AMQPConnectionError,
    AMQPError,
    AuthenticationError,
    ChannelClosed,
    ChannelNotFoundEntity,
    ConnectionClosed,
    InvalidFrameError,
    ProbableAuthenticationError,
)

#: RabbitMQ's words for a delivery that was not acknowledged within its `consumer_timeout`.
_TIMED_OUT: Final = "delivery acknowledgement on channel"
_URL: Final = "HITLINE_AMQP_URL"
_MIGRATE: Final = "create it with: hitline migrate"


class VirtualHostRefused(ConnectionError):
    """The virtual host in the address does not exist, or is not this user's."""


class NotAMQP(ConnectionError):
    """Something else than a broker answers at the address."""


def as_connection_failure(error: Exception, vhost: str) -> Exception:
    """Return the error that callers of `queue.connect` expect; raises any that is not the other side's fault.

    The library fails in many ways when it talks to something that is not a broker: a proxy that hangs up at once,
    because its backend is down, may end in `StopAsyncIteration`, and bytes that are not AMQP in any parser error.
    """
    # The answer to Connection.Open: the library says only that it was a Close, not why.
    if isinstance(error, InvalidFrameError) and "Connection.OpenOk" in str(error) and "Connection.Close" in str(error):
        return VirtualHostRefused(
            f"the virtual host {vhost!r} does not exist, or the user may not use it; check the path of {_URL}, or run"
            " rabbitmqctl add_vhost and set_permissions"
        )
    if isinstance(error, (AMQPError, OSError)):  # OSError includes TimeoutError and ConnectionError
        return error
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        raise error
    return NotAMQP(f"the server at this address does not speak AMQP ({type(error).__name__}); check {_URL}")


def explain(error: BaseException) -> str:
    """Return one line: what went wrong between a process and the broker, and what to do where something is to do."""
    if isinstance(error, (ProbableAuthenticationError, AuthenticationError)):
        return f"the broker refuses the user or password: check {_URL}"
    if isinstance(error, (VirtualHostRefused, NotAMQP)):
        return str(error)
    if isinstance(error, ChannelClosed):
        return _explain_channel(error)
    if isinstance(error, ConnectionClosed):
        return f"the broker closed the connection ({_text(error)})"
    if isinstance(error, TimeoutError):
        return f"no answer from the broker: is it up, and {_URL} correct?"
    if isinstance(error, (AMQPConnectionError, OSError)):
        return f"the broker can't be reached ({type(error).__name__}): is it running, and {_URL} correct?"
    return type(error).__name__


def explain_lost_channel(error: BaseException | None) -> str:
    """Return why a consuming channel was lost; None: the broker cancelled the consumer, and says nothing more."""
    if error is None:
        return (
            "the broker cancelled the consumer: the queue was deleted (see hitline migrate), its leader moved, or"
            " messages were unacknowledged for longer than its consumer timeout (RabbitMQ 4.3 and later); they are"
            " delivered again"
        )
    return explain(error)


def _explain_channel(error: ChannelClosed) -> str:
    text = _text(error)
    if _TIMED_OUT in text:
        return (
            "the broker closed the channel, since messages were unacknowledged for longer than its consumer_timeout;"
            " they are delivered again (is ClickHouse away, or is the worker paused?)"
        )
    if isinstance(error, ChannelNotFoundEntity):
        return f"the broker has no such queue or exchange ({text}); {_MIGRATE}"
    if text.startswith("ACCESS_REFUSED"):
        return f"the user lacks a permission ({text}); see rabbitmqctl set_permissions"
    return f"the broker closed the channel ({text})"


def _text(error: BaseException) -> str:
    """Return the broker's own words, such as `NOT_FOUND - no queue 'hitline.pageviews' in vhost '/'`."""
    words = [str(each) for each in error.args if isinstance(each, str)]
    return words[-1] if words else type(error).__name__
