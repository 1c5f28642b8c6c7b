"""Secrets by file: `HITLINE_NAME_FILE` names a file that holds what `HITLINE_NAME` would.

That is how Docker, Kubernetes and systemd pass secrets: only the process can read the file, while an environment
variable shows up in `docker inspect` and in the environment of every child process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Settings that are a secret or contain one.
SECRETS: Final = frozenset(
    {
        *("AMQP_URL", "CLICKHOUSE_URL", "QUEUE_KEYS", "ID_SECRET", "RATE_LIMIT_STORAGE", "MAXMIND_LICENSE_KEY"),
        *("TOKEN", "REPLAY_SECRET", "RABBITMQ_API_URL"),
    }
)
_SUFFIX: Final = "_FILE"
#: A larger file is a mistake, not a secret (an endless device, for example).
_MAX_BYTES: Final = 64 * 1024


class UnreadableSecretError(Exception):
    """A secret's file can't be used; the message names the variable and the reason."""


def resolve(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return `environ` with each `…_FILE` of a secret replaced by the secret itself, stripped of white space.

    Raises `UnreadableSecretError` for a file that can't be read, is empty or too large, and if both are set.
    """
    resolved = dict(environ)
    for short in sorted(SECRETS):
        name = prefix + short
        path = resolved.pop(name + _SUFFIX, "")
        if not path:
            continue
        if resolved.get(name):
            raise UnreadableSecretError(f"{name} and {name}{_SUFFIX} are both set: use one")
        resolved[name] = _read(name + _SUFFIX, path)
    return resolved


def _read(name: str, path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MAX_BYTES + 1)
    except UnicodeDecodeError:
        raise UnreadableSecretError(f"{name}: {path} is not text") from None
    except OSError as error:
        raise UnreadableSecretError(f"{name}: {path} can't be read: {error.strerror}") from None
    if len(text) > _MAX_BYTES:
        raise UnreadableSecretError(f"{name}: {path} is larger than {_MAX_BYTES // 1024} KiB")
    if not text.strip():
        raise UnreadableSecretError(f"{name}: {path} is empty")
    return text.strip()
