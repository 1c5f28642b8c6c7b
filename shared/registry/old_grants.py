"""A client's grants as gateways before migration 0011 read them: one array in the client's row.

For as long as such gateways may run, a client with few grants has them in both forms, so that they serve it whatever
command gave the grants.  With many, the array stays as it is: writing it again at each change is what rows are for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from shared.registry.records import EVERY_SITE, EVERY_SITE_ID, Client, Grant

#: Grants up to which the array is kept up to date.
_MOST: Final = 100


def with_old_grants(client: Client, added: Iterable[Grant], removed: Iterable[Grant] = ()) -> Client:
    """Return the client with the array as it is after a change of its grants."""
    gone = set(map(_entry, removed))
    entries = [entry for entry in client.old_grants if entry not in gone]
    now = tuple(dict.fromkeys([*entries, *map(_entry, added)]))
    return dataclasses.replace(client, old_grants=now if len(now) <= _MOST else tuple(entries))


def _entry(grant: Grant) -> tuple[str, str]:
    site = EVERY_SITE if grant.site_id == EVERY_SITE_ID else str(UUID(bytes=grant.site_id))
    return site, grant.permission
