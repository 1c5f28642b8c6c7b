"""Hitline's own processes as tests start them, and a client that posts to them."""

from __future__ import annotations

import datetime
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQNode
from shared.clickhouse import ClickHouse
from shared.pageview import MANAGE_DATA
from shared.registry import Client, Grant, Site, store, token_hash
from tests import http, parts
from tests.fork_server import Forked, ForkServer

USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


ROOT = Path(__file__).parents[1]
#: By program, where processes are forks: in the suite, as conftest.py says, and not where starts are measured.
FORK_SERVERS: dict[str, ForkServer] = {}
#: How long the start of a process may take: a second where nothing else runs, much longer with a load of 50.
START_S = 180.0


class Service:
    """A gateway or worker process; `port` and `admin_port` are known once it is started."""

    _PORTS = re.compile(r"(?:listening on \S+:(\d+), )?admin port (\d+)")

    def __init__(
        self, name: str, env: Mapping[str, str], log: Path, command: Sequence[str] = (), cwd: Path = ROOT
    ) -> None:
        """`command`: what starts it, where that is not this repository's `python -m NAME`."""
        self.name = name
        self.env = dict(env)
        self.log = log
        self.command = list(command) or [sys.executable, "-m", name]
        self._is_ours = not command and cwd == ROOT
        self._cwd = cwd
        self.port = 0
        self.admin_port = 0
        self._process: subprocess.Popen[bytes] | Forked | None = None

    def start(self) -> Service:
        """Start and wait until it says which ports it has."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.name == "gateway" and self.env.get("HITLINE_HTTP_PORT") == "0":
            # The next start has it at the same place; what the kernel would choose may be a connection's meanwhile.
            self.env["HITLINE_HTTP_PORT"] = str(free_port())
        began = self.log.stat().st_size if self.log.exists() else 0
        if self._is_ours and self.name in FORK_SERVERS:
            self._process = FORK_SERVERS[self.name].start((), self.env, {1: self.log, 2: self.log})
        else:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self.command, env=self.env, stderr=log, stdin=subprocess.DEVNULL, cwd=self._cwd
                )  # fmt: skip
        try:
            found = wait_for(lambda: self._PORTS.search(self.text()[began:]) or self._ended(), START_S)
        except BaseException:
            self.end()  # the caller can't: it has not been returned yet
            raise
        if isinstance(found, str):
            raise RuntimeError(f"{self.name} ended with {found}: {self.text()}")
        self.port, self.admin_port = int(found[1] or 0), int(found[2])
        return self

    def _ended(self) -> str | None:
        code = self._process.poll() if self._process else None
        return None if code is None else f"exit code {code}"

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def resident_mib(self) -> float:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self, timeout_s: float = 90.0) -> int:
        """SIGTERM and wait; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def taken(self) -> int:
        """Return how many messages a worker was given in all its lives that it drained at the end of."""
        return sum(map(int, re.findall(r"drained in \S+ s; (\d+) messages received", self.text())))

    def end(self) -> None:
        if self.running:
            self.kill()


@contextmanager
def service(name: str, env: Mapping[str, str], log: Path) -> Iterator[Service]:
    running = Service(name, env, log)
    try:
        yield running.start()
    finally:
        running.end()


