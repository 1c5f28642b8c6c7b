"""What a step answers when it ends a pageview's way."""

from __future__ import annotations

from typing import NamedTuple

from shared.outcomes import Outcome


class Drop(NamedTuple):
    """A pageview that is not stored, and why.

    `rule` names what decided it (`cidr 203.0.113.0/24 of example.com`), never the visitor's address.
    """

    reason: Outcome
    site_id: bytes | None
    rule: str
