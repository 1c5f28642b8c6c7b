"""A private Redis or Valkey for tests of shared rate limits."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from deploy.local.ports import free_port
from tests.programs import REDIS, path_of


class RedisProcess:
    """One server that keeps nothing on disk."""

    def __init__(self, directory: Path) -> None:
        self._program = path_of(REDIS)
        self._directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=self._directory, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("redis did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
