"""What kind of program a bot is: the closed set of `bot_kind`, and how it is decided.

AI programs are distinguished by name, by what their operators document (docs/bots.md); all others by the tags of
monperrus/crawler-user-agents.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SEARCH: Final = "search"
AI_TRAINING: Final = "ai-training"
#: Fetches a page for the person who asked for it.
AI_ASSISTANT: Final = "ai-assistant"
AI_SEARCH: Final = "ai-search"
SOCIAL_PREVIEW: Final = "social-preview"
MONITOR: Final = "monitor"
FEED: Final = "feed"
ARCHIVE: Final = "archive"
SEO: Final = "seo"
LIBRARY: Final = "library"
OTHER: Final = "other"

KINDS: Final = (
    SEARCH, AI_TRAINING, AI_ASSISTANT, AI_SEARCH, SOCIAL_PREVIEW, MONITOR, FEED, ARCHIVE, SEO, LIBRARY, OTHER,
)  # fmt: skip

#: Tags in the order in which they count, where an entry has several: the narrower purpose first.
_OF_TAGS: Final = {
    "social-preview": SOCIAL_PREVIEW,
    "feed-reader": FEED,
    "archiver": ARCHIVE,
    "monitoring": MONITOR,
    "ai-crawler": AI_TRAINING,
    "search-engine": SEARCH,
    "http-library": LIBRARY,
    "browser-automation": LIBRARY,
    "scanner": OTHER,
    "academic": OTHER,
    "advertising": OTHER,
    "seo": SEO,
}

#: Patterns of AI programs by what they fetch for.
AI_PATTERNS: Final = {
    AI_ASSISTANT: (
        r"ChatGPT-User", r"ChatGPT Agent", r"Claude-User", r"Claude-Code", r"Perplexity-User", r"MistralAI-User",
        r"Gemini-Deep-Research",
        r"Google-NotebookLM", r"NotebookLM", r"Google-Agent", r"GoogleAgent-", r"[Mm]eta-[Ee]xternal[Ff]etcher",
        r"DuckAssistBot",
        r"Manus-User", r"ManusUser", r"NovaAct", r"\bDevin/", r"kagi-fetcher", r"Amazon-QuickSuite", r"bedrockbot",
        r"cohere-ai", r"Cotoyogi", r"Grok-DeepSearch", r"DeepSeek-User", r"Poggio-Citations",
        r"[A-Za-z]AI-User\b", r"LinerBot",
        r"TwinAgent", r"browser-use", r"Operator/[0-9]", r"QualifiedBot", r"WRTNBot", r"PhindBot", r"iAsk",
        r"Copilot-User",
    ),
    AI_SEARCH: (
        r"OAI-SearchBot", r"Claude-SearchBot", r"PerplexityBot", r"YouBot", r"Amzn-SearchBot", r"AzureAI-SearchBot",
        r"meta-webindexer", r"ExaBot", r"TavilyBot", r"LinkupBot", r"Andibot", r"XAI-SearchBot", r"Bravebot",
        r"Anomura",
    ),
    AI_TRAINING: (
        r"GPTBot", r"ClaudeBot", r"Claude-Web", r"anthropic-ai", r"CCBot", r"Bytespider", r"[Aa]mazon[Bb]ot",
        r"meta-externalagent",
        r"FacebookBot", r"Google-Extended", r"GoogleOther", r"cohere-training", r"Diffbot", r"ImagesiftBot",
        r"[Aa][Ii]2Bot",
        r"PanguBot", r"Kangaroo Bot", r"Timpibot", r"img2dataset", r"ICC-Crawler", r"SBIntuitionsBot",
        r"Applebot-Extended",
        r"DeepSeekBot", r"VelenPublicWebCrawler", r"Webzio", r"TikTokSpider", r"ChatGLM-Spider",
    ),
}  # fmt: skip


def kind_of_tags(tags: Iterable[str]) -> str:
    """Return the kind of an entry of crawler-user-agents."""
    given = set(tags)
    return next((kind for tag, kind in _OF_TAGS.items() if tag in given), OTHER)
