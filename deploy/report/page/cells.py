"""Values that visitors choose, as HTML that shows them and does nothing else."""

from __future__ import annotations

from html import escape
from typing import Final

from deploy.report.formatting import is_right_to_left, shown, split_point

#: A value of more characters may be too wide for its cell: it is cut in the middle, and these of its end stay.
_LONG: Final = 24
_END: Final = 12


def value(text: str) -> str:
    """Return a value that is cut where its cell is too narrow, in the middle, so that both ends can be read.

    It is whole in the document: for who copies or searches it, and for screen readers.  One that is written from right
    to left is cut at its end, since two halves side by side would be in the wrong order.
    """
    text = shown(text)
    whole = escape(text)
    if len(text) <= _LONG or is_right_to_left(text):
        return f'<bdi class="cut" title="{whole}">{whole}</bdi>'
    middle = split_point(text, len(text) - _END)
    start, end = escape(text[:middle]), escape(text[middle:])
    return f'<bdi class="cut halves" dir="ltr" title="{whole}"><span>{start}</span><span>{end}</span></bdi>'
