"""Install a Debian or Ubuntu package as root, and keep its services from starting, now and at boot."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from deploy.local.failure import SetupError

# Debian Policy 9.11 and invoke-rc.d(8): a package's scripts ask it before they start a service; 101 forbids.
POLICY = Path("/usr/sbin/policy-rc.d")
_OURS = "#!/bin/sh\n# Written by Hitline while it installs a package: no service is to start.\nexit 101\n"
_UNIT_DIRS = ("/lib/systemd/system", "/usr/lib/systemd/system")


def can_install() -> bool:
    """Return whether this process may install packages here."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(package: str, units: list[str], say: Callable[[str], None]) -> None:
    """Install a package; the `units` that it brings stay stopped and disabled.

    Raises SetupError with apt's last lines when that fails.
    """
    foreign = [unit for unit in units if _has_unit(unit)]
    say(f"installing the package {package} (once; a minute or so) ...")
    with services_kept_from_starting():
        # Repairs what an interrupted installation left behind; otherwise a no-op.
        _run(["dpkg", "--configure", "-a"])
        # One unreachable package list may not matter: whether the installation works decides.
        _run(["apt-get", "-q", "update"])
        done = _run(["apt-get", "-q", "-y", "--no-install-recommends", "install", package])
    if done.returncode != 0:
        last_lines = "\n".join(done.stdout.splitlines()[-15:])
        raise SetupError(f"could not install {package}: run `apt-get install {package}`. It said:\n{last_lines}")
    _disable([unit for unit in units if unit not in foreign])
    say(f"installed {package}; no system service of it was started or enabled")


@contextlib.contextmanager
def services_kept_from_starting(policy: Path = POLICY) -> Iterator[None]:
    """Keep package scripts from starting services in this context; afterwards the machine's own policy is restored."""
    saved = policy.with_name(f"{policy.name}.before-hitline")
    # If a launcher was killed in here, our policy is still in place, and what it saved is the machine's own.
    if not saved.exists() and policy.exists() and policy.read_text(errors="replace") != _OURS:
        policy.rename(saved)
    policy.write_text(_OURS)
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)
        if saved.exists():
            saved.rename(policy)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    if command[0] == "apt-get":
        # A machine that has just booted may be upgrading itself: wait for the lock.
        command = [*command[:1], "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0", *command[1:]]
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        # In a separate session: Ctrl-C would stop dpkg halfway and leave a broken package database.
        start_new_session=True,
    )


def _has_unit(unit: str) -> bool:
    return any((Path(directory) / unit).exists() for directory in _UNIT_DIRS)


def _disable(units: list[str]) -> None:
    """Keep the units from starting at the next boot, even where systemd is not installed (yet)."""
    for unit in filter(_has_unit, units):
        if shutil.which("systemctl"):
            _run(["systemctl", "disable", unit])
        for link in Path("/etc/systemd/system").glob(f"*.wants/{unit}"):
            link.unlink(missing_ok=True)
        name = unit.removesuffix(".service")
        if (Path("/etc/init.d") / name).exists() and shutil.which("update-rc.d"):
            _run(["update-rc.d", name, "disable"])
