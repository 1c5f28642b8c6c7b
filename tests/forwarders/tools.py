"""Running the recipes of `deploy/forwarders` as they are, but for addresses, paths and secrets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from deploy.local.ports import free_port
from tests import services
from tests.forwarders import traffic
from tests.programs import SYSLOG_NG, Program, path_of
from tests.services import System

#: Runs a recipe in a directory against a system, and gives the port on which it takes visitors' requests.
Tool = Callable[[System, Path], AbstractContextManager[int]]

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "deploy" / "forwarders"


def recipe(name: str, changes: Mapping[str, str]) -> str:
    """Return a recipe's file with texts replaced; each must be there."""
    text = (RECIPES / name).read_text("utf-8")
    for old, new in changes.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return text


@contextmanager
def running(
    program: Program | str, *arguments: str | Path, log: Path, env: Mapping[str, str] | None = None, port: int = 0
) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """Run a program, until it listens on `port` where one is given; it is ended afterwards, with all it has started.

    That is what its process group has: a web server's own processes may outlive it.
    """
    path = program if isinstance(program, str) else path_of(program)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [path, *map(str, arguments)], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})}, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
    try:
        if port:
            services.wait_for(lambda: process.poll() is not None or listens(port), 60)
        assert process.poll() is None, log.read_text(errors="replace")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def syslog_ng(system: System, directory: Path, **changes: str) -> Iterator[int]:
    """Ship `directory`/pageviews.log, and what comes on the port that this gives."""
    port = free_port()
    configuration = recipe(
        "syslog-ng/hitline.conf",
        {
            "/var/log/hitline": str(directory),
            "127.0.0.1:8080": f"127.0.0.1:{system.port}",
            "hl_TOKEN": system.token,
            "port(6514)": f"port({port})",
            "/var/lib/syslog-ng": str(directory),
            "disk-buf-size(1073741824)": "disk-buf-size(33554432)",
            "time-reopen(2)": "time-reopen(1)",
        },
    )
    file = directory / "syslog-ng.conf"
    file.write_text(configuration)
    arguments = (
        "--foreground", "--stderr", "--no-caps", f"--cfgfile={file}", f"--persist-file={directory}/persist",
        f"--pidfile={directory}/syslog-ng.pid", f"--control={directory}/syslog-ng.control",
    )  # fmt: skip
    with running(SYSLOG_NG, *arguments, log=directory / "syslog-ng.log", port=port):
        yield port


@contextmanager
def follower(system: System, log: Path, *arguments: str, directory: Path) -> Iterator[None]:
    """Run `hitline replay --follow` on a log."""
    env = {
        **system.env, "HITLINE_URL": f"http://127.0.0.1:{system.port}", "HITLINE_TOKEN": system.token,
        "HITLINE_STATE_DIR": str(directory / "state"),
    }  # fmt: skip
    code = "from deploy.cli import main; main()"
    command: list[str | Path] = ["-c", code, "replay", "--follow", "--static", traffic.STATIC, *arguments, log]
    with running(sys.executable, *command, log=directory / "replay.log", env=env):
        yield
