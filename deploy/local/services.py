"""A process of the local stack: start it with its output in a log file, ask whether it is ready, stop it."""

from __future__ import annotations

import http.client
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.local import log_files, processes
from deploy.local.failure import SetupError
from deploy.local.ports import LOOPBACK, is_taken
from shared.clickhouse_address import BadAddress, parse_address

ROOT = Path(__file__).resolve().parents[2]


class ServiceError(RuntimeError):
    """A process ended or did not become ready; the text has its last lines."""


class Service:
    """A command that runs until it is stopped; most have an HTTP port that answers once they are ready."""

    def __init__(
        self,
        name: str,
        command: list[str],
        directory: Path,
        ready: tuple[int, str] | None,
        death_signal: signal.Signals = signal.SIGTERM,
        serves: int | None = None,
    ) -> None:
        """`directory`: the stack's, for the log. `ready`: a port and path that answer 200 once it is; None: at once.

        `serves`: another port that it must listen on, since the one of `ready` may come up a moment earlier.
        """
        self.name = name
        self.log_file = directory / "logs" / f"{name}.log"
        self._command = command
        self._part = f"{directory.resolve()}/{name}"
        self._ready = ready
        self._death_signal = death_signal
        self._serves = serves
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def spawn(self, env: Mapping[str, str]) -> None:
        """Start it without waiting."""
        self.log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = processes.spawn(self._command, self._part, env, log, self._death_signal, cwd=ROOT)

    def wait_until_ready(self, timeout_s: float = 60) -> None:
        """Wait until it is ready; raises ServiceError with its last lines when it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not self._is_ready():
            if not self.running:
                raise ServiceError(f"{self.name} ended before it was ready. {self.last_lines}")
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name} is not ready after {timeout_s:.0f} s. {self.last_lines}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        return (self._ready is None or answers_ok(*self._ready)) and (self._serves is None or is_taken(self._serves))

    def rotate_log(self) -> None:
        """Move a large log's lines aside."""
        if log_files.rotate(self.log_file):
            self._log_start = 0

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def last_lines(self) -> str:
        """The end of its log since it was started, and the file with the rest."""
        return f"The end of {self.log_file}:\n{processes.tail(self.log_file, start=self._log_start)}"

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError when it is not running."""
        if self._process is None or not self.running:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    def stop(self, grace_s: float) -> None:
        """Send SIGTERM, and SIGKILL after `grace_s`, also to a process left by a killed launcher. Idempotent."""
        first = [self._process.pid] if self._process is not None else []
        processes.stop_part(self._part, grace_s, first)
        if self._process is not None:
            self._process.wait(10)
            self._process = None


def answers_ping(url: str) -> bool:
    """Return whether a ClickHouse answers at this URL; user and password are not checked."""
    try:
        address = parse_address(url)
    except BadAddress as error:
        raise SetupError(str(error)) from None
    kind = http.client.HTTPSConnection if address.secure else http.client.HTTPConnection
    return _answers(kind(address.host, address.port, timeout=3), "/ping")


def answers_ok(port: int, path: str) -> bool:
    """Return whether GET on a local port answers 200, bypassing any configured proxy."""
    return _answers(http.client.HTTPConnection(LOOPBACK, port, timeout=2), path)


def _answers(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
