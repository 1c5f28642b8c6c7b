"""Starts and stops the embedded ClickHouse as a process."""

from __future__ import annotations

import os
import secrets
import selectors
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Self

_ROOT = Path(__file__).resolve().parents[3]


class ClickHouseProcess:
    """One embedded ClickHouse: `with ClickHouseProcess(path) as clickhouse: ... clickhouse.url`.

    `port` 0 picks a free one on the first start, and every restart keeps it. Without a `config_file` the only user is
    `default`, with a password that is generated, and contained in `url`.
    """

    #: What is started; tests have one of their own.
    module = "deploy.local.clickhouse"

    def __init__(self, path: Path, port: int = 0, config_file: Path | None = None, arguments: tuple[str, ...] = ()):
        self.path = path
        self.port = port
        self.config_file = config_file
        self.password = "" if config_file else secrets.token_urlsafe(24)
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens, without user and password, and without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address with user and password, for clients that take them from a URL."""
        return f"http://default:{self.password}@127.0.0.1:{self.port}" if self.password else self.address

    @property
    def credentials(self) -> dict[str, str]:
        """User and password as HTTP headers."""
        return {"X-ClickHouse-User": "default", "X-ClickHouse-Key": self.password} if self.password else {}

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError when it has not been started."""
        return self._running().pid

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start and wait until it answers; raises RuntimeError with its last lines if it does not."""
        if self._process is not None:
            if self._process.poll() is None:
                raise RuntimeError("ClickHouse has been started already")
            self._ended()
        command = [
            sys.executable,
            "-m",
            self.module,
            "--path",
            str(self.path),
            "--port",
            str(self.port),
            "--stop-on-eof",
        ]
        if self.config_file:
            command += ["--config-file", str(self.config_file)]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [*command, *self._arguments],
            stdin=subprocess.PIPE,  # never written: the server stops when it is closed
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
                "CLICKHOUSE_PASSWORD": self.password,
            },
        )
        line = self._first_line(timeout_s)
        if not line.startswith("ready "):
            self.kill()
            raise RuntimeError(f"ClickHouse did not start: {self.last_lines() or 'no line on stderr'}")
        self.port = int(line.rsplit(":", 1)[1])
        return self

    def stop(self, timeout_s: float = 30.0) -> int:
        """Send SIGTERM, wait, then SIGKILL; return the exit code. Idempotent."""
        if self._process is None:
            return 0
        process = self._process
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return self._ended()

    def kill(self) -> None:
        """Send SIGKILL, as a crash would end it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._ended()

    def restart(self) -> Self:
        """Stop it if it is running, and start it on the same port."""
        self.stop()
        return self.start()

    def last_lines(self, count: int = 20) -> str:
        """Return the last lines that it wrote to stderr."""
        if self._stderr is None:
            return ""
        self._stderr.seek(0)
        return b"\n".join(self._stderr.read().splitlines()[-count:]).decode(errors="replace")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("ClickHouse has not been started")
        return self._process

    def _ended(self) -> int:
        process = self._running()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
        self._process = None
        return process.returncode

    def _first_line(self, timeout_s: float) -> str:
        """Return the line that says it is ready; empty when it ended or took too long."""
        stdout = self._running().stdout
        assert stdout is not None  # noqa: S101 - it is a pipe
        end = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if selector.select(max(0.0, end - time.monotonic())):
                return stdout.readline().decode().strip()
        return ""
