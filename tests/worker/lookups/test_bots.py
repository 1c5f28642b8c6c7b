"""What docs/bots.md decides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from tests.worker.factories import agents
from worker.lookups.bot_kinds import KINDS, kind_of_tags
from worker.lookups.distrusted_patterns import DISTRUSTED

BOTS = """
-
Chef Client/10.18.2 (ruby-1.9.3-p327; ohai-6.16.0; x86_64-linux; +http://opscode.com)
Mozilla/4.0 (compatible;)
Mozilla/4.0
Mozilla/5.0
distilator/0.1 (http://people.freebsd.org/~ehaupt/distilator/)
portscout/0.8.1
IrssiUrlLog/0.2
Newsify/120 CFNetwork/672.0.8 Darwin/14.0.0
Reeder/2.1.1 CFNetwork/672.0.8 Darwin/14.0.0
Superblock-Denim (http://den.im/; support@superblock.net)
User-Agent: Mozilla/5.0 (Windows NT 6.1; WOW64; rv:14.0) Gecko/20100101 Firefox/14.0.1
Mozilla/5.0 (Windows NT 6.1) AppleWebKit/537.36 Chrome/32.0 Safari/537.36,gzip(gfe) (via docs.google.com/viewer)
Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.107 Safari/537.36 slurp
UniversalFeedParser/4.2-pre-314-svn +http://feedparser.org/
Mozilla/5.0 (compatible; Ezooms/1.0; help@moz.com)
Digg Feed Fetcher 1.0 (Mozilla/5.0 (Macintosh; Intel Mac OS X 10_7_1) AppleWebKit/534.48.3 Safari/534.48.3)
Mozilla/5.0 (compatible; Google Desktop/5.9.1005.12335; http://desktop.google.com/)
fetch libfetch/2.0
LiveJournal.com (webmaster@livejournal.com; for http://www.livejournal.com/users/x/; 1 readers)
Liferea/1.8.3 (Linux; en_GB.UTF-8; http://liferea.sf.net/)
HTTP_Request2/2.1.1 (http://pear.php.net/package/http_request2) PHP/5.3.2-1ubuntu4.18
eZ Publish Link Validator
Ruby
Robosourcer/1.0
Microsoft Office Protocol Discovery
Mozilla/4.0 (compatible; MSIE 5.0; Windows NT; DigExt; DTS Agent
Feedly/1.0 (+http://www.feedly.com/fetcher.html; like FeedFetcher-Google)
python-requests/2.32.0
&as_qdr=all
kube-probe/1.31
ELB-HealthChecker/2.0
Amazon-Route53-Health-Check-Service (ref abc; report http://amzn.to/1vsZADi)
PostmanRuntime/7.43.0
reqwest/0.12.9
GuzzleHttp/7
node
undici
k6/0.55.0 (https://k6.io/)
HTTP-Tiny/0.054
rest-client/2.1.0 (linux x86_64) ruby/3.2.2p53
nscurl/3870.100.1 CFNetwork/3870.100.1 Darwin/26.0.0
NetNewsWire (macOS; RSS Reader; https://ranchero.com/netnewswire/)
Newsboat/2.34 (Linux; https://newsboat.org/)
Mozilla/4.0 (compatible; HostTracker.com/1.0;+http://host-tracker.com/)
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36 Prerender
' OR 1=1 --
Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)
"""

PEOPLE = """
Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; WOW64; Trident/5.0; chromeframe/19.0.1084.52)
MAXX_MAUI WAP Browser
Maui Browser
ZDM/4.0; Windows Mobile 8.0
Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1; http://www.tropicdesigns.net)
Opera 9.6
w3m/0.5.3+git20230121
HbbTV/1.5.1 (+DRM; Samsung; SmartTV2021; T-NKLDEUC; ; )
Roku/DVP-12.5 (12.5.0.4178-88)
Nokia6230/2.0 (05.51) Profile/MIDP-2.0 Configuration/CLDC-1.1
Mozilla/5.0 (iPhone; CPU iPhone OS 17_2_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Instagram 315.0.0.25.114
Lynx/2.8.7rel.2 libwww-FM/2.14 SSL-MM/1.4.1 OpenSSL/1.0.1f
MobileSafari/9537.53 CFNetwork/672.0.8 Darwin/14.0.0
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36
Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0 Mobile Safari/537.36
"""


#: Programs by kind.
KINDS_OF = {
    "search": """
Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)
Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)
mediapartners-google
googlebot/2.1 (+http://www.google.com/bot.html)
Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)
""",
    "ai-training": """
Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)
Mozilla/5.0 (compatible; Bytespider; https://zhanzhang.toutiao.com/)
CCBot/2.0 (https://commoncrawl.org/faq/)
""",
    "ai-assistant": """
Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ChatGPT-User/1.0; +https://openai.com/bot)
Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Claude-User/1.0; +Claude-User@anthropic.com)
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36; Devin/1.0; +devin.ai
""",
    "ai-search": """
Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot)
Mozilla/5.0 (compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)
""",
    "social-preview": """
facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)
Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)
WhatsApp/2.23.20.0
Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Bluesky Cardyb/1.1; +mailto:support@bsky.app) Chrome/W.X
Mozilla/5.0 (Linux; Android 7.0; SM-G930V) AppleWebKit/537.36 Chrome/59.0.3071.125 Mobile Safari/537.36 GoogleMessages
""",
    "monitor": """
Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)
Mozilla/5.0 (Linux; Android 11; Moto G) AppleWebKit/537.36 Chrome/109.0 Mobile Safari/537.36 CloudflareObservatory/1.0
""",
    "feed": "Feedly/1.0 (+http://www.feedly.com/fetcher.html; like FeedFetcher-Google)",
    "archive": "Mozilla/5.0 (compatible; archive.org_bot +http://www.archive.org/details/archive.org_bot)",
    "seo": "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "library": """
node
undici
Deno/2.1
Bun/1.1.8
Java/17.0.1
PostmanRuntime/7.36.0
curl/8.10.1
python-requests/2.32.0
Go-http-client/2.0
Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36
""",
    "other": """
Mozilla/5.0 (compatible; X/1.0)
Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; X/1.0) Chrome/120.0.0.0 Safari/537.36
Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/27.0 Safari/537.36 (compatible; X/1.0)
Mozilla/5.0 Keydrop
Mozilla/5.0 SeznamEmailProxy/2.0.174
Mozilla/5.0 (en-US) AppleWebKit/537.36 (KHTML, like Gecko; Google-Assess) Chrome/34.0.1847.116 Safari/537.36
Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0 Safari/537.36 Google-Ads-Qualify
Mozilla/5.0 (Linux; Android 11; Pixel 2; DuplexWeb-Google/1.0) AppleWebKit/537.36 Chrome/86.0 Mobile Safari/537.36
Mozilla/5.0 (Linux; Android 4.2.1; Nexus 5) AppleWebKit/535.19 (KHTML, like Gecko; googleweblight) Chrome/38.0 Safari
Mozilla/5.0 (X11; Ubuntu; rv:80.0) Gecko/20100101 Firefox/80.0 Measurement/2023 (someone@university.example)
""",
}
#: Of real visitors, and of browsers that crawler lists take for programs.
BROWSERS = Path(__file__).with_name("browsers.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("kind", "user_agent"), [(kind, agent) for kind, text in KINDS_OF.items() for agent in text.strip().splitlines()]
)
def test_tells_the_kind_of_a_program(kind, user_agent):
    agent = agents().find(user_agent)
    assert (agent.is_bot, agent.bot_kind) == (True, kind)


@pytest.mark.parametrize("user_agent", BROWSERS)
def test_flags_no_browser_of_real_visitors(user_agent):
    agent = agents().find(user_agent)
    assert (agent.is_bot, agent.bot_kind) == (False, ""), agents().bots.find(user_agent)


def test_a_new_version_of_the_crawler_list_flags_no_browser():
    """Whoever updates the package finds here which patterns to distrust, or which of those are gone."""
    patterns = {str(entry["pattern"]) for entry in CRAWLER_USER_AGENTS_DATA}
    flagging = {pattern for pattern in patterns - DISTRUSTED.keys() if any(re.search(pattern, one) for one in BROWSERS)}
    assert flagging == set()
    assert DISTRUSTED.keys() <= patterns
    assert {kind_of_tags(entry["tags"]) for entry in CRAWLER_USER_AGENTS_DATA} <= set(KINDS)


@pytest.mark.parametrize("user_agent", BOTS.strip().splitlines())
def test_flags_programs(user_agent):
    assert agents().find(user_agent).is_bot


@pytest.mark.parametrize("user_agent", PEOPLE.strip().splitlines())
def test_flags_no_browser(user_agent):
    assert not agents().find(user_agent).is_bot
