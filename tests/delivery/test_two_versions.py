"""The version before and this one, gateways and workers of both on one queue under load: the ledger is equal.

The version before is the wheel of the last tag; while there is none, of the commit fifty before this one.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests import http, services
from tests.delivery import faults
from tests.delivery.faults import Ledger
from tests.services import Service, System

ROOT = Path(__file__).parents[2]
COMMITS = 50
PER_SECOND = 400
#: How long both versions work side by side before and after each has been restarted.
SECONDS = 10


def older_revision() -> str:
    """Return the last tag, else a commit some way back (of a shallow clone the oldest)."""
    tag = git("describe", "--tags", "--abbrev=0", "HEAD^", check=False).decode().strip()
    return tag or git("rev-list", f"--max-count={COMMITS + 1}", "HEAD").decode().split()[-1]


def git(*arguments: str, check: bool = True) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=check, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the older version's wheel, without what it requires, into a directory."""
    return install(older_revision(), tmp_path_factory.mktemp("older"))


def install(revision: str, directory: Path) -> Path:
    """Install a revision's wheel, without what it requires, below the directory; returns where."""
    with tarfile.open(fileobj=BytesIO(git("archive", revision))) as archive:
        archive.extractall(directory / "source", filter="data")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    no_downloads = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    wheels = ["--wheel-dir", str(directory), str(directory / "source")]
    subprocess.run([*pip, "wheel", *no_downloads, *wheels], check=True, cwd=directory)
    wheel = str(next(directory.glob("*.whl")))
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--quiet", "--target", str(directory / "installed"), wheel],
        check=True, cwd=directory,
    )  # fmt: skip
    return directory / "installed"


@pytest.fixture
def both(bare: System, older: Path) -> Iterator[dict[str, Service]]:
    """Run a gateway and a worker of each version, by name."""
    processes = {}
    with ExitStack() as stack:
        for version, cwd in (("this", ROOT), ("older", older)):
            for name in ("gateway", "worker"):
                state = {"HITLINE_STATE_DIR": str(bare.logs.parent / version), "HITLINE_HTTP_PORT": "0"}
                service = Service(name, {**bare.env, **state}, bare.logs / f"{version}-{name}.log", cwd=cwd)
                processes[f"{version} {name}"] = service
                stack.callback(service.end)
                service.start()
        yield processes


@pytest.mark.full
async def test_two_versions_on_one_queue_lose_and_double_nothing(
    bare: System, both: dict[str, Service], older: Path
) -> None:
    assert is_of(both["older worker"], older)
    assert not is_of(both["this worker"], older)
    gateways = [both["this gateway"], both["older gateway"]]
    for gateway in gateways:
        await asyncio.to_thread(services.wait_for, lambda gateway=gateway: http.ready(gateway.admin_port))
    ledger, stop = Ledger(), asyncio.Event()
    posting = [
        asyncio.create_task(faults.stream(replace(bare, gateway=gateway), ledger, stop, 1_000, PER_SECOND))
        for gateway in gateways
    ]
    await asyncio.sleep(SECONDS)
    for name in ("older worker", "this worker"):  # each has the queue alone for a while, and gets its messages again
        both[name].kill()
        await asyncio.sleep(SECONDS / 2)
        await asyncio.to_thread(both[name].start)
    for name in ("this gateway", "older gateway"):
        await asyncio.to_thread(both[name].stop)
        await asyncio.to_thread(both[name].start)
    await asyncio.sleep(SECONDS)
    stop.set()
    await asyncio.gather(*posting)

    await faults.assert_exact(bare, ledger)
    assert len(ledger.accepted) > 4 * SECONDS * PER_SECOND / 4
    for name in ("older worker", "this worker"):
        both[name].stop()
        assert both[name].taken() > 0, f"the {name} had nothing to do"


def is_of(service: Service, directory: Path) -> Any:
    """Return whether a process runs the code below a directory."""
    return f"{directory}" in Path(f"/proc/{service.pid}/cwd").resolve().as_posix()
