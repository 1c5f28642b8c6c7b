"""Processes of the local stack end with the one that started them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import processes
from tests.services import wait_for

pytestmark = pytest.mark.processes

#: Starts a part that would go on for long, and is killed when that has become what it was to be.
KILLED = """
import os, pathlib, signal, sys, time
from deploy.local import processes
from deploy.local.services import Service
directory = pathlib.Path(sys.argv[1])
Service("part", ["sleep", "600"], directory, None, signal.Signals[sys.argv[2]]).spawn(os.environ)
# While it becomes that, there is a moment in which it has no environment, by which it is found.
while [processes.command_name(pid) for pid in processes.pids_of(f"{directory}/part")] != ["sleep"]:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("death_signal", ["SIGTERM", "SIGKILL"])
def test_no_part_outlives_the_process_that_started_it(tmp_path: Path, death_signal: str) -> None:
    directory = tmp_path.resolve()
    command = [sys.executable, "-c", KILLED, str(directory), death_signal]

    done = subprocess.run(command, check=False)

    assert done.returncode == -signal.SIGKILL
    wait_for(lambda: processes.pids_of(f"{directory}/part") == [])
