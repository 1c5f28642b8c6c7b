"""What runs the recipes leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local import processes
from tests import services
from tests.forwarders import tools


@pytest.mark.processes
def test_what_a_program_has_started_ends_with_it(tmp_path: Path) -> None:
    """Such as the processes of PHP's web server, which go on where only the first one is told to end."""
    pid = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {pid}.new; mv {pid}.new {pid}; wait"
    with tools.running("/bin/sh", "-c", script, log=tmp_path / "log"):
        services.wait_for(pid.exists)
        child = int(pid.read_text())
        assert processes.command_name(child) == "sleep"
    services.wait_for(lambda: has_ended(child), 10)


def has_ended(pid: int) -> bool:
    """Whether it has, also where nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
