"""The registry: sites, API clients with their grants, exclusions.

`model` has the types, `replica` a process's own copy on local disk, `poll` what keeps it fresh from ClickHouse.
"""

from shared.registry.model import ALL_SITES, Client, Exclusion, Site
from shared.registry.replica import Replica

__all__ = ["ALL_SITES", "Client", "Exclusion", "Replica", "Site"]
