"""What the suite needs beside Hitline: found, installed, or named; and processes that do not outlive a failed start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import apt
from deploy.local.failure import SetupError
from tests import services
from tests.programs import Program, path_of

MISSING = Program(("no-such-program",), ("some-package", "another-package"), ("some.service",))


def test_what_is_missing_and_can_not_be_installed_is_one_line_with_the_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apt, "can_install", lambda: False)

    with pytest.raises(SetupError) as caught:
        path_of(MISSING)

    assert str(caught.value).startswith("no-such-program is missing: install some-package another-package")
    assert len(str(caught.value).splitlines()) == 1


def test_as_root_every_package_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[tuple[str, list[str]]] = []

    def install(package: str, units: list[str], _: Callable[[str], None]) -> None:
        installed.append((package, units))

    monkeypatch.setattr(apt, "can_install", lambda: True)
    monkeypatch.setattr(apt, "install", install)

    with pytest.raises(SetupError):  # it is still not there
        path_of(MISSING)

    assert installed == [("some-package", ["some.service"]), ("another-package", ["some.service"])]


@pytest.mark.processes
def test_a_process_whose_start_takes_too_long_is_not_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "START_S", 0.5)
    never_ready = services.Service("worker", {"PATH": "/usr/bin:/bin"}, tmp_path / "log", ["sleep", "600"])

    with pytest.raises(TimeoutError):
        never_ready.start()

    assert not never_ready.running
