"""A healthy instance for `hitline doctor`, in which a test plants one fault."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.observe import context
from deploy.observe.doctor import PARTS
from deploy.observe.finding import Finding
from tests import parts
from tests.worker.factories import ASN_RECORDS, CITY_RECORDS, write_database


@dataclass(frozen=True)
class Instance:
    """The environment of a process of the instance."""

    env: dict[str, str]

    def findings(self, part: str, **changed: str) -> list[Finding]:
        """Look at one part, with settings (by name without the prefix) replaced, or unset where empty."""
        environ = {**self.env, **{f"HITLINE_{name}": value for name, value in changed.items()}}
        environ = {name: value for name, value in environ.items() if value}

        async def look() -> list[Finding]:
            return [finding async for finding in PARTS[part](context.read(environ))]

        return parts.in_thread(lambda: asyncio.run(look()))


def one(findings: list[Finding], says: str) -> Finding:
    """Return the only finding, which says this and how to mend it."""
    assert [finding for finding in findings if says in finding.problem], findings
    assert len(findings) == 1, findings
    assert findings[0].cure
    return findings[0]


def fill(state: Path) -> None:
    """Put in place what `hitline geo update` and `hitline feeds update` would."""
    (state / "geo").mkdir(parents=True)
    (state / "feeds").mkdir()
    write_database(state / "geo" / "city.mmdb", CITY_RECORDS)
    write_database(state / "geo" / "asn.mmdb", ASN_RECORDS, "ASN")
    (state / "feeds" / "referrer_spam.txt").write_text("spam.example\n")


def manage(url: str, method: str, path: str, body: Any = None) -> Any:
    """Ask RabbitMQ's management API at `url` (with user and password)."""
    at = urlsplit(url)
    request = urllib.request.Request(f"http://{at.hostname}:{at.port}/api{path}", method=method)
    request.add_header("Authorization", "Basic " + base64.b64encode(f"{at.username}:{at.password}".encode()).decode())
    request.add_header("Content-Type", "application/json")
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(request, data, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def set_policy(url: str, definition: Mapping[str, Any]) -> None:
    """Set a policy on Hitline's queues, and wait until the API tells of it."""
    body = {"pattern": "^hitline", "definition": definition, "apply-to": "queues"}
    manage(url, "PUT", "/policies/%2F/planted", body)
    _wait(lambda: manage(url, "GET", "/queues/%2F/hitline.pageviews").get("policy") == "planted")


def remove_policy(url: str) -> None:
    """Remove it again."""
    manage(url, "DELETE", "/policies/%2F/planted")
    _wait(lambda: manage(url, "GET", "/queues/%2F/hitline.pageviews").get("policy") is None)


def _wait(look: Any) -> None:
    deadline = time.monotonic() + 90
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.1)
