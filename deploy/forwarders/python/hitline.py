"""Pageviews of a WSGI application to Hitline: written to a spool on disk, shipped by a process of its own.

In the application:          application = Hitline(application, spool="/var/spool/hitline", secret=…)
Beside it, as a service:     HITLINE_TOKEN=hl_… python3 hitline.py /var/spool/hitline http://127.0.0.1:8080

A request only appends a line; the shipper repeats a batch until it is taken.  Every pageview has its page_id from the
start, so that repeating stores nothing twice.  Standard library only, Python 3.9 and later.
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timezone
from pathlib import Path

BATCH_ITEMS, BATCH_BYTES = 500, 1024 * 1024
STATIC = re.compile(
    r"\.(js|mjs|css|map|json|xml|txt|png|jpe?g|gif|webp|avif|ico|svg|woff2?|ttf|otf|eot|mp[34]|webm|pdf|zip|gz|jar)$",
    re.IGNORECASE,
)
PREFETCH = re.compile("prefetch|preview", re.IGNORECASE)


class Spool:
    """A directory of files with a pageview a line; many processes may append, one ships."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def append(self, pageview):
        line = json.dumps(pageview).encode() + b"\n"
        with self._locked(fcntl.LOCK_SH), open(self.directory / "current.ndjson", "ab", buffering=0) as file:
            file.write(line)

    def take(self):
        """Return the files that are to be shipped, the oldest first; nobody appends to them any more."""
        with self._locked(fcntl.LOCK_EX):
            current = self.directory / "current.ndjson"
            if current.exists():
                current.rename(self.directory / f"{time.time_ns():020}.ndjson")
        return sorted(path for path in self.directory.glob("*.ndjson") if path.name != "current.ndjson")

    def _locked(self, how):
        file = open(self.directory / "lock", "ab")
        fcntl.flock(file, how)
        return file


class Hitline:
    """WSGI middleware that spools a pageview for each page that somebody looks at."""

    def __init__(self, application, spool, secret, behind_proxy=False):
        """`secret` keys sessions, the same everywhere; `behind_proxy`: believe the last address of X-Forwarded-For."""
        self.application = application
        self.spool = Spool(spool)
        self.secret = secret.encode()
        self.behind_proxy = behind_proxy

    def __call__(self, environ, start_response):
        def started(status, headers, exc_info=None):
            if self._is_page(environ, status):
                self.spool.append(self._pageview(environ))
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self.application(environ, started)

    @staticmethod
    def _is_page(environ, status):
        purpose = " ".join(environ.get(f"HTTP_{name}", "") for name in ("SEC_PURPOSE", "PURPOSE", "X_MOZ"))
        seen = environ["REQUEST_METHOD"] == "GET" and status.startswith(("200", "304"))
        return seen and not STATIC.search(environ.get("PATH_INFO", "")) and not PREFETCH.search(purpose)

    def _pageview(self, environ):
        now = time.time()
        address = environ["REMOTE_ADDR"]
        if self.behind_proxy:
            address = environ.get("HTTP_X_FORWARDED_FOR", address).split(",")[-1].strip()
        agent = environ.get("HTTP_USER_AGENT", "").strip() or "-"  # a visitor without one; Hitline flags it as a bot
        return {
            "url": _url(environ),
            "timestamp": datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="milliseconds"),
            "visitor_ip": address,
            "user_agent": _text(agent),
            "referrer": _text(environ.get("HTTP_REFERER", "")),
            "language": environ.get("HTTP_ACCEPT_LANGUAGE", ""),
            "dnt": environ.get("HTTP_DNT") == "1" or environ.get("HTTP_SEC_GPC") == "1",
            "session_id": self._session(address, agent, now),
            "page_id": str(uuid.uuid4()),
        }

    def _session(self, address, agent, now):
        """A visitor's half hour, keyed: without a key, an address could be found by trying all of IPv4."""
        visitor = f"{address}\n{agent}\n{int(now // 1800)}".encode()
        raw = bytearray(hmac.digest(self.secret, visitor, hashlib.sha256)[:16])
        raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80  # version 8 (RFC 9562)
        return str(uuid.UUID(bytes=bytes(raw)))


def _text(value):
    """WSGI has a header's bytes as latin-1; what is not UTF-8 becomes U+FFFD."""
    return value.encode("latin-1").decode("utf-8", "replace")


def _url(environ):
    """The URL as it was asked for, where the server says so; PATH_INFO is decoded already."""
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if not target:
        path = urllib.request.quote(environ.get("PATH_INFO", "/").encode("latin-1"), safe="/:@!$&'()*+,;=~\"")
        target = path + ("?" + environ["QUERY_STRING"] if environ.get("QUERY_STRING") else "")
    return f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', environ['SERVER_NAME'])}{target}"


class Shipper:
    """Posts a spool's files until all of each is taken or refused for good."""

    def __init__(self, spool, url, token):
        self.spool = Spool(spool)
        self.url = url.rstrip("/") + "/api/ingest/server/pageviews?errors=all"
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}

    def run(self, pause_s=1.0):
        while True:
            for path in self.spool.take():
                for batch in _batches(path.read_bytes().splitlines()):
                    self.deliver(batch)
                path.unlink()
            time.sleep(pause_s)

    def deliver(self, items):
        wait_s = 0.5
        while items:
            status, retry_after, body = self._post(items)
            if status == 202:
                items = [items[each["index"]] for each in body["errors"] if each["status"] >= 500]
            elif status == 413 and len(items) > 1:
                self.deliver(items[: len(items) // 2])
                items = items[len(items) // 2 :]
                continue
            elif status in (400, 404, 413):
                print(f"hitline: {len(items)} pageviews were refused for good: {body.get('message')}", file=sys.stderr)
                return
            if items:  # 401 and 403 too: nothing is lost while somebody mends the token
                print(f"hitline: status {status or 'none'}, repeating {len(items)} pageviews", file=sys.stderr)
                time.sleep(max(wait_s, retry_after))
                wait_s = min(wait_s * 2, 30)

    def _post(self, items):
        """Return (status, Retry-After, body); status 0 where there was no answer."""
        request = urllib.request.Request(self.url, b"\n".join(items), self.headers, method="POST")
        try:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return answer.status, 0, json.load(answer)
            except urllib.error.HTTPError as error:
                after = error.headers.get("Retry-After", "0")
                return error.code, int(after) if after.isdigit() else 0, json.load(error)
        except (OSError, ValueError):
            return 0, 0, {}


def _batches(items):
    batch, size = [], 0
    for item in items:
        if batch and (len(batch) >= BATCH_ITEMS or size + len(item) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item)
    if batch:
        yield batch


if __name__ == "__main__":
    Shipper(sys.argv[1], sys.argv[2], os.environ["HITLINE_TOKEN"]).run()
