"""What schemathesis should send for the description's formats: it can't know that times are bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import schemathesis
from hypothesis import strategies as st

_OFFSETS = st.sampled_from(["Z", "z", "+00:00", "-00:00", "+05:30", "-09:30", "+14:00"])


@st.composite
def _times(draw: st.DrawFn) -> str:
    latest = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=9)
    moment = draw(st.datetimes(min_value=datetime(1990, 1, 2), max_value=latest))
    fraction = draw(st.sampled_from(["", ".5", ".123456789", ".000"]))
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{draw(_OFFSETS)}"


@st.composite
def _urls(draw: st.DrawFn) -> str:
    host = draw(st.sampled_from(["example.com", "WWW.example.com.", "a.wild.example.org:8080"]))
    path = draw(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40))
    return f"{draw(st.sampled_from(['http', 'HTTPS']))}://{host}/{path}"


schemathesis.openapi.format("date-time", _times())
schemathesis.openapi.format("uri", _urls())
