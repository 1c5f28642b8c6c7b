"""Kinds of rows in the answer to a report's statement that are not dimensions."""

from __future__ import annotations

from typing import Final

TOTALS: Final = ""
#: The totals of all bots.
BOTS: Final = "bots"
#: A value a day or hour.
SERIES: Final = "series"
