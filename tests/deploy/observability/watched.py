"""A whole Hitline that a Prometheus with the project's rules watches: every part is this stack's own, to be killed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQNode
from tests import parts, services
from tests.deploy.observability import shortened
from tests.deploy.observe.instance import fill
from tests.file_server import DROP, DROP6, HOSTS, SOURCES, FileServer
from tests.prometheus import Alertmanager, PrometheusProcess
from tests.redis import RedisProcess
from tests.services import Service, System

ROLLUP = [sys.executable, "-c", "from deploy.cli import main; main()", "rollup", "--every", "1"]


@dataclass
class Watched:
    """The system, what watches it, and further processes by the job that Prometheus scrapes them as."""

    system: System
    redis: RedisProcess
    prometheus: PrometheusProcess
    alertmanager: Alertmanager
    #: Where feeds come from.
    files: FileServer
    #: Where the broker's management API is.
    broker_api: str
    processes: dict[str, list[Service]] = field(default_factory=dict)

    def start(self, job: str, name: str, command: Sequence[str] = (), **settings: str) -> Service:
        """Start a process with further settings, by name without the prefix, and have it scraped."""
        env = {**self.system.env, **{f"HITLINE_{key}": value for key, value in settings.items()}}
        log = self.system.logs / f"{job}-{len(self.processes.get(job, []))}.log"
        process = Service(name, env, log, command)
        self.processes.setdefault(job, []).append(process)
        process.start()
        self.look_again()
        return process

    def end(self, job: str, process: Service) -> None:
        """End a process for good, which nobody scrapes any more."""
        self.processes[job].remove(process)
        self.look_again()
        process.end()

    def end_all(self) -> None:
        for processes in self.processes.values():
            for process in processes:
                process.end()

    def serve_feeds(self) -> None:
        """Serve a sound list for each feed."""
        lists = {"drop_v4.json": DROP, "drop_v6.json": DROP6, "referrer_spam.txt": HOSTS, **SOURCES}
        for file, body in lists.items():
            self.files.put(file, body)

    def look_again(self) -> None:
        """Tell Prometheus the ports of all processes."""
        for job, processes in self.processes.items():
            self.prometheus.watch(job, *(process.admin_port for process in processes if process.admin_port))


@contextmanager
def broker_with_metrics(directory: Path) -> Iterator[tuple[RabbitMQNode, int, int]]:
    """Run a broker with Prometheus' and the management plugin; yields it and the ports of both."""
    prometheus, management = free_port(), free_port()
    config = {
        "prometheus.tcp.ip": "127.0.0.1",
        "prometheus.tcp.port": str(prometheus),
        "management.tcp.ip": "127.0.0.1",
        "management.tcp.port": str(management),
    }
    plugins = ["rabbitmq_management", "rabbitmq_prometheus"]  # as in the compose file's enabled_plugins
    node = RabbitMQNode(directory, config=config, plugins=plugins)
    node.start()
    try:
        parts.run_apart(lambda: parts.empty_queues(node.amqp_url))
        node.sync_new_queues()
        yield node, prometheus, management
    finally:
        node.stop()


@contextmanager
def watched(directory: Path) -> Iterator[Watched]:
    """Run all of it: broker, ClickHouse, Redis, gateway, worker, rollup, Prometheus, Alertmanager."""
    with ExitStack() as stack:
        node, broker_metrics, management = stack.enter_context(broker_with_metrics(directory / "broker"))
        clickhouse = stack.enter_context(ClickHouseProcess(directory / "clickhouse"))
        parts.run_apart(lambda: parts.apply_schema(clickhouse.url))
        redis = RedisProcess(directory)
        redis.start()
        stack.callback(redis.kill)
        fill(directory / "system" / "state")
        (directory / "spam").mkdir()
        system = stack.enter_context(
            services.system(
                clickhouse, node, directory / "system", rate_limit_storage=redis.url, confirm_seconds="1",
                spam_dir=str(directory / "spam"),
            )
        )  # fmt: skip
        alertmanager = Alertmanager(directory / "alertmanager").start()
        stack.callback(alertmanager.stop)
        prometheus = PrometheusProcess(directory / "prometheus", shortened.alerts(), alertmanager.port).start()
        stack.callback(prometheus.stop)
        files = FileServer()
        stack.callback(files.close)
        at = urlsplit(node.amqp_url)
        broker_api = f"http://{at.username}:{at.password}@127.0.0.1:{management}"
        running = Watched(system, redis, prometheus, alertmanager, files, broker_api)
        running.processes = {"hitline-gateway": [system.gateway], "hitline-worker": list(system.workers)}
        stack.callback(running.end_all)
        running.start("hitline-rollup", "rollup", ROLLUP)
        prometheus.watch("rabbitmq", broker_metrics)
        services.wait_for(lambda: len(prometheus.query("up == 1")) == 4)
        services.wait_for(lambda: not prometheus.get("alerts")["alerts"])  # of before all had started
        alertmanager.changes.clear()
        yield running
