"""What surrounds an installation; the installation itself is tried on a fresh machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.apt import services_kept_from_starting


def test_services_are_forbidden_to_start_only_meanwhile(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"

    with services_kept_from_starting(policy):
        assert "exit 101" in policy.read_text()
        assert policy.stat().st_mode & 0o111 == 0o111

    assert list(tmp_path.iterdir()) == []


def test_the_machines_own_policy_comes_back_also_after_a_failure(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o700)

    def fail() -> None:
        with services_kept_from_starting(policy):
            raise RuntimeError("apt failed")

    with pytest.raises(RuntimeError):
        fail()

    assert policy.read_text() == "#!/bin/sh\nexit 104\n"
    assert policy.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == [policy]


@pytest.mark.parametrize("own", [None, "#!/bin/sh\nexit 0\n"])
def test_what_a_killed_launcher_left_is_not_taken_for_the_machines_own(tmp_path: Path, own: str | None) -> None:
    policy = tmp_path / "policy-rc.d"
    if own is not None:
        policy.write_text(own)
    left = services_kept_from_starting(policy)
    left.__enter__()  # killed in here: nothing was restored

    with services_kept_from_starting(policy):
        pass

    assert (policy.read_text() if policy.exists() else None) == own
    assert len(list(tmp_path.iterdir())) == (own is not None)
