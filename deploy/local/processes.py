"""Processes of the local stack: started on a leash, found again by their mark, stopped without leftovers.

Every process carries the environment variable `MARK`, inherited by its own children, whose value says what it
is part of. So a part's processes are known exactly, also after the launcher died: no guessing by name.
"""

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
_LEASH = Path(__file__).with_name("leash.py")
_hurry = threading.Event()

# The kernel sends the leash's signal when the *thread* that started the child ends, so one thread that lives
# as long as this process starts them all. Its end at interpreter exit stops what somebody forgot to stop.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")


def spawn(
    command: list[str],
    part: str,
    env: Mapping[str, str],
    output: IO[bytes],
    death_signal: signal.Signals = signal.SIGTERM,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a command in a session of its own (a terminal's Ctrl-C does not reach it), output to `output`.

    `part` marks it; `death_signal` is what it gets should this process die first.
    """
    leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), str(int(death_signal))]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            leash + command,
            env={**env, MARK: part},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    return _spawner.submit(start).result()


def pids_of(part: str) -> list[int]:
    """The living processes marked as this part, this user's only. Empty where there is no /proc."""
    wanted = f"{MARK}={part}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        # Gone meanwhile, or another user's: not ours either way. A zombie's environment is empty.
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def command_name(pid: int) -> str:
    """The name of a process's program, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def stop_part(part: str, grace_s: float, first: Iterable[int] = ()) -> None:
    """Stops all processes of a part: SIGTERM to `first` (or all), after the grace SIGKILL to what is left."""
    if not (pids := pids_of(part)):
        return
    for pid in list(first) or pids:
        send(pid, signal.SIGTERM)
    if not _gone(part, grace_s):
        for pid in pids_of(part):
            send(pid, signal.SIGKILL)
        _gone(part, 5, patient=True)


def hurry_up() -> None:
    """From now on nobody gets any grace: the user lost patience."""
    _hurry.set()


def send(pid: int, signal_number: signal.Signals) -> None:
    """Sends a signal; a process that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal_number)


def _gone(part: str, timeout_s: float, patient: bool = False) -> bool:
    deadline = time.monotonic() + timeout_s
    while pids_of(part):
        if time.monotonic() > deadline or (_hurry.is_set() and not patient):
            return False
        time.sleep(0.05)
    return True


def tail(log: Path, lines: int = 20, start: int = 0) -> str:
    """The last lines of a log file from byte `start` on, for an error message; empty when there is none."""
    try:
        text = log.read_bytes()[start:].decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
