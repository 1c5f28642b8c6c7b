"""What outlives a run is readable by its owner only, whole or not there, and used by one run at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.replay import execute, state
from deploy.replay.files import Identity
from deploy.replay.state import Position, Saved, StateError, StateFile


def test_saved_and_loaded(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "job.json")
    assert file.load() == Saved()
    position = Position(Identity("aa", 3), "access.log", 10, 2, "w3c", "IIS", 5, {"fields": "date time"})
    saved = Saved((position,), {"newest_ms": 1, "sessions": {}, "seen": {}})
    file.save(saved)
    assert file.load() == saved
    assert (tmp_path / "job.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_state_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{")
    with pytest.raises(StateError, match="is damaged: remove it"):
        StateFile(tmp_path / "job.json").load()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with state.opened(tmp_path, "job"), pytest.raises(StateError, match="another"), state.opened(tmp_path, "job"):
        pass
    with state.opened(tmp_path, "job"):
        pass


def test_the_key_is_made_once_or_comes_from_a_secret(tmp_path: Path) -> None:
    directory = tmp_path / "replay"
    key = state.load_key(directory, "")
    assert state.load_key(directory, "") == key
    assert (directory / "key").stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    secret = state.load_key(tmp_path / "other", "a secret of some length")
    assert secret == state.load_key(directory, "a secret of some length") != key
    with pytest.raises(StateError, match="HITLINE_REPLAY_SECRET"):
        state.load_key(directory, "short")
    (directory / "key").write_text("no hex")
    with pytest.raises(StateError, match="damaged"):
        state.load_key(directory, "")


def test_reading_a_log_from_its_start_forgets_no_other(tmp_path: Path) -> None:
    key, again, other = bytes(32), tmp_path / "again.log", tmp_path / "other.log"
    again.write_text("a line\n")
    other.write_text("another line\n")
    positions = [
        Position(Identity.of(path.read_bytes(), key), path.name, 7, 1, "combined", "combined")
        for path in (again, other)
    ]
    saved = Saved(tuple(positions), {"newest_ms": 0, "sessions": {}, "seen": {}})
    assert execute.forgotten(saved, (str(again), "-"), key) == Saved((positions[1],), None)


def test_other_options_are_another_job() -> None:
    assert state.job_id({"a": 1, "b": 2}) == state.job_id({"b": 2, "a": 1}) != state.job_id({"a": 1, "b": 3})
