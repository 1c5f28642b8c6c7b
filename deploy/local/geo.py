"""Geo databases for the local stack: downloaded while everything else starts; the stack runs without them too."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.local import processes
from deploy.local.demo import hitline_command
from deploy.local.services import ROOT

_TIMEOUT_S = 180.0


class GeoUpdate:
    """`hitline geo update --if-missing` in the background."""

    def __init__(self, directory: Path) -> None:
        """`directory`: the stack's, for the log."""
        self._log = directory / "logs" / "geo.log"
        self._part = f"{directory.resolve()}/geo"
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self, env: Mapping[str, str]) -> None:
        """Start it without waiting."""
        self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            command = hitline_command("geo", "update", "--if-missing")
            self._process = processes.spawn(command, self._part, env, log, cwd=ROOT)

    def wait(self, say: Callable[[str], None]) -> None:
        """Wait until it ends; on failure, print what that means for the user."""
        if self._process is None:
            return
        try:
            code = self._process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = None
            self.stop()
        if code != 0:
            say(f"no geo databases: country, region and city stay empty ({self._log} says why)")
            return
        for line in self._log.read_text(errors="replace").splitlines():
            if line.startswith("warning: "):
                say(f"geo databases: {line.removeprefix('warning: ')}")

    def stop(self, grace_s: float = 2) -> None:
        """Stop it if it is still running."""
        processes.stop_part(self._part, grace_s)
        if self._process is not None:
            self._process.wait(10)
            self._process = None
