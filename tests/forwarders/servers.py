"""Web servers and proxies with their recipes; each gives the port on which it answers everything with 200."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.local.ports import free_port
from tests import http, programs, services
from tests.forwarders import tools
from tests.services import System


@contextmanager
def nginx(
    directory: Path, http: str, server: str, modules: str = "", program: programs.Program = programs.NGINX
) -> Iterator[int]:
    """Run an nginx that answers everything with 200 and believes X-Forwarded-For; gives its port."""
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(f"""
        {modules}
        daemon off; master_process on; worker_processes 2; pid {directory}/nginx.pid;
        error_log {directory}/error.log warn;
        user root;
        events {{ worker_connections 256; }}
        http {{
            access_log off; keepalive_requests 100000;
            client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
            uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
            set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;
            {http}
            server {{
                listen 127.0.0.1:{port};
                {server}
                location / {{ return 200 "ok"; }}
            }}
        }}
    """)
    with tools.running(
        program, "-c", configuration, "-e", directory / "error.log", log=directory / "nginx.log", port=port
    ):
        yield port


@contextmanager
def nginx_json(system: System, directory: Path) -> Iterator[int]:
    (directory / "hitline.conf").write_text(tools.recipe("nginx/hitline.conf", {}))
    server = f"access_log {directory}/pageviews.log hitline if=$hitline_page;"
    with tools.syslog_ng(system, directory), nginx(directory, f"include {directory}/hitline.conf;", server) as port:
        yield port


@contextmanager
def nginx_njs(system: System, directory: Path) -> Iterator[int]:
    (directory / "hitline.js").write_text(tools.recipe("nginx-njs/hitline.js", {}))
    http = tools.recipe("nginx-njs/hitline.conf", {"/etc/nginx": str(directory)})
    server = f'set $hitline_secret "a secret"; access_log {directory}/pageviews.log hitline_njs if=$hitline_njs_page;'
    modules = "load_module /usr/lib/nginx/modules/ngx_http_js_module.so;"
    with tools.syslog_ng(system, directory), nginx(directory, http, server, modules, programs.NGINX_NJS) as port:
        yield port


@contextmanager
def nginx_lua(system: System, directory: Path) -> Iterator[int]:
    (directory / "hitline.lua").write_text(tools.recipe("nginx-lua/hitline.lua", {}))
    changes = {"/etc/nginx/lua": str(directory), "port = 8080": f"port = {system.port}", "hl_TOKEN": system.token}
    http = tools.recipe("nginx-lua/hitline.conf", changes)
    server = 'log_by_lua_block { require("hitline").log() }'
    modules = "".join(f"load_module /usr/lib/nginx/modules/{name}_module.so;" for name in ("ndk_http", "ngx_http_lua"))
    with nginx(directory, http, server, modules, programs.NGINX_LUA) as port:
        yield port


@contextmanager
def haproxy(system: System, directory: Path) -> Iterator[int]:
    port, web = free_port(), free_port()
    answers = (
        f"listen web\n  bind 127.0.0.1:{web}\n  http-request return status 200 content-type text/plain string ok\n"
    )
    with tools.syslog_ng(system, directory) as syslog_port:
        changes = {
            "127.0.0.1:6514": f"127.0.0.1:{syslog_port}",
            "127.0.0.1:8081": f"127.0.0.1:{web}",
            "bind :80": f"bind 127.0.0.1:{port}",
            "    # The visitor;": "    http-request set-src hdr_ip(x-forwarded-for,1)\n    # The visitor;",
        }
        file = directory / "haproxy.cfg"
        file.write_text(tools.recipe("haproxy/haproxy.cfg", changes) + answers)
        with tools.running(programs.HAPROXY, "-db", "-f", file, log=directory / "haproxy.log", port=port):
            yield port


@contextmanager
def caddy(system: System, directory: Path) -> Iterator[int]:
    port = free_port()
    changes = {
        "http://:80": f"http://:{port}",
        "\tadmin off": "\tadmin off\n\tdefault_bind 127.0.0.1",
        "/var/log/caddy": str(directory),
        "reverse_proxy 127.0.0.1:8081": 'respond "ok"',
    }
    (directory / "Caddyfile").write_text(tools.recipe("caddy/Caddyfile", changes))
    arguments = ("run", "--config", directory / "Caddyfile", "--adapter", "caddyfile")
    env = {"HOME": str(directory)}
    with ExitStack() as stack:
        stack.enter_context(tools.running(programs.CADDY, *arguments, log=directory / "caddy.log", env=env, port=port))
        stack.enter_context(tools.follower(system, directory / "access.log", "--forwarded-for", directory=directory))
        yield port


@contextmanager
def varnish(system: System, directory: Path) -> Iterator[int]:
    port = free_port()
    answers = 'sub vcl_recv { return (synth(200)); } sub vcl_synth { synthetic("ok"); return (deliver); }\n'
    vcl = tools.recipe("varnish/hitline.vcl", {"8081": "1"}) + answers
    (directory / "hitline.vcl").write_text(vcl)
    log = directory / "hitline.log"
    name = directory / "varnish"
    started = (
        "-F",
        "-n",
        name,
        "-a",
        f"127.0.0.1:{port}",
        "-f",
        directory / "hitline.vcl",
        "-s",
        "malloc,16m",
        "-p",
        "vsl_reclen=4084",
        "-j",
        "none",
    )
    form = tools.recipe("varnish/hitline.format", {}).strip()
    written = ("-n", name, "-a", "-w", log, "-q", "not VCL_Log:hitline", "-F", form)
    with ExitStack() as stack:
        stack.enter_context(tools.running(programs.VARNISH, *started, log=directory / "varnish.log", port=port))
        stack.enter_context(tools.running("varnishncsa", *written, log=directory / "varnishncsa.log"))

        def is_writing() -> bool:  # it begins with what comes after it has found its place
            http.request(port, "GET", "/", headers={"Host": "none.example"})
            return log.exists() and log.stat().st_size > 0

        services.wait_for(is_writing)
        stack.enter_context(tools.follower(system, log, "--forwarded-for", directory=directory))
        yield port


@contextmanager
def apache(system: System, directory: Path) -> Iterator[int]:
    port = free_port()
    modules = ("mpm_event", "authz_core", "alias", "setenvif", "remoteip", "mime", "dir")
    loaded = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules)
    recipe = tools.recipe("apache/hitline.conf", {"/var/log/apache2": str(directory)})
    pages = Path(tempfile.mkdtemp())  # readable by the user that Apache becomes
    pages.chmod(0o755)
    (pages / "ok.txt").write_text("ok")
    (directory / "apache.conf").write_text(f"""
        {loaded}
        ServerRoot {directory}
        ServerName localhost
        PidFile {directory}/pid
        Listen 127.0.0.1:{port}
        ErrorLog {directory}/error.log
        MaxKeepAliveRequests 0
        UseCanonicalName Off
        User www-data
        Group www-data
        TypesConfig /dev/null
        AliasMatch ^ {pages}/ok.txt
        <Directory {pages}>
            Require all granted
        </Directory>
        {recipe}
    """)
    log = directory / "hitline.log"
    started = ("-DFOREGROUND", "-f", directory / "apache.conf")
    with ExitStack() as stack:
        stack.enter_context(tools.running(programs.APACHE, *started, log=directory / "apache.log", port=port))
        stack.enter_context(tools.follower(system, log, directory=directory))
        yield port
