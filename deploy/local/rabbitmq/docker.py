"""RabbitMQ in a container, for machines where the package is missing and can't be installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from pathlib import Path

from deploy.local.failure import SetupError
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.rabbitmq.files import Secrets, write_private
from deploy.local.rabbitmq.node import answers_amqp

IMAGE = "rabbitmq:4"
_START_TIMEOUT_S = 300.0  # includes pulling the image


def usable() -> bool:
    """Return whether this user can use a Docker engine."""
    if shutil.which("docker") is None:
        return False
    try:
        return _docker("info", timeout_s=10).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class DockerBroker:
    """A container on a free loopback port; its data are in a volume of the same name, which outlives it."""

    def __init__(self, path: Path) -> None:
        """`path`: where the password is kept; each path has its own container."""
        self._path = path.resolve()
        self._name = f"hitline-{hashlib.sha256(str(self._path).encode()).hexdigest()[:12]}"
        self._port = 0
        self.kind = f"in the container {self._name}"

    @property
    def amqp_url(self) -> str:
        """The address for clients, with the password: not for logs."""
        kept = self._secrets()
        return f"amqp://{kept.user}:{kept.password}@{LOOPBACK}:{self._port}/"

    @property
    def place(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether the container is still running."""
        return _docker("inspect", "--format", "{{.State.Running}}", self._name).stdout.strip() == "true"

    @property
    def log(self) -> str:
        """The last lines of the container's log."""
        return _docker("logs", "--tail", "20", self._name).stdout

    def spawn(self) -> None:
        """Start the container, after removing one that a killed launcher left. Raises SetupError."""
        self.stop()
        self._port = free_port()
        done = _docker(*run_arguments(self._name, self._port, self._env_file()), timeout_s=_START_TIMEOUT_S)
        if done.returncode != 0:
            raise SetupError(f"docker run {IMAGE} failed: install rabbitmq-server instead, or see:\n{done.stdout}")

    def wait_until_ready(self) -> None:
        """Wait until AMQP answers; raises SetupError with the container's last lines when it does not."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self.running:
            if answers_amqp(LOOPBACK, self._port):
                return
            time.sleep(0.3)
        raise SetupError(f"RabbitMQ did not start in its container. Its last lines:\n{self.log}")

    def stop(self, grace_s: float = 30) -> None:
        """Stop and remove the container; its volume stays."""
        _docker("stop", "-t", str(round(grace_s)), self._name)
        _docker("rm", "--force", self._name)

    def _secrets(self) -> Secrets:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Secrets.kept_in(self._path / "secrets.json")

    def _env_file(self) -> Path:
        """Write the password to a file: every user of the machine can see arguments."""
        kept = self._secrets()
        file = self._path / "docker.env"
        write_private(file, f"RABBITMQ_DEFAULT_USER={kept.user}\nRABBITMQ_DEFAULT_PASS={kept.password}\n")
        return file


def run_arguments(name: str, port: int, env_file: Path) -> list[str]:
    """Return the arguments of `docker` that start the broker."""
    return [
        "run",
        "--detach",
        *("--name", name),
        *("--hostname", "hitline"),  # part of the node's name, and so of where its data are
        *("--publish", f"{LOOPBACK}:{port}:5672"),
        *("--env-file", str(env_file)),
        *("--volume", f"{name}:/var/lib/rabbitmq"),
        *("--ulimit", "core=0"),
        IMAGE,
    ]


def _docker(*arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
