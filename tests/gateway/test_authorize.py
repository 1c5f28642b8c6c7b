"""Who may post for a hostname, and who learns that it exists."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.authorize import authorize
from gateway.replies import Reason, Rejected
from shared.pageview import MANAGE_DATA
from shared.registry import Client, Grant, Site

SITE = Site(b"\1" * 16, "example.com", ("example.com",))
OTHER = b"\2" * 16
REGISTRY: Any = SimpleNamespace(find_site=lambda hostname: SITE if hostname == "example.com" else None)


@pytest.mark.parametrize(
    ("grants", "hostname", "reason"),
    [
        ({Grant(SITE.site_id, MANAGE_DATA)}, "example.com", None),
        ({Grant(SITE.site_id, MANAGE_DATA)}, "nowhere.example", Reason.UNKNOWN_SITE),
        ({Grant(OTHER, MANAGE_DATA)}, "example.com", Reason.FORBIDDEN),
        (set(), "example.com", Reason.UNKNOWN_SITE),
        (set(), "nowhere.example", Reason.UNKNOWN_SITE),
    ],
)
def test_a_client_without_grants_does_not_learn_which_hostnames_exist(
    grants: set[Grant], hostname: str, reason: Reason | None
) -> None:
    client = Client(b"c" * 16, "client", frozenset(grants))
    if reason is None:
        authorize(hostname, client, REGISTRY)
        return
    with pytest.raises(Rejected) as rejected:
        authorize(hostname, client, REGISTRY)
    assert rejected.value.reason is reason
