from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.trim import trim

#: Unicode's White_Space property.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"  # noqa: E501


@pytest.mark.parametrize("text", ["", "a", " a ", "\x1c", " \x1c ", "  \x1fa\x1e  ", "\u3000a\u2028", "\u200ba\ufeff"])
def test_trims_white_space_and_nothing_else(text: str) -> None:
    assert trim(text) == text.strip(WHITE_SPACE)


@given(st.text(st.sampled_from([*WHITE_SPACE, *"\x1c\x1d\x1e\x1f", "a", "b"]), max_size=12))
def test_trims_what_a_slower_way_does(text: str) -> None:
    assert trim(text) == text.strip(WHITE_SPACE)
