"""Programs that the suite runs beside Hitline: found, else installed as root, else named with what to install.

`python -m tests.programs` installs all of them, before test processes that run side by side need them.
"""

from __future__ import annotations

import glob
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple

from deploy.local import apt
from deploy.local.broker import ensure_rabbitmq
from deploy.local.failure import SetupError

_DIRECTORIES = "/usr/local/bin:/usr/bin:/usr/sbin:/bin"


class Program(NamedTuple):
    """A program, or others that do as well, and its Debian packages; `files`: patterns, one of which must match."""

    names: tuple[str, ...]
    packages: tuple[str, ...]
    units: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def find(self) -> str | None:
        """Return its path."""
        if self.files and not any(map(glob.glob, self.files)):
            return None
        return next(filter(None, (shutil.which(name, path=_DIRECTORIES) for name in self.names)), None)


CURL = Program(("curl",), ("curl",))
REDIS = Program(("redis-server", "valkey-server"), ("redis-server",), ("redis-server.service",))
WRK = Program(("wrk",), ("wrk",))
SYSLOG_NG = Program(
    ("syslog-ng",),
    ("syslog-ng-core", "syslog-ng-mod-http"),
    ("syslog-ng.service",),
    ("/usr/lib/syslog-ng/*/libhttp.so", "/usr/lib/*/syslog-ng/*/libhttp.so"),
)
NGINX = Program(("nginx",), ("nginx-light",), ("nginx.service",))
NGINX_LUA = Program(
    ("nginx",),
    ("nginx-light", "libnginx-mod-http-lua", "lua-cjson"),
    ("nginx.service",),
    ("/usr/lib/nginx/modules/ngx_http_lua_module.so",),
)
NGINX_NJS = Program(
    ("nginx",),
    ("nginx-light", "libnginx-mod-http-js"),
    ("nginx.service",),
    ("/usr/lib/nginx/modules/ngx_http_js_module.so",),
)
HAPROXY = Program(("haproxy",), ("haproxy",), ("haproxy.service",))
CADDY = Program(("caddy",), ("caddy",), ("caddy.service", "caddy-api.service"))
VARNISH = Program(("varnishd",), ("varnish",), ("varnish.service", "varnishncsa.service"))
APACHE = Program(("apache2",), ("apache2",), ("apache2.service", "apache-htcacheclean.service"))
PHP = Program(("php",), ("php-cli", "php-curl"), files=("/usr/lib/php/*/curl.so",))
NODE = Program(("node",), ("nodejs",))
_PROMETHEUS_UNITS = ("prometheus.service",)
PROMETHEUS = Program(("prometheus",), ("prometheus",), _PROMETHEUS_UNITS)
PROMTOOL = Program(("promtool",), ("prometheus",), _PROMETHEUS_UNITS)
SHELLCHECK = Program(("shellcheck",), ("shellcheck",))
#: For long tests only.
SYSTEMD = Program(("systemd-analyze",), ("systemd",))
ALERTMANAGER = Program(("prometheus-alertmanager",), ("prometheus-alertmanager",), ("prometheus-alertmanager.service",))
ALL = (
    *(CURL, REDIS, WRK, SYSLOG_NG),
    *(NGINX, NGINX_LUA, NGINX_NJS, HAPROXY, CADDY, VARNISH, APACHE, PHP, NODE, PROMETHEUS, SHELLCHECK),
)


def path_of(program: Program, say: Callable[[str], None] = print) -> str:
    """Return the program's path, installing it first where this process may; raises `SetupError`, one line."""
    if found := program.find():
        return found
    if apt.can_install():
        for package in program.packages:
            apt.install(package, list(program.units), say)
        if found := program.find():
            return found
    raise SetupError(f"{program.names[0]} is missing: install {' '.join(program.packages)} (as root, the suite does)")


def available(program: Program) -> str | None:
    """Return why a long test has to be skipped, None if the program is there or could be installed."""
    try:
        path_of(program)
    except SetupError as error:
        return str(error)
    return None


def main() -> None:
    """Install what is missing; exits 1 with a line for each program that can't be."""
    failed = False
    for ensure in (ensure_rabbitmq, *(lambda program=program: path_of(program) for program in ALL)):
        try:
            ensure()
        except SetupError as error:
            print(f"hitline: {error}", file=sys.stderr)
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
