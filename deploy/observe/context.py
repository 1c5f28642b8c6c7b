"""What the checks are given: the settings as far as they can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gateway.settings import GatewaySettings
from shared.secret_files import UnreadableSecretError, resolve
from shared.settings import PREFIX, Settings, SettingsError, load
from worker.settings import WorkerSettings

Kind = TypeVar("Kind", bound=Settings)


@dataclass(frozen=True)
class Context:
    """The environment, and each kind of settings, or None where they can't be read."""

    environ: Mapping[str, str]
    common: Settings | None
    gateway: GatewaySettings | None
    worker: WorkerSettings | None
    #: Of RabbitMQ's management API, empty where it is not set or its file can't be read.
    management_url: str = ""

    @property
    def state_dir(self) -> Path | None:
        """Where the processes keep files; None if the settings can't be read."""
        return self.common.state_dir if self.common else None


def read(environ: Mapping[str, str]) -> Context:
    """Read all settings; what is wrong with them is for the check of settings to say."""
    kinds = _load(Settings, environ), _load(GatewaySettings, environ), _load(WorkerSettings, environ)
    return Context(environ, *kinds, _management_url(environ))


def _management_url(environ: Mapping[str, str]) -> str:
    try:
        return resolve(environ, PREFIX).get(f"{PREFIX}RABBITMQ_API_URL", "")
    except UnreadableSecretError:
        return ""


def _load(kind: type[Kind], environ: Mapping[str, str]) -> Kind | None:
    try:
        return load(kind, environ)
    except SettingsError:
        return None
