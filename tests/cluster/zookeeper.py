"""A private ZooKeeper on loopback, from the jars in `HITLINE_TEST_ZOOKEEPER` (of Debian's package: /usr/share/java)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from deploy.local.ports import free_port
from tests import services


def jars() -> Path | None:
    """Return the directory with ZooKeeper's jars; None where there is none, or no Java."""
    directory = Path(os.environ.get("HITLINE_TEST_ZOOKEEPER", ""))
    return directory if directory.parts and shutil.which("java") and any(directory.glob("zookeeper*.jar")) else None


class ZooKeeper:
    """`kill` and `start` as often as a test likes: its data stays."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        settings = {
            "tickTime": "1000",
            "dataDir": str(self._directory / "data"),
            "clientPort": str(self.port),
            "clientPortAddress": "127.0.0.1",
            "admin.enableServer": "false",
        }
        config = self._directory / "zoo.cfg"
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        options = ["-Xmx192m", "-Dzookeeper.forceSync=no", "-cp", f"{jars()}/*"]
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(["java", *options, main, str(config)], stdout=log, stderr=log)
        services.wait_for(self._answers, 60)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
