"""What the stack needs before its first pageview: schema and topology, a site, and a client with a token."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.local.services import ROOT, ServiceError
from shared.clickhouse import ClickHouse
from shared.pageview import MANAGE_DATA
from shared.registry import Client, Site, store, token_hash

SITE = "example.com"
CLIENT = "demo"


def hitline_command(*arguments: str) -> list[str]:
    """Return the command line of this virtual environment's `hitline`, independent of PATH."""
    return [str(Path(sys.executable).with_name("hitline")), *arguments]


def hitline(env: Mapping[str, str], *arguments: str) -> str:
    """Run a `hitline` command and return its output; raises ServiceError with that output when it fails."""
    done = subprocess.run(
        hitline_command(*arguments),
        env=dict(env),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceError(f"`hitline {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def prepare(env: Mapping[str, str], token: str | None, say: Callable[[str], None]) -> str:
    """Set up schema, topology, demo site and client; return the client's token: `token` if it still works."""
    hitline(env, "migrate")
    site, client, granted = asyncio.run(_look_up(env["HITLINE_CLICKHOUSE_URL"]))
    if site is None:
        hitline(env, "site", "add", SITE)
        say(f"added the site {SITE}")
    elif token and client and client.token_sha256 == token_hash(token) and site.site_id in granted:
        return token
    if client is not None:
        # Its token was not kept here, and tokens are shown only once: make a new client.
        hitline(env, "client", "revoke", CLIENT)
    added = hitline(env, "client", "add", CLIENT, "--grant", SITE, "--json")
    say(f"added the client {CLIENT}")
    return str(json.loads(added)["token"])


async def _look_up(url: str) -> tuple[Site | None, Client | None, set[bytes]]:
    """Return the demo site and client as the registry has them, and the sites that the client may post for."""
    clickhouse = ClickHouse(url, "hitline make run")
    try:
        sites = await store.sites_named(clickhouse, [SITE])
        clients = await store.clients(clickhouse, CLIENT)
        grants = await store.grants(clickhouse, clients[0]) if clients else []
    finally:
        await clickhouse.close()
    granted = {grant.site_id for grant in grants if grant.permission == MANAGE_DATA}
    return (sites[0] if sites else None), (clients[0] if clients else None), granted
