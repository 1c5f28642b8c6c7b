"""Foreign text on a terminal: what visitors, senders and logs contain never reaches it as control characters.

Escape sequences could otherwise change its title (OSC 0), write the clipboard (OSC 52) or hide lines.
"""

from __future__ import annotations


def visible(text: str, width: int | None = None) -> str:
    r"""Return text that is safe on a terminal: control characters as `\x1b`, at most `width` characters."""
    cut = text if width is None else text[:width]
    shown = "".join(char if char.isprintable() else _escaped(char) for char in cut)
    if width is None or (len(shown) <= width and len(text) <= width):
        return shown
    return shown[: width - 1] + "…"


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as `surrogateescape` keeps it
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
