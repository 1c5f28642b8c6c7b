"""The files and environment of a private RabbitMQ node: secrets and configuration."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.ports import LOOPBACK

# Debian's and upstream's packages, the generic archive, Homebrew. `/usr/sbin/rabbitmq-server` is, on Debian,
# a wrapper that insists on the system's user and directories, so the scripts that it wraps are used.
_SCRIPT_DIRS = (
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/usr/lib64/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/opt/rabbitmq*/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
)

_CONFIG = """\
# Written at every start: edits are lost.
listeners.tcp.default = {loopback}:{amqp_port}
default_user = {user}
default_pass = {password}
default_permissions.configure = .*
default_permissions.read = .*
default_permissions.write = .*
default_user_tags.administrator = true
# For a laptop: leave memory for ClickHouse and the rest, and accept a nearly full disk.
vm_memory_high_watermark.relative = 0.3
disk_free_limit.absolute = 50MB
# No line for every connection.
log.file.level = warning
log.connection.level = warning
log.console = false
log.file.rotation.size = 10485760
log.file.rotation.count = 1
"""


@dataclass(frozen=True)
class Secrets:
    """Credentials of the node, kept in a file of mode 0600 so that they stay the same over restarts."""

    user: str
    password: str
    cookie: str

    @classmethod
    def kept_in(cls, path: Path) -> Secrets:
        """Return those of the file, or generate and keep new ones."""
        if path.exists():
            return cls(**json.loads(path.read_text()))
        made = cls("hitline", secrets.token_urlsafe(24), secrets.token_hex(20).upper())
        made.keep_in(path)
        return made

    def keep_in(self, path: Path) -> None:
        """Write the file, readable by its owner only."""
        write_private(path, json.dumps({"user": self.user, "password": self.password, "cookie": self.cookie}))


def write_private(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file atomically, at no moment readable by others."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    temporary.replace(path)


def script_dir() -> Path | None:
    """Return the directory with the newest installed RabbitMQ's own scripts; None when there is none."""
    found = [match for pattern in _SCRIPT_DIRS for match in Path("/").glob(pattern[1:])]
    search = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    if on_path := shutil.which("rabbitmq-server", path=search):
        found.append(Path(on_path).resolve().parent)
    real = [path for path in found if (path / "rabbitmq-env").is_file() and (path / "rabbitmqctl").is_file()]
    return max(real, key=_version_of) if real else None


def _version_of(path: Path) -> tuple[int, ...]:
    """Return (3, 10, 8) for `.../rabbitmq_server-3.10.8/sbin`, () when the path has no version."""
    digits = path.parent.name.rpartition("-")[2].split(".")
    return tuple(int(part) for part in digits if part.isdigit())


def write_config(
    path: Path, kept: Secrets, amqp_port: int, extra: Mapping[str, str], plugins: Sequence[str] = ()
) -> None:
    """Write the node's configuration; `extra` are keys of rabbitmq.conf that are added or replace ours."""
    home = path / "home"
    for directory in (path, home, path / "log", path / "conf.d"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = _CONFIG.format(loopback=LOOPBACK, amqp_port=amqp_port, user=kept.user, password=kept.password)
    lines = [line for line in text.splitlines() if line.split(" = ")[0] not in extra]
    lines += [f"{key} = {value}" for key, value in extra.items()]
    write_private(path / "rabbitmq.conf", "\n".join(lines) + "\n")
    write_private(path / "advanced.config", "[].\n")
    write_private(path / "enabled_plugins", f"[{','.join(plugins)}].\n")
    write_private(path / "rabbitmq-env.conf", "")
    # Erlang's own resolver file: `localhost` is found without DNS, /etc/hosts or a helper process.
    write_private(path / "inetrc", '{host, {127,0,0,1}, ["localhost"]}.\n{lookup, [file]}.\n')
    write_private(home / ".erlang.cookie", kept.cookie, mode=0o400)


def environment(path: Path, node_name: str, epmd_port: int, dist_port: int) -> dict[str, str]:
    """Return the environment of a node and its `rabbitmqctl`, without the system broker's variables."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        # NOTIFY_SOCKET: a service manager gave it to us, not to the broker.
        if not name.startswith(("RABBITMQ_", "ERL_")) and name != "NOTIFY_SOCKET"
    }
    loopback_only = "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false"
    return inherited | {
        "HOME": str(path / "home"),  # for the cookie; the caller's may be unset
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_INETRC": str(path / "inetrc"),
        # A crash dump would put memory on the disk.
        "ERL_CRASH_DUMP": "/dev/null",
        "ERL_CRASH_DUMP_BYTES": "0",
        "RABBITMQ_NODENAME": node_name,
        "RABBITMQ_DIST_PORT": str(dist_port),
        "RABBITMQ_CONFIG_FILE": str(path / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(path / "conf.d" / "*.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(path / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": str(path / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(path / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(path / "data"),
        "RABBITMQ_MNESIA_DIR": str(path / "data" / "node"),
        "RABBITMQ_FEATURE_FLAGS_FILE": str(path / "data" / "feature_flags"),
        "RABBITMQ_PLUGINS_EXPAND_DIR": str(path / "data" / "plugins"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(path / "data" / "config"),
        "RABBITMQ_LOG_BASE": str(path / "log"),
        "RABBITMQ_LOGS": str(path / "log" / "rabbit.log"),
        "RABBITMQ_PID_FILE": str(path / "rabbit.pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": loopback_only,
        "RABBITMQ_CTL_ERL_ARGS": loopback_only,
        # Makes the start script become the Erlang machine instead of waiting for it as a shell.
        "RUNNING_UNDER_SYSTEMD": "true",
        "RABBITMQ_SERVER_START_ARGS": "+B i",
    }
