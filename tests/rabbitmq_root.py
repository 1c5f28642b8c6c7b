"""`HITLINE_TEST_RABBITMQ=/path/to/root`: the suite's brokers are the RabbitMQ that is installed in another root.

For a version that this machine's distribution does not have.  As root, with the package debootstrap:

    debootstrap --variant=minbase --include=rabbitmq-server trixie /path/to/root
    HITLINE_TEST_RABBITMQ=/path/to/root .venv/bin/pytest tests/delivery

Scripts that run the root's own, in a mount namespace where the node's directory is at the same path, come first on
PATH; so tests and the processes that they start find them as they would an installed broker.  Deprecated features that
Hitline does not use are denied.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "HITLINE_TEST_RABBITMQ"
_INSTALLED: Final = "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"
_SCRIPTS: Final = ("rabbitmq-server", "rabbitmqctl")
#: Not `transient_nonexcl_queues`, which Hitline does not use either: with that denied, 4.0.5 can't join a cluster, and
#: does not always start after a crash ("failed_to_deny_deprecated_features"), whatever queues there are.
_DENIED: Final = ("amqp_address_v1", "global_qos", "queue_master_locator", "ram_node_type")
#: Runs a command in the root: $NODE is the node's directory, which has the same path inside.
_ENTER: Final = """\
#!/bin/sh
set -eu
NODE=${{RABBITMQ_CONFIG_FILE%/*}}
{before}
mkdir -p '{root}'"$NODE"
user=
[ "$(id -u)" = 0 ] || user=--map-root-user
exec unshare --mount $user sh -ec '
    for each in /dev /proc /sys "$0"; do mount --rbind "$each" "{root}$each"; done
    exec chroot "{root}" {command} "$@"' "$NODE" "$@"
"""
_EPMD: Final = """\
#!/bin/sh
user=
[ "$(id -u)" = 0 ] || user=--map-root-user
exec unshare $user chroot '{root}' /usr/bin/epmd "$@"
"""


def put_on_path(root: Path, directory: Path) -> str:
    """Make scripts in `directory` that run the broker of `root`, put them on PATH, and return its version."""
    installed = sorted(root.glob(_INSTALLED))
    if not installed:
        raise RuntimeError(
            f"{VARIABLE}: there is no RabbitMQ in {root}; see {Path(__file__).name} for how to make such a root"
        )
    release = installed[-1].parent.name
    scripts = directory / release / "sbin"  # by this name the newest of several is found
    scripts.mkdir(parents=True, exist_ok=True)
    deny = "\n".join(f"deprecated_features.permit.{feature} = false" for feature in _DENIED)
    for name in _SCRIPTS:
        command = f"/{(installed[-1] / name).relative_to(root)}"
        before = f"echo '{deny}' >\"$NODE/conf.d/90-denied.conf\"" if name == "rabbitmq-server" else ""
        _write(scripts / name, _ENTER.format(root=root, command=command, before=before))
    _write(scripts / "epmd", _EPMD.format(root=root))
    _write(scripts / "rabbitmq-env", "#!/bin/sh\n")  # is looked for, as a part of an installation
    os.environ["PATH"] = f"{scripts}:{os.environ.get('PATH', os.defpath)}"
    return release.removeprefix("rabbitmq_server-")


def _write(path: Path, text: str) -> None:
    """Write a script, at once: other test processes may run it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.chmod(0o755)
    temporary.replace(path)
