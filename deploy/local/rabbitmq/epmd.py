"""A private Erlang port mapper, which neither uses the system's one nor collides with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from deploy.local import processes
from deploy.local.ports import LOOPBACK, free_port, is_taken


class Epmd:
    """An `epmd` on a port of its own, shared by a cluster's nodes: the first one starts it, the last one stops it.

    By itself a node would start a daemon; in the foreground it is a child that can be stopped.
    """

    def __init__(self, path: Path) -> None:
        """`path`: a directory for its log; also its mark (see `processes`)."""
        self._path = path
        self._part = f"{path.resolve()}/epmd"
        self._process: subprocess.Popen[bytes] | None = None
        self._users: set[str] = set()
        self.port = free_port()

    def acquire(self, user: str) -> None:
        """Make sure that it runs, until the same user releases it."""
        self._users.add(user)
        if self._process is None or self._process.poll() is not None:
            self._start()

    def release(self, user: str) -> None:
        """Release it; the last user's release stops it."""
        self._users.discard(user)
        if self._users:
            return
        processes.stop_part(self._part, grace_s=2)
        if self._process is not None:
            self._process.wait(10)
            self._process = None

    def stop_leftover(self) -> None:
        """Stop one that a killed launcher left."""
        if self._process is None:
            processes.stop_part(self._part, grace_s=2)

    def _start(self) -> None:
        if is_taken(self.port):
            self.port = free_port()
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = [_program(), "-port", str(self.port), "-address", LOOPBACK]
        with (self._path / "epmd.log").open("ab") as log:
            self._process = processes.spawn(command, self._part, os.environ, log)
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=1):
                return
            time.sleep(0.02)
        raise RuntimeError(f"epmd did not start: see {self._path / 'epmd.log'}")


def _program() -> str:
    """Return the path of epmd: on PATH, or inside Erlang's installation where the distribution does not link it."""
    if found := shutil.which("epmd"):
        return found
    if erl := shutil.which("erl"):
        for candidate in sorted(Path(erl).resolve().parent.parent.glob("erts-*/bin/epmd"), reverse=True):
            return str(candidate)
    raise RuntimeError("found no epmd: install Erlang (on Debian and Ubuntu it comes with rabbitmq-server)")