def hitline(env: Mapping[str, str], *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a `hitline` command."""
    if "hitline" in FORK_SERVERS:
        return _forked_hitline(env, arguments, check=check)
    return subprocess.run(
        [sys.executable, "-c", "from deploy.cli import main; main()", *arguments],
        env=dict(env), check=check, text=True, capture_output=True, timeout=START_S, cwd=ROOT,
    )  # fmt: skip


def _forked_hitline(
    env: Mapping[str, str], arguments: Sequence[str], *, check: bool
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as directory:
        out, errors = Path(directory, "out"), Path(directory, "errors")
        code = FORK_SERVERS["hitline"].start(arguments, env, {1: out, 2: errors}).wait(START_S)
        done = subprocess.CompletedProcess(["hitline", *arguments], code, out.read_text(), errors.read_text())
    if check:
        done.check_returncode()
    return done


def add_client(env: Mapping[str, str], name: str, *grants: str, rate: str = "1000000/second") -> str:
    """Register an API client and return its token."""
    options = [option for grant in grants for option in ("--grant", grant)]
    return json.loads(hitline(env, "client", "add", name, *options, "--rate", rate, "--json").stdout)["token"]


#: Between two looks of `wait_for`: soon at first, then less often.  Most looks are queries, which take processor time
#: from what is waited for.
_FIRST_LOOK_S, _LAST_LOOK_S = 0.05, 0.4


def wait_for(look: Any, timeout_s: float = 60.0) -> Any:
    """Call `look` until it returns something true, and return that; raises `TimeoutError`."""
    deadline = time.monotonic() + timeout_s
    pause_s = _FIRST_LOOK_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.25, _LAST_LOOK_S)
    raise TimeoutError(f"the condition did not hold within {timeout_s:.0f} s")


def pageview(**fields: Any) -> dict[str, Any]:
    """Return a valid pageview; a field of `...` is left out."""
    now = datetime.datetime.now(datetime.UTC)
    full = {
        "url": "https://example.com/page",
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "visitor_ip": "198.51.100.23",
        "user_agent": USER_AGENT,
        **fields,
    }
    return {name: value for name, value in full.items() if value is not ...}


def ids() -> dict[str, str]:
    return {"session_id": str(uuid.uuid4()), "page_id": str(uuid.uuid4())}


def count(clickhouse: ClickHouseProcess, table: str = "pageviews", where: str = "1") -> int:
    return int(parts.execute(clickhouse, f"SELECT count() FROM hitline.{table} WHERE {where}"))


def rows(clickhouse: ClickHouseProcess, sql: str) -> list[dict[str, Any]]:
    answer = parts.execute(clickhouse, f"{sql} FORMAT JSONEachRow")
    return [json.loads(line) for line in answer.splitlines()]


@contextmanager
def own_broker(directory: Path) -> Iterator[RabbitMQNode]:
    """Run a broker that a test may stop and kill, with the topology declared and on disk."""
    node = RabbitMQNode(directory)
    node.start()
    try:
        parts.run_apart(lambda: parts.empty_queues(node.amqp_url))
        node.sync_new_queues()
        yield node
    finally:
        node.stop()


@dataclass
class System:
    """A whole Hitline: the real parts, a gateway, workers, and clients' tokens."""

    clickhouse: ClickHouseProcess
    broker: RabbitMQNode
    env: dict[str, str]
    logs: Path
    gateway: Service
    token: str
    workers: list[Service] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.gateway.port

    def post(self, body: Any = None, token: str | None = None, **fields: Any) -> http.Answer:
        """Post one pageview (a valid one with `fields` set, unless `body` is given) as the usual client."""
        return http.request(self.port, body=pageview(**fields) if body is None else body, token=token or self.token)

    def add_worker(self, **settings: str) -> Service:
        env = {**self.env, **{f"HITLINE_{name.upper()}": value for name, value in settings.items()}}
        worker = Service("worker", env, self.logs / f"worker-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker.start()

    def outcomes(self) -> dict[str, int]:
        """Return the pageviews by outcome, from ClickHouse."""
        sql = "SELECT outcome, sum(pageviews) AS number FROM hitline.outcomes GROUP BY outcome"
        return {row["outcome"]: int(row["number"]) for row in rows(self.clickhouse, sql)}

    def wait_for_outcomes(self, total: int, timeout_s: float = 120.0) -> dict[str, int]:
        """Wait until `total` pageviews have come to an end, and return how."""
        wait_for(lambda: sum(self.outcomes().values()) >= total, timeout_s)
        return self.outcomes()

    def messages(self) -> int:
        """Return how many messages outcomes were counted of; each counts once, however often it was delivered."""
        return int(parts.execute(self.clickhouse, "SELECT uniqExact(batch_id) FROM hitline.outcomes_raw"))

    def end(self) -> None:
        for process in (self.gateway, *self.workers):
            process.end()


async def _register(clickhouse_url: str) -> str:
    """Do what `hitline site add` and `client add` do, without a second of starting them; returns the token."""
    token = f"hl_{secrets.token_urlsafe(32)}"
    hostnames = ("example.com", "alias.example", "*.wild.example.org")
    site = Site(uuid.uuid4().bytes, hostnames[0], hostnames)
    client = Client(uuid.uuid4().bytes, "tests", "1000000/second", token_hash(token))
    clickhouse = ClickHouse(clickhouse_url, "hitline tests")
    await store.put(clickhouse, site, client, Grant(client.client_id, MANAGE_DATA, site.site_id))
    await clickhouse.close()
    return token


@contextmanager
def system(
    clickhouse: ClickHouseProcess, broker: RabbitMQNode, directory: Path, *, workers: int = 1, **settings: str
) -> Iterator[System]:
    """Run a system with the site `example.com` (and `*.wild.example.org`) on parts that have schema and topology."""
    chosen = {"FLUSH_SECONDS": "0.1", **{name.upper(): value for name, value in settings.items()}}
    env = parts.make_env(directory / "state", clickhouse, broker, **chosen)
    token = parts.run_apart(lambda: _register(clickhouse.url))
    running = System(
        clickhouse, broker, env, directory / "logs", Service("gateway", env, directory / "logs/gateway.log"), token
    )
    try:
        running.gateway.start()
        for _ in range(workers):
            running.add_worker()
        wait_for(lambda: http.ready(running.gateway.admin_port))
        yield running
    finally:
        running.end()
