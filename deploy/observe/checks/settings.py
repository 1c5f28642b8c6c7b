"""Settings that are missing, malformed, misspelt, or say secrets to others."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from deploy.observe.context import Context
from deploy.observe.finding import Finding, error, warning
from gateway.settings import GatewaySettings
from shared.clickhouse_address import BadAddress, parse_addresses
from shared.secret_files import SECRETS
from shared.settings import PREFIX, Settings, SettingsError, load, nearest, unknown_names
from worker.settings import WorkerSettings

_PART: Final = "settings"
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_REFERENCE: Final = "see deploy/config/reference.env, which names every setting"


async def check(context: Context) -> AsyncIterator[Finding]:
    """Yield what is wrong with the environment."""
    for finding in _all(context):
        yield finding


def _all(context: Context) -> Iterator[Finding]:
    yield from _unreadable(context.environ)
    for name in unknown_names(context.environ):
        yield warning(_PART, f"{name} is no setting{nearest(name)}", f"correct or remove it; {_REFERENCE}")
    yield from _open_secrets(context.environ)
    if context.common:
        yield from _addresses(context.common)


def _unreadable(environ: Mapping[str, str]) -> Iterator[Finding]:
    kinds: dict[str, type[Settings]] = {"gateway": GatewaySettings, "worker": WorkerSettings}
    problems: dict[str, list[str]] = {}
    for process, kind in kinds.items():
        try:
            load(kind, environ)
        except SettingsError as failure:
            for problem in str(failure).split("; HITLINE_"):
                problems.setdefault(f"{PREFIX}{problem.removeprefix(PREFIX)}", []).append(process)
    for problem, needed_by in problems.items():
        yield error(_PART, problem, f"set it for the {' and the '.join(needed_by)}; {_REFERENCE}")


def _open_secrets(environ: Mapping[str, str]) -> Iterator[Finding]:
    for short in sorted(SECRETS):
        path = environ.get(f"{PREFIX}{short}_FILE")
        if path and Path(path).is_file() and Path(path).stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            yield warning(_PART, f"{path}, the file of {PREFIX}{short}, can be read by every user", f"chmod 640 {path}")


def _addresses(common: Settings) -> Iterator[Finding]:
    for url in common.amqp_url:
        parts = urlsplit(url)
        if parts.scheme == "amqp" and parts.hostname not in _LOOPBACK:
            problem = f"{PREFIX}AMQP_URL: the password goes to {parts.hostname} in the clear"
            yield warning(_PART, problem, "use amqps:// unless the network between them is private")
    try:
        addresses = parse_addresses(common.clickhouse_url)
    except BadAddress as failure:
        yield error(_PART, str(failure), _REFERENCE)
        return
    for address in addresses:
        if address.secure or address.host in _LOOPBACK:
            continue
        problem = f"{PREFIX}CLICKHOUSE_URL: password and pageviews go to {address.host} in the clear"
        yield warning(_PART, problem, "use https:// unless the network between them is private")
