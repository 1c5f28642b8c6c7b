"""The HTML file: head, contents where there are several sites, and the sections of these."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from deploy.report.figures import Report
from deploy.report.formatting import change, days, shown, title
from deploy.report.page import site
from deploy.report.spool import Spool

#: Widths of bars are classes: a style attribute would need a policy that allows any.
_STYLE: Final = Path(__file__).with_name("style.css").read_text("utf-8") + "".join(
    f".w{percent}{{background-size:{percent}% 100%}}\n" for percent in range(101)
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class _Line:
    """A site in the contents, which has them by `key`; `anchor` is empty where it has no section."""

    key: str
    site: str
    anchor: str
    pageviews: int
    sessions: int
    change: str


class Document:
    """Gathers sites one after the other, and writes the whole: there may be many.

    `is_single`: there will be one site, whose name is the title.
    """

    def __init__(self, *, is_single: bool) -> None:
        self._is_single = is_single
        self._sections = Spool()
        self._lines: list[_Line] = []
        self._titles: list[str] = []
        self._made_at = ""

    def add(self, report: Report, key: str = "") -> None:
        """Add a site, which is shown by its `key`; one of several that has no pageviews is in the contents only.

        Raises OSError where the disk has no room for it.
        """
        now, before = report.now.totals, report.before.totals
        has_section = self._is_single or bool(now.pageviews or report.now.bots.pageviews)
        anchor = f"site-{len(self._lines) + 1}" if has_section else ""
        moved = change(now.pageviews, before.pageviews)
        self._lines.append(_Line(key, report.site, anchor, now.pageviews, now.sessions, moved))
        self._titles.append(title(report) if self._is_single else days(report))
        self._made_at = f"{report.made_at:%Y-%m-%d %H:%M:%S}"
        if has_section:
            self._sections.add(key, site.render(report, anchor, 1 if self._is_single else 2))

    def write(self, path: Path) -> None:
        """Write the file; what was there before stays until it is complete."""
        temporary = path.with_name(f".{path.name}.new")
        try:
            with temporary.open("w", encoding="utf-8") as out:
                out.write(self._head())
                if not self._is_single:
                    out.write(self._contents())
                out.writelines(self._sections.texts())
                out.write(_foot(self._made_at))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _title(self) -> str:
        periods = sorted(set(self._titles))
        if self._is_single or len(periods) == 1:
            return periods[0] if self._is_single else f"{len(self._lines):,} sites, {periods[0]}"
        return f"{len(self._lines):,} sites"

    def _head(self) -> str:
        return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'">
<title>{escape(shown(self._title()))}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
"""

    def _contents(self) -> str:
        rows = "".join(map(_contents_line, sorted(self._lines, key=lambda line: line.key)))
        return f"""<header><h1>{escape(self._title())}</h1></header>
<nav class="card" aria-labelledby="contents"><h2 id="contents">Contents</h2>
<table class="contents"><caption class="unseen">The sites of this report</caption>
<thead><tr><th scope="col">Site</th><th scope="col">Pageviews</th><th scope="col">Sessions</th><th
 scope="col">Change</th></tr></thead>
<tbody>{rows}</tbody></table></nav>
"""


def _contents_line(line: _Line) -> str:
    name = escape(shown(line.site))
    linked = f'<a href="#{line.anchor}">{name}</a>' if line.anchor else name
    return (
        f'<tr><th scope="row">{linked}</th><td>{line.pageviews:,}</td><td>{line.sessions:,}</td>'
        f"<td>{escape(line.change) or '&ndash;'}</td></tr>\n"
    )


def _foot(made_at: str) -> str:
    return f"""<footer><p>Exact as of {made_at} UTC. A session counts with the pageviews that it has in the period, and
in a ranking once for each value. Places come from the visitors' addresses, by the geo database of this instance: IP
Geolocation by DB-IP (db-ip.com), if no other was set up. Made by Hitline.</p></footer>
</main>
</body>
</html>
"""
