from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.factories import pageview
from worker.lengths import LANGUAGE
from worker.steps.put_language import parse_language, put_language


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("", ""),
        ("en", "en"),
        ("en-us", "en-US"),
        ("EN-US", "en-US"),
        ("en_US", "en-US"),
        ("en_US.UTF-8", "en-US"),
        ("de_DE@euro", "de-DE"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("ZH-HANT-TW", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("sl-rozaj-biske-1994", "sl-rozaj-biske-1994"),
        ("en-ca-x-ca", "en-CA-x-ca"),  # RFC 5646 section 2.1.1's own examples
        ("sgn-be-fr", "sgn-BE-FR"),
        ("az-latn-x-latn", "az-Latn-x-latn"),
        ("x-whatever", "x-whatever"),
        ("i-klingon", "i-klingon"),
        ("de-AT, en;q=0.8", "de-AT"),
        ("fr;q=0.9", "fr"),
        (" pt-br ", "pt-BR"),
        ("*", ""),
        ("C", ""),
        ("en-", ""),
        ("-en", ""),
        ("e n", ""),
        ("english-language", "english-language"),
        ("日本語", ""),
        ("en\x00us", ""),
        ("en-us-" + "-".join(["abcdefgh"] * 5), "en-US-abcdefgh-abcdefgh-abcdefgh"),
        ("en-aaaaaaaa-bbbbbbbb-cccccccc-x-dddd", "en-aaaaaaaa-bbbbbbbb-cccccccc"),
        ("a-" * 50_000 + "a", ""),
        ("en-" + "a-" * 50_000 + "b", "en"),
        ("x-" + "a-" * 50_000 + "b", ""),
    ],
)
def test_normalises_to_the_usual_case(text, tag):
    assert put_language(pageview(language=text)) == tag


@given(st.one_of(st.text(max_size=80), st.from_regex(r"([A-Za-z]{2,8}|x)([-_][A-Za-z0-9]{1,8}){0,40}", fullmatch=True)))
def test_is_idempotent_bounded_and_raises_for_nothing(text):
    tag = parse_language(text).tag
    assert parse_language(tag) == (tag, False)
    assert len(tag) <= LANGUAGE
