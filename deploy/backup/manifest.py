"""What a backup says about itself: when, of which version, with which keys, and its files' digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.backup.tables import digest
from shared.seal import key_id

NAME: Final = "manifest.json"
FORM: Final = 1


class BadBackup(Exception):
    """A directory is not a backup, or not whole; the message says why."""


class Manifest(BaseModel):
    """The manifest; it has no key and no token, only what tells whether one is the same."""

    model_config = ConfigDict(frozen=True)

    form: int
    created_at: datetime
    #: Number → checksum of the migrations that were applied.
    migrations: dict[int, str]
    queue_key_ids: tuple[str, ...]
    id_secret_id: str
    pageviews: int
    #: Name → SHA-256 of the files beside this one.
    files: dict[str, str]

    def save(self, directory: Path) -> None:
        """Write it, last of all: without it a directory is no backup."""
        (directory / NAME).write_text(json.dumps(self.model_dump(mode="json"), indent=2) + "\n")


def read(directory: Path) -> Manifest:
    """Read a directory's manifest and check its files; raises `BadBackup`."""
    try:
        manifest = Manifest.model_validate_json((directory / NAME).read_bytes())
    except OSError:
        raise BadBackup(f"{directory} has no {NAME}: it is no backup, or one that was not completed") from None
    except ValidationError:
        raise BadBackup(f"{directory / NAME} is damaged") from None
    if manifest.form != FORM:
        raise BadBackup(f"{directory} was written by a newer version of Hitline: use that")
    for name, sha256 in manifest.files.items():
        path = directory / name
        if not path.is_file() or digest(path) != sha256:
            raise BadBackup(f"{path} is {'damaged' if path.exists() else 'missing'}: use another backup")
    return manifest


def ids_of_keys(keys: Sequence[bytes]) -> tuple[str, ...]:
    """Return what identifies queue keys, as in messages."""
    return tuple(key_id(key).hex() for key in keys)


def id_of_secret(secret: str) -> str:
    """Return what identifies `HITLINE_ID_SECRET`; says nothing about it."""
    return hashlib.sha256(b"hitline id secret id" + secret.encode()).hexdigest()[:16]
