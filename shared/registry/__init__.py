"""The registry: sites, API clients with their grants, exclusion rules.

`records` has the types and their columns, `store` writes and reads them in ClickHouse, `replica` is a process's own
copy on local disk, `poll` keeps that copy up to date (`window` tells whether anything has changed, `fetch` and `load`
bring it), and `owners` decides whose a hostname is.
"""

from shared.registry.records import Client, Exclusion, Grant, Site, token_hash
from shared.registry.replica import Replica

__all__ = ["Client", "Exclusion", "Grant", "Replica", "Site", "token_hash"]
