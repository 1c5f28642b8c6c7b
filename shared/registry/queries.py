"""What a replica is asked: the SQL of its look-ups; its tables are in `replica_file`."""

from __future__ import annotations

from typing import Final

from shared.registry.apply import SITE_COLUMNS
from shared.registry.records import EXCLUSIONS

#: One statement, since the writer may remove the site between two.
FIND_SITE: Final = (
    f"SELECT {', '.join(SITE_COLUMNS)} FROM hostnames AS listings JOIN sites USING (site_id)"  # noqa: S608
    " WHERE hostname = ? ORDER BY listings.created_us, site_id LIMIT 1"
)
LISTS: Final = "SELECT 1 FROM hostnames WHERE hostname = ? AND site_id = ? LIMIT 1"
IS_LISTED: Final = "SELECT 1 FROM hostnames WHERE hostname = ? LIMIT 1"
FIND_CLIENT: Final = "SELECT client_id, name, rate, token_sha256, burst FROM clients WHERE token_sha256 = ?"
FIND_GRANT: Final = """
SELECT 1 FROM holders JOIN grants USING (holder)
WHERE client_id = ? AND permission = ? AND site_id = ? AND grants.version > 0
"""
ANY_GRANT: Final = "SELECT 1 FROM holders JOIN grants USING (holder) WHERE client_id = ? AND grants.version > 0 LIMIT 1"
#: A removed site's rules ended with it.
_IN_FORCE: Final = "(site_id IS NULL OR site_id IN (SELECT site_id FROM sites))"
EXCLUSIONS_IN_FORCE: Final = f"SELECT {', '.join(EXCLUSIONS.columns)} FROM exclusions WHERE {_IN_FORCE}"  # noqa: S608
EXCLUSIONS_OF_OWNER: Final = f"{EXCLUSIONS_IN_FORCE} AND site_id IS ?"
HOLDS: Final = f"SELECT 1 FROM exclusions WHERE site_id IS ? AND kind = ? AND value = ? AND {_IN_FORCE}"  # noqa: S608
