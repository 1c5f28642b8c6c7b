from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from shared import download
from shared.download import DownloadError, OutOfReachError, fetch
from worker.lookups.updates.feed_timer import FeedTimer
from worker.lookups.updates.feeds import FEEDS, BusyError, Feed, update_feeds

DROP = b'{"cidr":"192.0.2.0/24","sblid":"SBL1"}\n{"cidr":"198.51.100.0/24"}\n{"type":"metadata","records":2}\n'
DROP6 = b'{"cidr":"2001:db8::/32","sblid":"SBL1"}\n{"type":"metadata","records":1}\n'
HOSTS = b"spam.example\nother.example\nthird.example\nfourth.example\n"


class Server:
    """A loopback web server whose files tests replace; it knows ETag and If-None-Match."""

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


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    for file, body in (("drop_v4.json", DROP), ("drop_v6.json", DROP6), ("referrer_spam.txt", HOSTS)):
        server.put(file, body)
    yield server
    server.close()


@pytest.fixture
def update(server: Server, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Update from the server; returns what became of each feed, failures with `!` before them."""

    def run(**options: bool) -> dict[str, str]:
        results = update_feeds(tmp_path, server.feeds(), **options)
        return {result.feed.file: ("" if result.ok else "!") + result.text for result in results}

    return run


def test_fetches_all_and_asks_for_no_more_than_changes(update, server, tmp_path):
    assert update() == {"drop_v4.json": "2 networks", "drop_v6.json": "1 networks", "referrer_spam.txt": "4 hosts"}
    assert (tmp_path / "drop_v4.json").read_bytes() == DROP
    assert set(update().values()) == {"unchanged"}
    server.put("drop_v6.json", DROP6.replace(b"db8", b"db9"))
    assert update() == {"drop_v4.json": "unchanged", "drop_v6.json": "1 networks", "referrer_spam.txt": "unchanged"}
    assert not list(tmp_path.glob(".*part"))


@pytest.mark.parametrize(
    ("body", "status", "wrong"),
    [
        (b"", 200, "lists nothing"),
        (b"<html>busy</html>", 200, "is a web page"),
        (DROP[:60], 200, "line 2 is not JSON"),
        (b"".join(DROP.splitlines(True)[:2]), 200, "cut short"),
        (HOSTS, 200, "is no list of networks"),
        (b"error", 500, "answered 500"),
        (b"gone", 404, "answered 404"),
        (DROP, 206, "answered 206"),
        (b"/drop_v4.json", 302, "infinite loop"),
        (b"file:///etc/hostname", 302, "not allowed"),
        (b"http://[malformed", 302, "malformed"),
        (b"http://a..example/", 302, "malformed"),
    ],
)
def test_a_failing_feed_leaves_its_old_list_and_all_others_alone(update, server, tmp_path, body, status, wrong):
    update()
    server.put("drop_v4.json", body, status)
    server.put("referrer_spam.txt", HOSTS + b"fifth.example\n")
    told = update()
    assert told["drop_v4.json"].startswith("!")
    assert wrong in told["drop_v4.json"]
    assert told["drop_v4.json"].endswith("the old list stays")
    assert (tmp_path / "drop_v4.json").read_bytes() == DROP
    assert told["referrer_spam.txt"] == "5 hosts"
    server.put("drop_v4.json", DROP)
    assert update()["drop_v4.json"] == "unchanged"


def test_a_list_that_shrank_to_less_than_half_is_taken_only_by_force(update, server):
    update()
    server.put("referrer_spam.txt", b"spam.example\n")
    assert "less than half of the 4 in use" in update()["referrer_spam.txt"]
    assert update(force=True)["referrer_spam.txt"] == "1 hosts"


def test_asks_anew_for_what_is_missing_damaged_or_from_elsewhere(update, server, tmp_path):
    update()
    (tmp_path / "drop_v4.json").write_bytes(b"damaged")
    (tmp_path / "drop_v6.json").unlink()
    notes = tmp_path / ".referrer_spam.txt.notes"
    notes.write_text(json.dumps(json.loads(notes.read_text()) | {"url": "http://elsewhere.example/"}))
    server.asked.clear()
    assert "unchanged" not in update().values()
    assert {given for _, given in server.asked} == {None}


def test_a_server_out_of_reach_is_told(tmp_path, server):
    feeds = server.feeds()
    server.close()
    results = update_feeds(tmp_path, feeds)
    assert not any(result.ok for result in results)
    assert not any((tmp_path / feed.file).exists() for feed in feeds)


def test_nothing_changed_is_no_answer_where_nothing_is_there(update, server, tmp_path):
    server.put("drop_v4.json", b"", 304)
    assert "304" in update()["drop_v4.json"]
    assert not (tmp_path / "drop_v4.json").exists()


def test_one_update_at_a_time(update, tmp_path):
    with (tmp_path / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            update()
    update()


def test_a_download_is_bounded_and_whole(server, tmp_path, monkeypatch):
    with (tmp_path / "file").open("wb") as file:
        with pytest.raises(DownloadError, match="larger than"):
            fetch(f"{server.url}/drop_v4.json", file, limit_bytes=10)
        with pytest.raises(DownloadError, match="neither http"):
            fetch("file:///etc/hostname", file, limit_bytes=1000)
        server.cut = True
        with pytest.raises(OutOfReachError, match="broke"):
            fetch(f"{server.url}/drop_v4.json", file, limit_bytes=1000)
        server.cut = False
        server.pause_s = 0.1  # never silent for long, and done in 10 s
        monkeypatch.setattr(download, "WHOLE_SECONDS", 0.5)
        began = time.monotonic()
        with pytest.raises(DownloadError, match="took longer"):
            fetch(f"{server.url}/drop_v4.json", file, limit_bytes=1000)
        assert time.monotonic() - began < 5
        server.pause_s = 0.0
        monkeypatch.setattr(download, "WHOLE_SECONDS", -1.0)
        with pytest.raises(DownloadError, match="took longer"):
            fetch(f"{server.url}/drop_v4.json", file, limit_bytes=1000)


def test_a_timer_updates_at_once_and_then_by_the_clock(server, tmp_path):
    now = 0.0
    timer = FeedTimer(tmp_path / "feeds", 2, server.feeds(), lambda: now)
    timer.tick()
    timer.wait()
    assert len(server.asked) == 3
    timer.tick()
    timer.wait()
    assert len(server.asked) == 3
    now = 7200.0
    timer.tick()
    timer.wait()
    assert len(server.asked) == 6
    never = FeedTimer(tmp_path / "feeds", 0, server.feeds(), lambda: now)
    never.tick()
    never.wait()
    assert len(server.asked) == 6


def test_files_are_readable_by_other_users(update, tmp_path):
    update()
    assert os.stat(tmp_path / "drop_v4.json").st_mode & 0o777 == 0o644
