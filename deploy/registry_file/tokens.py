"""The tokens of new API clients: printed once, or each in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from shared.registry import Client, token_hash

#: Longer names are not a file's; the client's id is.
_LONGEST_NAME: Final = 150


class Tokens:
    """Tokens by client.  With a directory, they are on disk before the clients are in the registry."""

    def __init__(self, directory: Path | None) -> None:
        """Use `directory`, which is created if need be; raises `OSError`."""
        self._directory = directory
        self._tokens: dict[bytes, str] = {}
        if directory is not None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def issue(self, client: Client) -> str:
        """Make a client's token and return its hash."""
        token = f"hl_{secrets.token_urlsafe(32)}"
        self._tokens[client.client_id] = token
        if self._directory is not None:
            file = os.open(self._unsettled(client), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(file, "w") as stream:
                os.fchmod(stream.fileno(), 0o600)
                stream.write(token + "\n")
        return token_hash(token)

    def settle(self, clients: Iterable[Client]) -> list[tuple[str, str]]:
        """Keep the tokens of these clients, which are in force; returns names and tokens that are to be printed."""
        kept = list(clients)
        for client in kept:
            if self._directory is not None:
                os.replace(self._unsettled(client), f"{self._directory}{os.sep}{_file_name(client)}")
        if self._directory is not None:
            return []
        return [(client.name, self._tokens[client.client_id]) for client in kept]

    def _unsettled(self, client: Client) -> str:
        # Not with pathlib, which is slow for 100,000 files.
        return f"{self._directory}{os.sep}{_file_name(client)}.{client.client_id.hex()}.new"


def _file_name(client: Client) -> str:
    """Return the client's name where that can be a file's; what a path may not hold is percent-encoded."""
    name = quote(client.name, safe=" @+=,")
    name = "%2E" + name[1:] if name.startswith(".") else name
    return name if len(name) <= _LONGEST_NAME else client.client_id.hex()
