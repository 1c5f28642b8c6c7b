"""Processes of the local stack: started so that they end with their parent, found by a mark, stopped completely.

Every process has the environment variable `MARK`, which its own children inherit; its value names the part of the
stack. So a part's processes are known exactly, even after the launcher died, without guessing by name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

MARK = "LOCAL_STACK_PART"
_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
_hurry = threading.Event()

# The kernel sends the death signal when the *thread* that started the child ends, so one thread that lives as long
# as this process starts them all. When the interpreter exits, that also stops what is still running.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")


def spawn(
    command: list[str],
    part: str,
    env: Mapping[str, str],
    output: IO[bytes],
    death_signal: signal.Signals = signal.SIGTERM,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a separate session (a terminal's Ctrl-C does not reach it), with its output to `output`.

    `part` is its mark; it gets `death_signal` if this process dies first.
    """
    wrapper = [sys.executable, "-I", "-S", str(_DIE_WITH_PARENT), str(os.getpid()), str(int(death_signal))]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            wrapper + command,
            env={**env, MARK: part},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    return _spawner.submit(start).result()


def pids_of(part: str) -> list[int]:
    """Return this user's living processes that are marked as `part`; empty where there is no /proc."""
    wanted = f"{MARK}={part}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        # It has ended, or is another user's: not ours either way. A zombie's environment is empty.
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def command_name(pid: int) -> str:
    """Return the name of a process's program, empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def stop_part(part: str, grace_s: float, first: Iterable[int] = ()) -> None:
    """Stop all processes of a part: SIGTERM to `first` (or all), and SIGKILL after `grace_s` to those that are left."""
    if not (pids := pids_of(part)):
        return
    for pid in list(first) or pids:
        send(pid, signal.SIGTERM)
    if not _gone(part, grace_s):
        for pid in pids_of(part):
            send(pid, signal.SIGKILL)
        _gone(part, 5, even_in_a_hurry=True)


def hurry_up() -> None:
    """Give no process any more time to stop, from now on: the user pressed Ctrl-C twice."""
    _hurry.set()


def send(pid: int, signal_number: signal.Signals) -> None:
    """Send a signal; do nothing when the process has ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal_number)


def _gone(part: str, timeout_s: float, even_in_a_hurry: bool = False) -> bool:
    deadline = time.monotonic() + timeout_s
    while pids_of(part):
        if time.monotonic() > deadline or (_hurry.is_set() and not even_in_a_hurry):
            return False
        time.sleep(0.05)
    return True


def tail(log: Path, lines: int = 20, start: int = 0) -> str:
    """Return a log file's last lines, from byte `start` on, for an error message; empty when there is no file."""
    try:
        text = log.read_bytes()[start:].decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
