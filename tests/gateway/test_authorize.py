"""Who may post for a hostname, and who learns that it exists."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.authorize import authorize
from gateway.replies import Reason, Rejected
from shared.pageview import MANAGE_DATA
from shared.registry import Client, Site

SITE = Site(b"\1" * 16, "example.com", ("example.com",))
OTHER = b"\2" * 16
CLIENT = Client(b"c" * 16, "client")


def registry_with(granted: set[bytes]) -> Any:
    return SimpleNamespace(
        find_site=lambda hostname: SITE if hostname == "example.com" else None,
        may=lambda client, permission, site: client is CLIENT and permission == MANAGE_DATA and site.site_id in granted,
        has_grants=lambda client: client is CLIENT and bool(granted),
    )


@pytest.mark.parametrize(
    ("grants", "hostname", "reason"),
    [
        ({SITE.site_id}, "example.com", None),
        ({SITE.site_id}, "nowhere.example", Reason.UNKNOWN_SITE),
        ({OTHER}, "example.com", Reason.FORBIDDEN),
        (set(), "example.com", Reason.UNKNOWN_SITE),
        (set(), "nowhere.example", Reason.UNKNOWN_SITE),
    ],
)
def test_a_client_without_grants_does_not_learn_which_hostnames_exist(
    grants: set[bytes], hostname: str, reason: Reason | None
) -> None:
    if reason is None:
        authorize(hostname, CLIENT, registry_with(grants))
        return
    with pytest.raises(Rejected) as rejected:
        authorize(hostname, CLIENT, registry_with(grants))
    assert rejected.value.reason is reason
