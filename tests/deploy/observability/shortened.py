"""The project's alerts with shorter times, so that a test sees each begin and end."""

from __future__ import annotations

import re

from tests.prometheus import OBSERVABILITY

#: How far back an expression looks, instead of minutes or a day.
WINDOW = "15s"
#: A threshold that no test waits for; all others stay.
_THRESHOLD = ("hitline_rollups_complete_timestamp_seconds > 900", "hitline_rollups_complete_timestamp_seconds > 30")


def alerts() -> str:
    """Return alerts.yml with a second for each `for` and `WINDOW` for each range."""
    text = (OBSERVABILITY / "alerts.yml").read_text("utf-8")
    assert _THRESHOLD[0] in text
    text = re.sub(r"\[\d+[mhd]\]", f"[{WINDOW}]", text.replace(*_THRESHOLD))
    return re.sub(r"\bfor: \w+", "for: 1s", re.sub(r"\boffset \d+[mhd]", f"offset {WINDOW}", text))
