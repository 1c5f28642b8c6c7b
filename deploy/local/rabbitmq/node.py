"""A private RabbitMQ node: the installed broker, run as this user, with its own directory and ports."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local import processes
from deploy.local.ports import LOOPBACK, free_port, is_taken, wait_until_free
from deploy.local.rabbitmq.epmd import Epmd
from deploy.local.rabbitmq.files import Secrets, environment, script_dir, write_config, write_private

_START_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 30.0
_SECRETS = "secrets.json"


class RabbitMQNode:
    """A node bound to 127.0.0.1, with a user, a cookie and an `epmd` of its own.

    It writes only under `path`; a second start on the same path has the same data, user and, if they are still free,
    ports. Nodes on one machine do not see each other unless `sibling` made them.
    """

    kind = "a private node"

    def __init__(
        self,
        path: Path,
        name: str = "hitline",
        config: Mapping[str, str] | None = None,
        port: int = 0,
        plugins: Sequence[str] = (),
    ) -> None:
        """`config`: more keys of rabbitmq.conf. `port`: for AMQP; 0: the last one, or a free one."""
        self.path = path.resolve()
        # Not the machine's host name, which does not resolve on some machines.
        self.name = f"{name}@localhost"
        self._config = dict(config or {})
        self._plugins = tuple(plugins)
        self._wanted_port = port
        self._secrets: Secrets | None = None
        self._epmd = Epmd(self.path)
        self._process: subprocess.Popen[bytes] | None = None
        self._amqp_port = 0
        self._dist_port = 0

    def sibling(self, path: Path, name: str) -> RabbitMQNode:
        """Return a node that can `join` this one: same cookie, user and `epmd`, everything else its own."""
        other = RabbitMQNode(path, name, self._config)
        other.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._load_secrets().keep_in(other.path / _SECRETS)
        other._epmd = self._epmd
        return other

    @property
    def amqp_url(self) -> str:
        """The address for clients, with the password: not for logs."""
        kept = self._load_secrets()
        return f"amqp://{kept.user}:{kept.password}@{LOOPBACK}:{self._amqp_port}/"

    def owns(self, url: str) -> bool:
        """Return whether an AMQP address is this node's, of this or an earlier start: it has the node's password."""
        return urlsplit(url).password == self._load_secrets().password

    @property
    def place(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self._amqp_port}"

    @property
    def running(self) -> bool:
        """Whether the node's process is alive; AMQP may not answer yet."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """The last lines of its output and log."""
        files = (self.path / "log" / name for name in ("console.log", "rabbit.log"))
        return "\n".join(processes.tail(file) for file in files)

    @property
    def pid(self) -> int:
        """The process id of the Erlang VM; raises RuntimeError when it is not running."""
        if self._process is None or not self.running:
            raise RuntimeError(f"{self.name} is not running: call start()")
        if processes.command_name(self._process.pid).startswith("beam"):
            return self._process.pid
        return next(iter(self._beams()), self._process.pid)

    def start(self) -> None:
        """Start the node and wait until AMQP answers; raises RuntimeError with its last log lines."""
        self.spawn()
        self.wait_until_ready()

    def spawn(self) -> None:
        """Start the node without waiting, so that other things can start meanwhile."""
        if self.running:
            return
        if (scripts := script_dir()) is None:
            raise RuntimeError("RabbitMQ is not installed: install the package rabbitmq-server")
        self._stop_leftover()
        kept = self._load_secrets()
        self._choose_ports()
        write_config(self.path, kept, self._amqp_port, self._config, self._plugins)
        self._epmd.acquire(self._part)
        with (self.path / "log" / "console.log").open("wb") as console:
            self._process = processes.spawn(
                [str(scripts / "rabbitmq-server")], self._part, self._environment(), console, cwd=self.path
            )

    def wait_until_ready(self) -> None:
        """Wait until AMQP answers, about 6 s after `spawn`."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self.running:
            if answers_amqp(LOOPBACK, self._amqp_port):
                return
            time.sleep(0.1)
        logs = self._errors() or self.log
        self.kill()
        self._epmd.release(self._part)
        raise RuntimeError(f"RabbitMQ did not start in {self.path}. Its log says:\n{logs}")

    def stop(self, grace_s: float = _STOP_TIMEOUT_S) -> None:
        """Stop the node cleanly, with all of its processes and `epmd`. Idempotent."""
        # By the mark, not by self._process: a signal may have come before that was assigned.
        processes.stop_part(self._part, grace_s, first=self._beams())
        if self._process is not None:
            self._process.wait(10)
            self._process = None
        self._epmd.release(self._part)

    def kill(self) -> None:
        """Send SIGKILL to the Erlang VM, as a crash would end it; the next `start` finds what was on the disk."""
        if self._process is None:
            return
        with contextlib.suppress(RuntimeError):
            processes.send(self.pid, signal.SIGKILL)
        self._process.wait(10)
        self._process = None
        # Its helper processes end by themselves; wait, so that the next start does not meet them.
        processes.stop_part(self._part, grace_s=2)

    def ctl(self, *arguments: str, timeout_s: float = 60) -> str:
        """Run `rabbitmqctl` against the node (about a second) and return its output.

        Raises RuntimeError with the output when it fails.
        """
        if (scripts := script_dir()) is None:
            raise RuntimeError("RabbitMQ is not installed: install the package rabbitmq-server")
        done = subprocess.run(
            [str(scripts / "rabbitmqctl"), *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {arguments[0]} failed on {self.name}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def sync_new_queues(self) -> None:
        """Make queues that were just declared survive a `kill`, with their messages (takes half a second).

        RabbitMQ 3.10 writes the name of a new quorum queue to disk up to 3 s later; killed before that, it discards
        the queue's part of the log at the next start, confirmed messages included (tried).
        """
        self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")

    def join(self, other: RabbitMQNode) -> None:
        """Join the cluster of `other`: this node is running, empty, and a `sibling` of it."""
        if other._epmd is not self._epmd:
            raise ValueError(f"{self.name} cannot join {other.name}: make it with other.sibling(path, name)")
        self.ctl("stop_app")
        self.ctl("join_cluster", other.name)
        self.ctl("start_app")

    @property
    def _part(self) -> str:
        return str(self.path)

    def _load_secrets(self) -> Secrets:
        if self._secrets is None:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._secrets = Secrets.kept_in(self.path / _SECRETS)
        return self._secrets

    def _environment(self) -> dict[str, str]:
        return environment(self.path, self.name, self._epmd.port, self._dist_port)

    def _stop_leftover(self) -> None:
        """Stop a node that a killed launcher left in this directory: two would corrupt the data."""
        processes.stop_part(self._part, _STOP_TIMEOUT_S, first=self._beams())
        self._epmd.stop_leftover()

    def _errors(self) -> str:
        """Return the first errors of a failed start: those that follow are their consequence."""
        lines = processes.tail(self.path / "log" / "console.log", lines=500).splitlines()
        return "\n".join([line for line in lines if "[error]" in line][:15])

    def _beams(self) -> list[int]:
        pids = processes.pids_of(self._part)
        return [pid for pid in pids if processes.command_name(pid).startswith("beam")]

    def _choose_ports(self) -> None:
        """Use the last start's ports if they are free, so that a kept URL stays valid; else new ones."""
        file = self.path / "ports.json"
        kept = json.loads(file.read_text()) if file.exists() else {}
        amqp = self._amqp_port or self._wanted_port or kept.get("amqp", 0)
        dist = self._dist_port or kept.get("dist", 0)
        if amqp and amqp == self._wanted_port and not wait_until_free(amqp, 5):
            raise RuntimeError(f"port {amqp} is taken: RabbitMQ cannot listen on it")
        self._amqp_port = amqp if amqp and wait_until_free(amqp, 2) else free_port({self._epmd.port})
        taken = {self._epmd.port, self._amqp_port}
        self._dist_port = dist if dist and not is_taken(dist) else free_port(taken)
        write_private(file, json.dumps({"amqp": self._amqp_port, "dist": self._dist_port}))


def answers_amqp(host: str, port: int, timeout_s: float = 5) -> bool:
    """Return whether an AMQP 0-9-1 broker is there: it answers the header with a method frame (section 4.2.2)."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
