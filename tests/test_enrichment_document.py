"""docs/enrichment.md explains every reason to drop a pageview."""

from __future__ import annotations

from shared.outcomes import DROP_REASONS
from tests.documents import DOCS


def test_every_drop_reason_is_explained() -> None:
    text = (DOCS / "enrichment.md").read_text("utf-8")
    assert not [reason for reason in DROP_REASONS if f"| `{reason}` |" not in text]
