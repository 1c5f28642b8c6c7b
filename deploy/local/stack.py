"""The local stack: its parts, and the order in which they start and stop."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.local import broker, demo
from deploy.local.broker import Broker
from deploy.local.demo import hitline_command
from deploy.local.environment import (
    CLICKHOUSE_PASSWORD,
    Ports,
    clickhouse_url,
    of_caller,
    read_env,
    settings,
    write_env,
)
from deploy.local.geo import GeoUpdate
from deploy.local.ports import LOOPBACK
from deploy.local.rabbitmq.node import RabbitMQNode
from deploy.local.services import Service, ServiceError, answers_ping
from shared.clickhouse_address import parse_address
from shared.settings import PREFIX

# How long each part may take to stop by itself: a worker flushes its batch, a broker closes its files.
_GATEWAY_GRACE_S, _WORKER_GRACE_S, _STORE_GRACE_S = 15.0, 40.0, 30.0
# How often the rollups are brought up to date, in seconds.
_ROLLUP_S = 30


class Stack:
    """Broker, ClickHouse, gateway, worker and rollups of one directory."""

    def __init__(self, directory: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        """`directory`: for all data, logs and secrets. Raises SetupError for wrong settings."""
        self.directory = directory
        self.ports = Ports.chosen_by(environ)
        self._say = say
        self._env_file = directory / "env"
        self._kept = read_env(self._env_file)
        self._caller = of_caller(environ)
        self.settings = settings(self._caller, self._kept, self.ports, directory)
        self._private_broker = RabbitMQNode(directory / "rabbitmq")
        self.broker: Broker = self._private_broker
        self._geo = GeoUpdate(directory)
        self.clickhouse: Service | None = self._embedded_clickhouse()
        self.gateway = self._hitline("gateway", self.ports.admin, self.ports.http)
        self.worker = self._hitline("worker", self.ports.worker_admin)
        keep = hitline_command("rollup", "--every", str(_ROLLUP_S))
        self.rollup = Service("rollup", keep, directory, None, signal.SIGKILL)

    def start(self) -> None:
        """Start everything and wait until it is ready. Raises SetupError, ServiceError or RuntimeError."""
        self.stop()  # what a killed launcher may have left running
        if self._has_clickhouse():
            self.clickhouse = None
        self.ports.check_free(embedded_clickhouse=self.clickhouse is not None)
        self.broker = broker.choose(self.directory / "rabbitmq", self._given_amqp_url(), self._say)
        self._start_stores()
        self._keep("HITLINE_AMQP_URL", self.broker.amqp_url)
        token = demo.prepare(self._environment(), self._kept.get("HITLINE_DEMO_TOKEN"), self._say)
        if isinstance(self.broker, RabbitMQNode):
            self.broker.sync_new_queues()
        self._keep("HITLINE_DEMO_TOKEN", token)
        self._geo.wait(self._say)
        self._start_hitline()

    def watch(self) -> None:
        """Never return; raises ServiceError with the last lines of a part that died."""
        while True:
            for service in filter(None, (self.clickhouse, self.worker, self.gateway, self.rollup)):
                service.rotate_log()
                if not service.running:
                    raise ServiceError(f"{service.name} died unexpectedly. {service.last_lines}")
            if not self.broker.running:
                raise ServiceError(f"RabbitMQ died unexpectedly. Its last lines:\n{self.broker.log}")
            time.sleep(0.5)

    def stop(self) -> None:
        """Stop everything: first what accepts pageviews, then what stores them, then the stores."""
        self._geo.stop()
        self.gateway.stop(_GATEWAY_GRACE_S)
        self.rollup.stop(_GATEWAY_GRACE_S)
        self.worker.stop(_WORKER_GRACE_S)
        if self.clickhouse is not None:
            self.clickhouse.stop(_STORE_GRACE_S)
        self.broker.stop(_STORE_GRACE_S)

    def _start_stores(self) -> None:
        """Start broker and ClickHouse at the same time, and download the geo databases meanwhile."""
        self._say("starting RabbitMQ and ClickHouse ...")
        self.broker.spawn()
        if self.clickhouse is not None:
            self.clickhouse.spawn(os.environ | {CLICKHOUSE_PASSWORD: self.settings[CLICKHOUSE_PASSWORD]})
        if "HITLINE_GEO_CITY_DB" not in self._caller:
            self._geo.spawn(self._environment())
        if self.clickhouse is not None:
            self.clickhouse.wait_until_ready()
        self.broker.wait_until_ready()

    def _start_hitline(self) -> None:
        self._say("starting gateway and worker ...")
        self.gateway.spawn(self._environment())
        admin_port = {"HITLINE_ADMIN_PORT": str(self.ports.worker_admin)}
        self.worker.spawn(self._environment() | admin_port)
        self.rollup.spawn(self._environment() | {"HITLINE_ADMIN_PORT": "0"})  # any: nothing here reads its metrics
        self.gateway.wait_until_ready()
        self.worker.wait_until_ready()

    def _has_clickhouse(self) -> bool:
        """Return whether the caller's HITLINE_CLICKHOUSE_URL answers; if not, replace it by the embedded one's."""
        given = self._caller.get("HITLINE_CLICKHOUSE_URL")
        embedded = clickhouse_url(self.ports.clickhouse, self.settings[CLICKHOUSE_PASSWORD])
        if given and answers_ping(given):
            return True
        if given and not self._is_embedded(given):
            self._say("HITLINE_CLICKHOUSE_URL is set but does not answer. Using an embedded ClickHouse instead.")
        self.settings["HITLINE_CLICKHOUSE_URL"] = embedded
        return False

    def _is_embedded(self, url: str) -> bool:
        """Return whether an address is the embedded ClickHouse's, of this or an earlier start or version."""
        ours = (f"http://{LOOPBACK}:{self.ports.clickhouse}", self._kept.get("HITLINE_CLICKHOUSE_URL"))
        return url in ours or parse_address(url).password == self.settings[CLICKHOUSE_PASSWORD]

    def _given_amqp_url(self) -> str | None:
        """Return the caller's broker, unless it is the private node itself: the shell may have sourced `.local/env`."""
        given = self._caller.get("HITLINE_AMQP_URL")
        return None if given and self._private_broker.owns(given) else given

    def _keep(self, name: str, value: str) -> None:
        self.settings[name] = value
        write_env(self._env_file, self.settings)

    def _environment(self) -> dict[str, str]:
        """Return the environment of the stack's processes: ours, with the stack's settings in place of the caller's."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return inherited | self.settings | {"PYTHONUNBUFFERED": "1"}

    def _hitline(self, name: str, admin_port: int, serves: int | None = None) -> Service:
        # Killed at once if the launcher dies: nothing is lost by that, and a worker that drains while broker and
        # ClickHouse stop as well would only linger.
        ready = (admin_port, "/readyz")
        return Service(name, hitline_command(name), self.directory, ready, signal.SIGKILL, serves)

    def _embedded_clickhouse(self) -> Service:
        port = self.ports.clickhouse
        data = str(self.directory / "clickhouse")
        command = [sys.executable, "-m", "deploy.local.clickhouse", "--path", data, "--port", str(port)]
        return Service("clickhouse", command, self.directory, (port, "/ping"))
