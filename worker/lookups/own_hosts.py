"""Whether a host is a site's own."""

from __future__ import annotations

from typing import Final

from shared.registry import Site
from worker.lookups.registry import Registry

_REMEMBERED: Final = 16_384


class OwnHosts:
    """Whether hosts are a site's own; remembered as long as the registry has no other state of the site."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._answers: dict[tuple[bytes, str], tuple[Site, bool]] = {}

    def has(self, host: str, site: Site) -> bool:
        """Tell whether `host` is one of the site's hostnames or below one; `*.domain` counts as `domain` here."""
        if not self._registry.is_listed(host):  # as most that visitors come from: one question for all sites
            return False
        key = (site.site_id, host)
        answer = self._answers.get(key)
        if answer is None or answer[0] is not site:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            answer = self._answers[key] = (site, self._registry.lists(site, host))
        return answer[1]
