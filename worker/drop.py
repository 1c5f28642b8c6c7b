"""What a `drop_*` step returns for a pageview that is not stored."""

from __future__ import annotations

from typing import NamedTuple

from shared.outcomes import Outcome


class Drop(NamedTuple):
    """Why a pageview is not stored.

    `rule` names the rule that matched (`cidr 203.0.113.0/24 of example.com`), never the visitor's address.
    """

    reason: Outcome
    site_id: bytes | None
    rule: str
