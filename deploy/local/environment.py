"""The local stack's settings, in `.local/env`: the caller's, else those of an earlier start, else defaults."""

from __future__ import annotations

import base64
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.failure import SetupError
from deploy.local.ports import LOOPBACK, free_port, is_taken
from deploy.local.rabbitmq.files import write_private
from shared.settings import PREFIX

_PORTS = {
    "HITLINE_HTTP_PORT": 8080,
    "HITLINE_ADMIN_PORT": 9080,
    "HITLINE_WORKER_ADMIN_PORT": 9081,
    "HITLINE_CLICKHOUSE_PORT": 8123,
}
#: Of the embedded ClickHouse's only user, `default`.
CLICKHOUSE_PASSWORD = "CLICKHOUSE_PASSWORD"  # noqa: S105 - the name of a variable
#: Generated once and kept: with other keys, queued messages could not be opened; with another secret, ids would change.
_KEPT = ("HITLINE_QUEUE_KEYS", "HITLINE_ID_SECRET", "HITLINE_DEMO_TOKEN", CLICKHOUSE_PASSWORD)


@dataclass(frozen=True)
class Ports:
    """The ports that the stack listens on, all on 127.0.0.1."""

    http: int
    admin: int
    worker_admin: int
    clickhouse: int

    @classmethod
    def chosen_by(cls, environ: Mapping[str, str]) -> Ports:
        """Return the caller's ports or the defaults; 0 picks a free one.

        Raises SetupError that names a setting which is not a port, or is used twice.
        """
        chosen: dict[str, int] = {}
        for name, default in _PORTS.items():
            text = environ.get(name) or str(default)
            if not text.isdecimal() or int(text) > 65535:
                raise SetupError(f"{name} is {text!r}, which is not a port: set it to a number from 0 to 65535")
            port = int(text) or free_port(set(chosen.values()))
            if port in chosen.values():
                raise SetupError(f"{name} is {port}, which another of these settings uses too: choose a different port")
            chosen[name] = port
        return cls(*chosen.values())

    def check_free(self, embedded_clickhouse: bool) -> None:
        """Raise SetupError that names every port that is taken, and the setting that changes it."""
        lines = [
            f"port {port} is taken: set {name} to another"
            for name, port in self.by_setting().items()
            if is_taken(port) and (embedded_clickhouse or name != "HITLINE_CLICKHOUSE_PORT")
        ]
        if lines:
            raise SetupError("\n".join(lines))

    def by_setting(self) -> dict[str, int]:
        """Return each port by the name of its setting."""
        return dict(zip(_PORTS, (self.http, self.admin, self.worker_admin, self.clickhouse), strict=True))


def of_caller(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's own settings; an empty one counts as absent."""
    return {name: value for name, value in environ.items() if name.startswith(PREFIX) and value}


def settings(caller: Mapping[str, str], kept: Mapping[str, str], ports: Ports, directory: Path) -> dict[str, str]:
    """Return all settings except the broker's address: kept or generated secrets, with the caller's settings on top."""
    made = {
        "HITLINE_QUEUE_KEYS": base64.b64encode(secrets.token_bytes(32)).decode(),
        "HITLINE_ID_SECRET": secrets.token_hex(32),
        CLICKHOUSE_PASSWORD: secrets.token_urlsafe(24),
    }
    secret = made | {name: kept[name] for name in _KEPT if name in kept}
    own = {
        "HITLINE_CLICKHOUSE_URL": clickhouse_url(ports.clickhouse, secret[CLICKHOUSE_PASSWORD]),
        "HITLINE_STATE_DIR": str(directory / "state"),
    }
    numbers = {name: str(port) for name, port in ports.by_setting().items()}
    merged = secret | own | dict(caller) | numbers
    # Queued messages were sealed with the kept keys, so these stay behind the caller's own, to open them.
    keys = [*_words(merged["HITLINE_QUEUE_KEYS"]), *_words(secret["HITLINE_QUEUE_KEYS"])]
    merged["HITLINE_QUEUE_KEYS"] = ",".join(dict.fromkeys(keys))
    return merged


def clickhouse_url(port: int, password: str) -> str:
    """Return the address of the embedded ClickHouse, with user and password."""
    return f"http://default:{password}@{LOOPBACK}:{port}"


def read_env(file: Path) -> dict[str, str]:
    """Return the variables of a file that `write_env` wrote; none when there is no file."""
    if not file.exists():
        return {}
    found = {}
    for line in file.read_text().splitlines():
        words = shlex.split(line, comments=True)
        if len(words) == 2 and words[0] == "export":
            name, _, value = words[1].partition("=")
            found[name] = value
    return found


def write_env(file: Path, variables: Mapping[str, str]) -> None:
    """Write variables for `. FILE` in any shell; mode 0600, since some are secrets."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    header = "# Written by `make run`. To use the hitline commands with the local stack: . .local/env"
    write_private(file, "\n".join([header, *lines, ""]))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())
