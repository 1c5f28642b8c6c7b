"""What outlives a run: how far each log was taken, the sessions that were open there, and the key of all ids.

Everything is readable by its owner only (mode 0600).  A visitor is in it as a keyed hash, while a session is open; the
key is in a separate file, or comes from `HITLINE_REPLAY_SECRET`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy.replay.files import Identity

_VERSION: Final = 1
#: Logs that are remembered, the latest ones.
_MAX_LOGS: Final = 20_000


class StateError(Exception):
    """The state can't be used; the text says why and what to do."""


@dataclass(frozen=True)
class Position:
    """How far a log was taken, and what its format needs to go on there."""

    identity: Identity
    name: str
    #: Bytes of the uncompressed log, and lines of it.
    position: int
    lines: int
    format: str
    title: str
    last_ms: int = 0
    directives: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """A consistent moment: all lines before it were answered, none behind it counts."""

    logs: tuple[Position, ...] = ()
    ids: Mapping[str, Any] | None = None


def job_id(options: Mapping[str, Any]) -> str:
    """Return a name for runs with these options: others may keep other lines, or send them elsewhere."""
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]


def load_key(directory: Path, secret: str) -> bytes:
    """Return the key of all ids: of the secret where one is set, else a random one, made at the first run."""
    if secret:
        if len(secret) < 16:
            raise StateError(
                "HITLINE_REPLAY_SECRET: is shorter than 16 characters; make one with: openssl rand -hex 32"
            )
        return hashlib.sha256(secret.encode()).digest()
    path = directory / "key"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        _create(path, secrets.token_hex(32))
    try:
        return bytes.fromhex(path.read_text().strip())
    except ValueError:
        raise StateError(f"{path} is damaged: restore it, or remove it (then a second run adds pageviews)") from None


class StateFile:
    """The file of one job."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Saved:
        """Return what was saved last; empty at the first run.  Raises `StateError` for a damaged file."""
        try:
            value = json.loads(self._path.read_text())
        except FileNotFoundError:
            return Saved()
        except ValueError:
            raise StateError(f"{self._path} is damaged: remove it, and run with the same options again") from None
        if value.get("version") != _VERSION:
            raise StateError(f"{self._path} is of another version: remove it, and run with the same options again")
        logs = (Position(**{**log, "identity": Identity(*log["identity"])}) for log in value["logs"])
        return Saved(tuple(logs), value["ids"])

    def save(self, saved: Saved) -> None:
        """Replace the file at one stroke."""
        logs = [{**vars(log), "identity": list(log.identity)} for log in saved.logs[-_MAX_LOGS:]]
        _write(self._path, json.dumps({"version": _VERSION, "logs": logs, "ids": saved.ids}))


@contextmanager
def opened(directory: Path, job: str) -> Iterator[StateFile]:
    """Give a job's state to one run at a time; raises `StateError` while another has it."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(directory / f"{job}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise StateError("another `hitline replay` with the same options is running") from None
    else:
        yield StateFile(directory / f"{job}.json")
    finally:
        os.close(lock)


def _create(path: Path, text: str) -> None:
    """Write a file unless another run has done so meanwhile."""
    new = path.with_name(f".{path.name}.new.{os.getpid()}")
    _write(new, text)
    with contextlib.suppress(FileExistsError):
        os.link(new, path)
    new.unlink()


def _write(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
