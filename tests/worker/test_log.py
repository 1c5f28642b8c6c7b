"""A log's lines through the steps, counted a second way: by plain regular expressions over the lines.

`TEST_ACCESS_LOG` (combined format, gzip) and `TEST_SPAM_LIST` (Matomo's format) name real ones; else small ones are
made.
"""

from __future__ import annotations

import gzip
import os
import re
from collections import Counter
from pathlib import Path

from shared.outcomes import Outcome
from tests.bench.steps import read_log
from tests.worker.factories import SITE, FakeRegistry, made_settings
from worker.lookups.lookups import Lookups
from worker.pipeline import Drop, build_steps, process

LINE = '{} - - [17/May/2015:10:05:03 +0000] "GET {} HTTP/1.1" 200 9 "{}" "{}"\n'
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:26.0) Gecko/20100101 Firefox/26.0"


def small_log(path: Path) -> Path:
    referrers = ["-", "http://semalt.com/crawler.php?u=x", "http://www2.spam.example/", "http://spam.example.org/"]
    paths = ["/", "/images/a.png", "/images", "/imagesque", "/images/../b"]
    agents = [AGENT, "Mozilla/5.0 (compatible; AhrefsBot/5.0; +http://ahrefs.com/robot/)"]
    addresses = ["83.149.9.216", "66.249.73.135", "66.250.0.1"]
    with gzip.open(path, "wt") as log:
        for number in range(120):
            parts = (given[number % len(given)] for given in (addresses, paths, referrers, agents))
            log.write(LINE.format(*parts))
    return path


def files(tmp_path: Path) -> tuple[Path, list[str]]:
    log, spam = os.environ.get("TEST_ACCESS_LOG"), os.environ.get("TEST_SPAM_LIST")
    hosts = Path(spam).read_text().split() if spam else ["semalt.com", "spam.example"]
    hosts += ["s-chassis.co.nz", "tuxradar.com"]  # no spammers, but hosts that the real log has
    return Path(log) if log else small_log(tmp_path / "log.gz"), hosts


def counted(log: Path, hosts: list[str]) -> Counter[str]:
    """Count by the drops' order, from the lines alone; no line of either log hides a path behind escapes."""
    spam = re.compile(
        r'" \d+ \S+ "https?://(?:[^/"]*\.)?(?:' + "|".join(map(re.escape, hosts)) + r')(?::\d+)?[/"]', re.I
    )
    network, path, agent = (
        re.compile(text)
        for text in (r"^66\.249\.", r'"\S+ /images(?:/(?!\.\.)[^ ]*|[?#][^ ]*)? ', r'(?i)" "[^"]*AhrefsBot')
    )
    found: Counter[str] = Counter()
    with gzip.open(log, "rt") as lines:
        for line in lines:
            reasons = {
                Outcome.EXCLUDED_CIDR: network.search(line),
                Outcome.EXCLUDED_USER_AGENT: agent.search(line),
                Outcome.EXCLUDED_PATH: path.search(line),
                Outcome.SPAM_REFERRER: spam.search(line),
            }
            found[next((reason for reason, match in reasons.items() if match), Outcome.STORED)] += 1
    return found


def test_dropped_lines_are_those_counted_another_way(tmp_path):
    log, hosts = files(tmp_path)
    (tmp_path / "feeds").mkdir()
    (tmp_path / "feeds" / "referrer_spam.txt").write_text("\n".join(hosts))
    registry = FakeRegistry()
    registry.exclude("cidr", "66.249.0.0/16")
    registry.exclude("user_agent", "ahrefsbot")
    registry.exclude("path", "/images", SITE)
    steps = build_steps(Lookups(made_settings(tmp_path), registry))
    ends = Counter[Outcome]()
    for pageview in read_log(log):
        end = process(pageview, steps)
        ends[end.reason if isinstance(end, Drop) else Outcome.STORED] += 1
    assert ends == counted(log, hosts)
    assert ends[Outcome.SPAM_REFERRER] > 0
    print(dict(ends))
