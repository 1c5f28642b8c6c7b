"""`hitline probe`, the health check of containers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner

from deploy.cli.process import probe


class _Admin(BaseHTTPRequestHandler):
    """An admin port of a process that is alive and not ready."""

    def do_GET(self) -> None:
        ready = self.path == "/healthz"
        self.send_response(200 if ready else 503)
        self.end_headers()
        self.wfile.write(b"ok\n" if ready else b"the broker is not connected\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Admin)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_alive_is_exit_0_and_unready_exit_1_with_the_reason(port: int) -> None:
    alive = CliRunner().invoke(probe, ["--port", str(port)])
    assert (alive.exit_code, alive.output) == (0, "ok\n")
    unready = CliRunner().invoke(probe, ["--port", str(port), "--ready"])
    assert unready.exit_code == 1
    assert "the broker is not connected" in unready.output


def test_the_port_comes_from_the_settings(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HITLINE_ADMIN_PORT", str(port))
    assert CliRunner().invoke(probe, []).exit_code == 0


def test_no_process_is_exit_1(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HITLINE_ADMIN_PORT", "1")
    gone = CliRunner().invoke(probe, [])
    assert gone.exit_code == 1
    assert "nothing answers on port 1" in gone.output
