"""The machine and the versions that something was measured with."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

_LIBRARIES: Final = ("hitline", "aiohttp", "aio-pika", "clickhouse-connect", "chdb", "orjson", "pydantic", "uvloop")
_ROOT: Final = Path(__file__).parent.parent.parent


def describe() -> dict[str, Any]:
    """Return cores, memory and processor, without anything that names this one machine."""
    return {
        "cores": os.cpu_count() or 1,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "processor": _processor(),
        "system": platform.system(),
    }


def line() -> str:
    """Return the machine as one line."""
    machine = describe()
    return (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB,"
        f" Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def versions(broker: str, commit: str) -> dict[str, str]:
    """Return the versions of Python, the libraries that count, the broker and this repository."""
    found = {"Python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}
    return {**found, **({"RabbitMQ": broker} if broker else {}), "commit": commit}


def _processor() -> str:
    for each in Path("/proc/cpuinfo").read_text().splitlines():
        if each.startswith("model name"):
            return each.partition(": ")[2]
    return platform.machine()


def commit() -> str:
    """Return the revision that is checked out."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
