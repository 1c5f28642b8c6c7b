"""Choose the local stack's RabbitMQ: the user's own, a private node, or a container."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import aio_pika

from deploy.local import apt
from deploy.local.failure import SetupError
from deploy.local.rabbitmq.docker import DockerBroker, usable
from deploy.local.rabbitmq.files import script_dir
from deploy.local.rabbitmq.node import RabbitMQNode

_PACKAGE = "rabbitmq-server"
_REFUSED = (aio_pika.exceptions.AuthenticationError, aio_pika.exceptions.ProbableAuthenticationError)
_UNITS = ["rabbitmq-server.service", "epmd.service", "epmd.socket"]
_WHAT_TO_INSTALL = (
    "RabbitMQ is missing: install the package rabbitmq-server (as root, `make run` does), or Docker, "
    "or set HITLINE_AMQP_URL to a broker that is reachable"
)


class Broker(Protocol):
    """What the stack needs of any broker."""

    @property
    def kind(self) -> str:
        """What kind of broker it is, for display."""

    @property
    def place(self) -> str:
        """Host and port."""

    @property
    def amqp_url(self) -> str:
        """The address for clients, with the password: not for logs."""

    @property
    def running(self) -> bool:
        """False once it has died unexpectedly."""

    @property
    def log(self) -> str:
        """The last lines of its log."""

    def spawn(self) -> None:
        """Start it, without waiting."""

    def wait_until_ready(self) -> None:
        """Wait until AMQP answers."""

    def stop(self, grace_s: float = 30) -> None:
        """Stop it, if the stack started it."""


class GivenBroker:
    """The broker of HITLINE_AMQP_URL, which the stack neither starts nor stops."""

    running = True  # whether it is up is the gateway's concern: it answers 503 while the broker is down
    log = ""
    kind = "yours (HITLINE_AMQP_URL)"

    def __init__(self, amqp_url: str) -> None:
        """`amqp_url`: one address or several, as in the setting."""
        self.amqp_url = amqp_url
        self.place = ", ".join(map(host_and_port, _addresses(amqp_url)))

    def spawn(self) -> None:
        """Nothing to start."""

    def wait_until_ready(self) -> None:
        """Nothing to wait for."""

    def stop(self, grace_s: float = 30) -> None:
        """Nothing to stop."""


def choose(path: Path, given_url: str | None, say: Callable[[str], None]) -> Broker:
    """Return the broker to use, not yet started; a private one keeps its data in `path`. Raises SetupError."""
    if given_url:
        if reason := why_unusable(given_url):
            say(f"HITLINE_AMQP_URL is set but not usable: {reason}. Using a private RabbitMQ instead.")
        else:
            return GivenBroker(given_url)
    if script_dir() is None and not apt.can_install() and usable():
        return DockerBroker(path / "docker")
    ensure_rabbitmq(say)
    return RabbitMQNode(path)


def ensure_rabbitmq(say: Callable[[str], None] = print) -> None:
    """Make sure that a private node can be started: as root, install the package. Raises SetupError."""
    if script_dir() is not None:
        return
    if not apt.can_install():
        raise SetupError(_WHAT_TO_INSTALL)
    apt.install(_PACKAGE, _UNITS, say)
    if script_dir() is None:
        raise SetupError(f"{_PACKAGE} is installed, but its scripts are not found. {_WHAT_TO_INSTALL}")


def why_unusable(urls: str) -> str:
    """Return what is wrong with every address, without passwords; empty when one of them lets us in."""
    reasons = []
    for url in _addresses(urls):
        if not (reason := asyncio.run(_try_to_connect(url))):
            return ""
        reasons.append(f"{host_and_port(url)}: {reason}")
    return "; ".join(reasons)


async def _try_to_connect(url: str) -> str:
    try:
        connection = await aio_pika.connect(url, timeout=5)
    except (OSError, TimeoutError, ValueError, aio_pika.exceptions.AMQPError) as error:
        return _describe(error)
    await connection.close()
    return ""


def _describe(error: Exception) -> str:
    """Return a description that is safe to show: the texts of some errors contain the whole URL."""
    if isinstance(error, TimeoutError):
        return "no answer within 5 s"
    if isinstance(error, _REFUSED):
        return "user or password refused"
    if isinstance(error, ConnectionError | aio_pika.exceptions.AMQPConnectionError):
        return "nothing answers AMQP there"
    return type(error).__name__


def host_and_port(url: str) -> str:
    """Return a URL's host and port, without user and password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"


def _addresses(urls: str) -> list[str]:
    return urls.replace(",", " ").split()
