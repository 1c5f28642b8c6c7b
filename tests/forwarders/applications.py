"""Applications with their recipes; each gives the port on which it answers everything with 200."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.local.ports import free_port
from tests import programs
from tests.forwarders import tools
from tests.services import System

_PYTHON = """
import sys
sys.path.insert(0, {recipes!r})
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from hitline import Hitline

class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

class Quiet(WSGIRequestHandler):
    def log_message(self, *_): pass
    def get_environ(self): return {{**super().get_environ(), "RAW_URI": self.path}}

def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]

application = Hitline(application, spool={spool!r}, secret="a secret", behind_proxy=True)
make_server("127.0.0.1", {port}, application, Server, Quiet).serve_forever()
"""
_PHP = """<?php
require {recipe!r};
header('Content-Length: 2');
(new Hitline({spool!r}, 'a secret', behindProxy: true))->pageview();
echo 'ok';
"""
_NODE = """
import {{ createServer }} from 'node:http';
import {{ Hitline }} from {recipe!r};
const hitline = new Hitline({{
    spool: {spool!r}, url: {url!r}, token: {token!r}, secret: 'a secret', behindProxy: true, everyMs: 200,
}});
createServer((request, response) => {{
    hitline.watch(request, response);
    response.setHeader('Content-Length', 2);
    response.end('ok');
}}).listen({port}, '127.0.0.1');
"""


@contextmanager
def python(system: System, directory: Path) -> Iterator[int]:
    port, spool = free_port(), directory / "spool"
    recipes = tools.RECIPES / "python"
    script = directory / "server.py"
    script.write_text(_PYTHON.format(recipes=str(recipes), spool=str(spool), port=port))
    with ExitStack() as stack:
        stack.enter_context(tools.running("python3", script, log=directory / "server.log", port=port))
        shipper = ("python3", recipes / "hitline.py", spool, f"http://127.0.0.1:{system.port}")
        env = {"HITLINE_TOKEN": system.token}
        stack.enter_context(tools.running(*shipper, log=directory / "shipper.log", env=env))
        yield port


@contextmanager
def php(system: System, directory: Path) -> Iterator[int]:
    port, spool = free_port(), directory / "spool"
    recipe = tools.RECIPES / "php" / "hitline.php"
    router = directory / "router.php"
    router.write_text(_PHP.format(recipe=str(recipe), spool=str(spool)))
    with ExitStack() as stack:
        server = ("-S", f"127.0.0.1:{port}", router)
        env = {"PHP_CLI_SERVER_WORKERS": "4"}
        stack.enter_context(tools.running(programs.PHP, *server, log=directory / "server.log", env=env, port=port))
        env = {"HITLINE_TOKEN": system.token}
        shipper = (recipe, spool, f"http://127.0.0.1:{system.port}")
        stack.enter_context(tools.running(programs.PHP, *shipper, log=directory / "shipper.log", env=env))
        yield port


@contextmanager
def node(system: System, directory: Path) -> Iterator[int]:
    port, spool = free_port(), directory / "spool"
    script = directory / "server.mjs"
    recipe = str(tools.RECIPES / "node" / "hitline.mjs")
    url = f"http://127.0.0.1:{system.port}"
    script.write_text(_NODE.format(recipe=recipe, spool=str(spool), url=url, token=system.token, port=port))
    with tools.running(programs.NODE, script, log=directory / "server.log", port=port):
        yield port
