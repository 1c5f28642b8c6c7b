"""The parts of a soak: its load as a process, its faults, and its samples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench import metrics
from tests.services import ROOT, Service, System

_POLICY: Final = "soak"


@dataclass(frozen=True)
class Part:
    """What one process holds: resident memory, open files, and asyncio's tasks (of the front: threads)."""

    mib: float
    files: int
    tasks: int


@dataclass(frozen=True)
class Sample:
    """All parts at one moment, and the last second of the load."""

    seconds: float
    parts: dict[str, Part]
    accepted: int
    p99_ms: float
    refused: int

    @property
    def text(self) -> str:
        """One line for a terminal."""
        memory = ", ".join(f"{name} {part.mib:.0f} MiB" for name, part in self.parts.items())
        return f"{self.accepted:,} accepted, p99 {self.p99_ms:.0f} ms, {memory}"


class LoadProcess:
    """The load, and what it prints."""

    def __init__(self, port: int, token: str, seconds: float, rate: float) -> None:
        command = [sys.executable, "-m", "tests.bench.soak_load", str(port), token, str(seconds), str(rate)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._ledger: dict[str, Any] = {}
        self.last: dict[str, Any] = {"accepted": 0, "p99_ms": 0.0, "statuses": {}}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            found = json.loads(line)
            if "ledger" in found:
                self._ledger = found["ledger"]
            else:
                self.last = found

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def ledger(self) -> dict[str, Any]:
        """Wait until it has ended, and return what became of its pageviews."""
        assert self._process.wait() == 0
        self._reader.join()
        return self._ledger


class Sampler:
    """Reads what gateway, worker and ClickHouse's front hold."""

    def __init__(self, system: System, load: LoadProcess) -> None:
        self._system = system
        self._load = load

    def sample(self, seconds: float) -> Sample:
        """Return the sample of now."""
        services = {"gateway": self._system.gateway, "worker": self._system.workers[0]}
        found = {name: of_service(service) for name, service in services.items()}
        if (front := self._front()) is not None:
            found["front"] = front
        last = self._load.last
        refused = sum(number for status, number in last["statuses"].items() if status != "202")
        return Sample(seconds, found, last["accepted"], last["p99_ms"], refused)

    def _front(self) -> Part | None:
        try:
            pid = self._system.clickhouse.pid
            return Part(resident_mib(pid), open_files(pid), len(os.listdir(f"/proc/{pid}/task")))
        except (RuntimeError, OSError):
            return None  # it is stopped


def of_service(service: Service) -> Part:
    """Return what a gateway or worker holds."""
    return Part(service.resident_mib(), open_files(service.pid), int(metrics.total(service, "hitline_tasks")))


def resident_mib(pid: int) -> float:
    """Return a process's resident memory (proc_pid_statm(5))."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files(pid: int) -> int:
    """Return the number of a process's open file descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class Faults:
    """What goes wrong meanwhile."""

    def __init__(self, system: System, full_at_messages: int) -> None:
        self._system = system
        self._full_at = full_at_messages

    def queue_full(self) -> None:
        """Stop ClickHouse and bound the queue, so that it is full soon."""
        policy = json.dumps({"max-length": self._full_at})
        self._system.broker.ctl("set_policy", _POLICY, r"^hitline\.pageviews$", policy, "--apply-to", "queues")
        self._system.clickhouse.stop()

    def queue_empties(self) -> None:
        """Start ClickHouse again and take the bound away."""
        self._system.clickhouse.start()
        self._system.broker.ctl("clear_policy", _POLICY)

    def broker_restarts(self) -> None:
        """Restart the broker."""
        self._system.broker.stop()
        self._system.broker.start()
