"""A page in a real browser (Debian's chromium) against every port of `make run`: it can do and read nothing."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from deploy.local.environment import read_env
from tests.deploy.local.test_run import Launcher, ask, directory, launcher

__all__ = ["directory", "launcher"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What a page can try: requests that need no preflight, some that do, forms, images, frames, sockets.
PAGE = Path(__file__).with_name("hostile_page.html").read_text()


@contextmanager
def attacker(page: str) -> Iterator[tuple[int, list[Any], threading.Event]]:
    """A web server with the page, and what the page reports."""
    reports: list[Any] = []
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def do_POST(self) -> None:
            reports.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, reports, done
    finally:
        server.shutdown()


@pytest.mark.full
@pytest.mark.processes
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "attacker.test"])
def test_a_page_can_do_nothing_to_any_port(name: str, launcher: Launcher, directory: Path, tmp_path: Path) -> None:
    launcher.wait_for("Ctrl-C stops everything")
    env = read_env(directory / "env")
    amqp = env["HITLINE_AMQP_URL"].rpartition(":")[2].strip("/")
    broker = json.loads((directory / "rabbitmq" / "ports.json").read_text())
    ports = [env["HITLINE_HTTP_PORT"], env["HITLINE_ADMIN_PORT"], env["HITLINE_WORKER_ADMIN_PORT"]]
    ports += [env["HITLINE_CLICKHOUSE_PORT"], amqp, str(broker["dist"])]
    stolen = tmp_path / "stolen"
    sql = f"INSERT INTO FUNCTION file('{stolen}', 'CSV', 'a String') SELECT 'from a page'"
    with attacker(PAGE.replace("PORTS", json.dumps(ports)).replace("SQL", json.dumps(sql))) as (port, reports, done):
        browser = subprocess.Popen(
            [
                str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
                "--host-resolver-rules=MAP *.test 127.0.0.1", f"http://{name}:{port}/?{quote(name)}",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert done.wait(240), "the page did not finish"
        finally:
            browser.terminate()
            browser.wait(20)

    assert len(reports) == len(ports) * 3 * 7
    seen = [got for _, got in reports if isinstance(got, list)]
    # An opaque answer has neither a status nor a text for the page.
    assert {tuple(got) for got in seen} == {("opaque", 0, "")}
    assert "open" not in [got for _, got in reports]
    assert not stolen.exists()
    headers = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": env["CLICKHOUSE_PASSWORD"]}
    count = "SELECT count() FROM hitline.pageviews"
    assert ask(env["HITLINE_CLICKHOUSE_PORT"], "POST", "/", count, headers) == (200, "0\n")
    # A name that was made to resolve to this machine is refused by the private ports, too.
    for setting in ("HITLINE_ADMIN_PORT", "HITLINE_WORKER_ADMIN_PORT", "HITLINE_CLICKHOUSE_PORT"):
        assert ask(env[setting], "GET", "/metrics", "", {"Host": "rebound.test"})[0] == 403
    assert launcher.process.poll() is None
