"""A web server on loopback whose files tests replace, with spam lists to serve."""

from __future__ import annotations

import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from worker.lookups.updates.feeds import FEEDS, Feed

DROP = b'{"cidr":"192.0.2.0/24","sblid":"SBL1"}\n{"cidr":"198.51.100.0/24"}\n{"type":"metadata","records":2}\n'
DROP6 = b'{"cidr":"2001:db8::/32","sblid":"SBL1"}\n{"type":"metadata","records":1}\n'
SOURCES = {
    "sources/AIAssistants.yml": b"Claude:\n  - claude.ai\n",
    "sources/SearchEngines.yml": b"Bing:\n  -\n    urls:\n      - bing.com\n      - '{}.bing.com'\n    params: [q]\n",
    "sources/Socials.yml": b"Mastodon:\n  - mastodon.social\n  - mas.to\n",
}
HOSTS = b"spam.example\nother.example\nthird.example\nfourth.example\n"


class FileServer:
    """Serves what was `put`, with ETag and If-None-Match; `cut` and `pause_s` make it break off or trickle."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.cut = False
        self.pause_s = 0.0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = self.headers.get("If-None-Match")
                server.asked.append((self.path, given))
                status, body = server.files.get(self.path, (404, b"gone"))
                tag = f'"{hash(body)}"'
                if status == 200 and given == tag:
                    status, body = 304, b""
                self.send_response(status)
                self.send_header("ETag", tag)
                if status == 302:
                    self.send_header("Location", body.decode())
                if status != 304:
                    self.send_header("Content-Length", str(len(body) + 10 * server.cut))
                self.end_headers()
                with suppress(ConnectionError):  # of a client that had enough
                    for part in (body[i : i + 1] for i in range(len(body))) if server.pause_s else (body,):
                        self.wfile.write(part)
                        time.sleep(server.pause_s)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def feeds(self) -> list[Feed]:
        return [feed._replace(url=f"{self.url}/{feed.file}") for feed in FEEDS]

    def put(self, file: str, body: bytes, status: int = 200) -> None:
        self.files[f"/{file}"] = (status, body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
