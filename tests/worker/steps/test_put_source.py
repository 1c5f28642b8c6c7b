from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.worker.factories import SITE, FakeRegistry, pageview
from worker.lookups.own_hosts import OwnHosts
from worker.lookups.sources import CHANNELS, Sources
from worker.steps.put_page import put_page
from worker.steps.put_referrer import put_referrer
from worker.steps.put_source import put_source

BUILT_IN = Sources(Path("/nonexistent"))


def found(referrer: str = "", query: str = "", sources: Sources = BUILT_IN) -> tuple[str, str]:
    viewed = pageview(referrer=referrer, url=f"https://example.com/?{query}")
    own = OwnHosts(FakeRegistry())
    source = put_source(sources, own, viewed, SITE, put_referrer(own, viewed, SITE), put_page(viewed, SITE))
    assert source.channel in CHANNELS
    return source.source, source.channel


@pytest.mark.parametrize(
    ("referrer", "query", "source", "channel"),
    [
        ("", "", "", "direct"),
        ("https://example.com/other", "", "", "direct"),
        ("https://shop.example.org/", "", "", "direct"),
        ("https://a.example.net/", "", "", "direct"),
        ("https://www.google.com/", "", "Google", "search"),
        ("https://www.google.co.uk/search?q=x", "", "Google", "search"),
        ("https://google.evil.com/", "", "google.evil.com", "referral"),
        ("https://mail.google.com/", "", "Gmail", "email"),
        ("https://gemini.google.com/app", "", "Gemini", "ai"),
        ("android-app://com.google.android.gm/", "", "Gmail", "email"),
        ("android-app://com.google.android.googlequicksearchbox/https/www.google.com", "", "Google", "search"),
        ("https://www.bing.com/", "", "Bing", "search"),
        ("https://yandex.kz/", "", "Yandex", "search"),
        ("https://l.facebook.com/l.php", "", "Facebook", "social"),
        ("https://lm.facebook.com/", "fbclid=abc", "Facebook", "social"),
        ("https://t.co/abc", "", "X", "social"),
        ("https://out.reddit.com/", "", "Reddit", "social"),
        ("https://chatgpt.com/", "", "ChatGPT", "ai"),
        ("https://www.perplexity.ai/", "", "Perplexity", "ai"),
        ("https://claude.ai/chat/1", "", "Claude", "ai"),
        ("https://copilot.microsoft.com/", "", "Copilot", "ai"),
        ("", "utm_source=chatgpt.com", "ChatGPT", "ai"),
        ("https://blog.other.com/post", "", "blog.other.com", "referral"),
        ("", "gclid=abc", "Google", "paid search"),
        ("https://www.google.com/", "gclid=abc", "Google", "paid search"),
        ("", "gbraid=abc", "Google", "paid search"),
        ("", "wbraid=abc", "Google", "paid search"),
        ("", "dclid=abc", "Google", "campaign"),
        ("", "msclkid=abc", "Bing", "paid search"),
        ("", "fbclid=abc", "Facebook", "social"),
        ("", "ttclid=abc", "TikTok", "paid social"),
        ("", "twclid=abc", "X", "paid social"),
        ("", "li_fat_id=abc", "LinkedIn", "paid social"),
        ("", "utm_source=google&utm_medium=cpc", "Google", "paid search"),
        ("", "utm_source=Facebook&utm_medium=cpc", "Facebook", "paid social"),
        ("", "utm_source=fb&utm_medium=paid_social", "Facebook", "paid social"),
        ("https://l.instagram.com/", "utm_source=ig&utm_medium=social", "Instagram", "social"),
        ("", "utm_source=taboola&utm_medium=cpm", "taboola", "campaign"),
        ("", "utm_source=newsletter", "Newsletter", "email"),
        ("", "utm_source=spring&utm_medium=email", "spring", "email"),
        ("", "utm_source=spring&utm_medium=E-Mail", "spring", "email"),
        ("", "utm_source=google&utm_medium=organic", "Google", "search"),
        ("", "utm_source=poster", "poster", "campaign"),
        ("https://www.google.com/", "utm_source=poster", "poster", "campaign"),
        ("https://www.google.com/", "utm_campaign=spring", "Google", "campaign"),
        ("", "utm_campaign=spring", "", "campaign"),
    ],
)
def test_tells_source_and_channel(referrer: str, query: str, source: str, channel: str) -> None:
    assert found(referrer, query) == (source, channel)


def test_own_hosts_follow_a_change_of_the_site_s_hostnames() -> None:
    changed = replace(SITE, hostnames=("new.example",))
    own = OwnHosts(FakeRegistry([SITE, replace(changed, site_id=b"n" * 16)]))
    assert own.has("a.example.net", SITE)
    assert not own.has("new.example", SITE)
    assert own.has("new.example", changed)
    assert not own.has("a.example.net", changed)


def test_takes_up_downloaded_lists_beside_its_own(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    assert found("https://find.searchy.com/", sources=sources) == ("find.searchy.com", "referral")
    (tmp_path / "SearchEngines.yml").write_text(
        "Searchy:\n  -\n    urls:\n      - searchy.com\n      - '{}.searchy.{}'\n    params:\n      - q\n"
        "Another Google:\n  -\n    urls:\n      - google.{}\n    params: []\n"
    )
    (tmp_path / "Socials.yml").write_text("'Grünes Netz':\n  - grün.social\n")
    (tmp_path / "AIAssistants.yml").write_text("Grok:\n  - grok.com\n  - x.com/i/grok\n")
    sources.refresh()
    assert found("https://find.searchy.com/", sources=sources) == ("Searchy", "search")
    assert found("https://searchy.co.uk/", sources=sources) == ("Searchy", "search")
    assert found("https://www.google.de/", sources=sources) == ("Google", "search")
    assert found("https://grün.social/@a", sources=sources) == ("Grünes Netz", "social")
    assert found("https://x.com/i/grok", sources=sources) == ("X", "social")
    (tmp_path / "Socials.yml").write_text("[")
    sources.refresh()
    assert sources.problems == {"Socials.yml": "is not YAML"}
    assert found("https://grün.social/", sources=sources) == ("Grünes Netz", "social")
    (tmp_path / "Socials.yml").unlink()
    sources.refresh()
    assert sources.problems == {}
    assert found("https://grün.social/", sources=sources) == ("xn--grn-ioa.social", "referral")


@pytest.mark.parametrize(
    "content", ["", "[]", "a", "{}", "a:\n  - b:\n", "x: [1, 2]", "!!python/object/apply:os.system [id]", "\x00"]
)
def test_refuses_what_is_not_a_list(tmp_path: Path, content: str) -> None:
    (tmp_path / "Socials.yml").write_text(content)
    assert "Socials.yml" in Sources(tmp_path).problems
