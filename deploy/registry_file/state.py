"""What the registry has, as `hitline apply` and `hitline export` need it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from shared.clickhouse import ClickHouse
from shared.pageview import MANAGE_DATA
from shared.registry import Client, Exclusion, Site, fetch, store
from shared.registry.records import CLIENTS, EVERY_SITE, EVERY_SITE_ID, SITES, Change
from shared.registry.touched import Rule

_ID = 16


@dataclass
class State:
    """All that is in force; of several records with one name the oldest counts, and the others are `doubles`."""

    sites: dict[str, Site] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    doubles: list[Site | Client] = field(default_factory=list)
    #: The version in which each site or client was read, by id.
    versions: dict[bytes, int] = field(default_factory=dict)
    #: By id; every site by its stand-in.
    site_names: dict[bytes, str] = field(default_factory=lambda: {EVERY_SITE_ID: EVERY_SITE})
    #: Which site lists a hostname, the oldest of several.
    listings: dict[str, Site] = field(default_factory=dict)
    #: The ids of the sites that a client may post for, packed one after another.
    packed_grants: dict[bytes, bytes] = field(default_factory=dict)
    rules: dict[Rule, list[Exclusion]] = field(default_factory=dict)

    def grants_of(self, client: Client) -> set[bytes]:
        """Return the sites that a client may post for; removed ones, whose grants ended with them, left out."""
        packed = self.packed_grants.get(client.client_id, b"")
        ids = {packed[at : at + _ID] for at in range(0, len(packed), _ID)}
        return {site_id for site_id in ids if site_id in self.site_names}

    def site_of(self, hostname: str) -> Site | None:
        """Return the oldest site with this name or hostname."""
        return self.listings.get(hostname)


async def read_state(clickhouse: ClickHouse, *, grants: bool = True) -> State:
    """Read the registry; without `grants`, of which there may be millions, those are left out."""
    state = State()
    for change in _oldest_first(await store.newest(clickhouse, SITES, having="NOT removed")):
        site = change.record
        if not isinstance(site, Site):
            continue
        if state.sites.setdefault(site.name, site) is not site:
            state.doubles.append(site)
        state.site_names[site.site_id] = site.name
        state.versions[site.site_id] = change.version
        for hostname in (site.name, *site.hostnames):
            state.listings.setdefault(hostname, site)
    for change in _oldest_first(await store.newest(clickhouse, CLIENTS, having="NOT removed")):
        client = change.record
        if not isinstance(client, Client):
            continue
        if state.clients.setdefault(client.name, client) is not client:
            state.doubles.append(client)
        state.versions[client.client_id] = change.version
    async for block in fetch.grants_in_force(clickhouse) if grants else _none():
        for client_id, permission, sites, _ in block:
            if permission == MANAGE_DATA:
                state.packed_grants[client_id] = sites
    for rule in await store.exclusions(clickhouse):
        if rule.site_id is None or rule.site_id in state.site_names:
            state.rules.setdefault(Rule(rule.site_id, rule.kind, rule.value), []).append(rule)
    return state


async def _none() -> AsyncIterator[Sequence[fetch.PackedGrants]]:
    nothing: list[Sequence[fetch.PackedGrants]] = []
    for block in nothing:
        yield block


def _oldest_first(changes: list[Change]) -> list[Change]:
    def key(change: Change) -> tuple[int, bytes]:
        record = change.record
        id = record.site_id if isinstance(record, Site) else record.client_id if isinstance(record, Client) else b""
        return record.created_us or 0, id

    return sorted(changes, key=key)
