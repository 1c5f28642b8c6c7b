from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.factories import SITE, pageview
from worker.lengths import PATH, QUERY, UTM
from worker.lookups import campaigns
from worker.lookups.paths import canonical
from worker.steps.put_page import parse_page, put_page

ID = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0"


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("https://example.com", "/", ""),
        ("https://example.com/", "/", ""),
        ("https://example.com?a=1", "/", "a=1"),
        ("https://example.com#a", "/", ""),
        ("https://example.com/a/b?x=1&y=2#frag", "/a/b", "x=1&y=2"),
        ("https://example.com/a?", "/a", ""),
        ("https://example.com/a?b?c", "/a", "b?c"),
        ("https://example.com/a#b?c", "/a", ""),
        ("https://example.com:8080/%7Euser/%C3%BC", "/~user/%C3%BC", ""),
        ("https://example.com/a/../b//c/.", "/b//c/", ""),
        ("HTTP://example.com/ü?q=ü", "/%C3%BC", "q=ü"),
        ("https://example.com/\x00\u202e🙂", "/%00%E2%80%AE%F0%9F%99%82", ""),
    ],
)
def test_takes_a_canonical_path_and_the_query_as_sent(url, path, query):
    page = put_page(pageview(url=url), SITE)
    assert (page.path, page.query) == (path, query)


@pytest.mark.parametrize(
    ("query", "source"),
    [
        ("utm_source=news", "news"),
        ("utm_source=a&utm_source=b", "a"),
        ("utm_source=&utm_source=b", "b"),
        ("utm_source=%20&utm_source=b", "b"),
        ("utm_source", ""),
        ("utm_source=a=b", "a=b"),
        ("utm_source=%20news+letter%20", "news letter"),
        ("utm%5Fsource=news", "news"),
        ("utm_source=%C3%BC", "ü"),
        ("utm_source=%FF%C3", "\ufffd\ufffd"),
        ("utm_source=%", "%"),
        ("utm_source=%zz", "%zz"),
        ("UTM_SOURCE=a", "a"),
        ("Utm_Source=a", "a"),
        ("xutm_source=a", ""),
        ("a=utm_source", ""),
        ("utm_source=a;utm_medium=b", "a"),
        ("utm_source=a;b", "a;b"),
        ("utm_source[]=a", "a"),
        ("utm_source[0]=a", "a"),
        ("a=1& utm_source =b", "b"),
        ("a=1\\u0026utm_source=b", "b"),
        ("a=1%5Cu0026utm_source=b", "b"),
        ("utm_source%5B%5D=a", "a"),
        ("?utm_source=a", "a"),
        ("a=b?utm_source=c", "c"),
        ("a=b?c&utm_source=d", "d"),
        ("utm_source=a?b", "a?b"),
        ("utm_medium=b&amp;utm_source=a", "a"),
        ("utm_medium=b&AMP;utm_source=a", "a"),
        ("utm_medium=b&#038;utm_source=a", "a"),
        ("utm_medium=b&#38;utm_source=a", "a"),
        ("utm_medium=b&#x26;utm_source=a", "a"),
        ("utm_medium=b%26amp%3Butm_source=a", "a"),
        ("utm_medium=b%26%23038%3Butm_source=a", "a"),
        ("utm_source=AT%26T", "AT&T"),
        ("utm_source=%00%F0%9F%99%82", "🙂"),
        ("utm_source=a%00b%0D%0Ac%E2%80%A8d", "a b c d"),
        ("a&" * 199 + "utm_source=a", "a"),
        ("a&" * 200 + "utm_source=a", ""),
    ],
)
def test_reads_campaign_parameters_from_the_query(query, source):
    assert put_page(pageview(url=f"https://example.com/?{query}"), SITE).utm_source == source


def test_reads_all_five_and_none_from_the_fragment():
    query = "utm_content=5&utm_term=4&utm_campaign=3&utm_medium=2&utm_source=1"
    assert put_page(pageview(url=f"https://example.com/?{query}"), SITE)[2:7] == ("1", "2", "3", "4", "5")
    assert put_page(pageview(url=f"https://example.com/#?{query}"), SITE)[2:7] == ("",) * 5


@pytest.mark.parametrize(
    ("value", "qr_id"),
    [
        (ID, UUID(ID).int),
        (ID.upper(), UUID(ID).int),
        (ID.replace("-", ""), UUID(ID).int),
        (f"+{ID}%20", UUID(ID).int),
        (str(UUID(int=0)), None),
        ("", None),
        ("nonsense", None),
        (f"{{{ID}}}", None),
        (f"urn:uuid:{ID}", None),
        (f"{ID}/", UUID(ID).int),
        (ID + "0", None),
    ],
)
def test_reads_the_qr_code_or_none(value, qr_id):
    assert put_page(pageview(url=f"https://example.com/?hk_qr={value}"), SITE).qr_id == qr_id


def test_cuts_what_is_too_long_and_counts_it_each_time(counted):
    url = f"https://example.com/{'a' * 3_000}?utm_term={'🙂' * 600}&{'x' * 5_000}"
    for _ in range(2):
        page = put_page(pageview(url=url), SITE)
        assert (len(page.path), len(page.query), len(page.utm_term)) == (PATH, QUERY, UTM)
    assert counted() == {"path": 2, "query": 2, "utm_term": 2}


def test_does_not_cut_an_escape_in_two():
    page = put_page(pageview(url=f"https://example.com/{'a' * (PATH - 3)}%C3%BC"), SITE)
    assert page.path == "/" + "a" * (PATH - 3)
    page = put_page(pageview(url=f"https://example.com/{'a' * (PATH - 4)}%C3%BC"), SITE)
    assert page.path == "/" + "a" * (PATH - 4) + "%C3"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_no_url_raises(text):
    for url in (text, f"https://example.com/{text}", f"https://example.com/?utm_source={text}&hk_qr={text}"):
        page = parse_page(url)
        assert page.path.startswith("/")


def with_options(url: str, **options):
    return put_page(pageview(url=url), replace(SITE, **options))


def test_campaigns_and_click_ids_are_read_before_what_is_not_stored_is_dropped():
    url = f"https://example.com/a?utm_source=news&hk_qr={ID}&gclid=1&page=2&token=x"
    page = with_options(url, query_keep=("page",))
    assert (page.query, page.utm_source, page.qr_id, page.click_id) == ("page=2", "news", UUID(ID).int, "gclid")
    assert put_page(pageview(url=url), SITE).query == url.partition("?")[2], "another site's pages are not mixed up"
    assert with_options(url, query_drop=("utm_*", "hk_qr", "gclid", "token")).query == "page=2"
    long = f"https://example.com/?{'x' * QUERY}=1&page=2"
    assert with_options(long, query_keep=("page",)).query == "page=2", "what is dropped takes no room"


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("https://example.com/#/users/5", "/#/users/5", ""),
        ("https://example.com#/users", "/#/users", ""),
        ("https://example.com/app?a=1#/users?tab=2", "/app#/users", "a=1&tab=2"),
        ("https://example.com/app/#!/users?tab=2#top", "/app/#!/users", "tab=2"),
        ("https://example.com/app#/x/../caf%c3%a9", "/app#/caf%C3%A9", ""),
        ("https://example.com/a%23/b#/c#d", "/a%23/b#/c", ""),
        ("https://example.com/app#section", "/app", ""),
        ("https://example.com/app#!section", "/app", ""),
        ("https://example.com/app#", "/app", ""),
        ("https://example.com/app?#/", "/app#/", ""),
        ("https://example.com/app#/\ud83d", "/app#/%3F", ""),
    ],
)
def test_a_fragment_that_is_a_path_belongs_to_the_path_if_the_site_says_so(url, path, query):
    page = with_options(url, hash_paths=True)
    assert (page.path, page.query) == (path, query)
    assert "#" not in put_page(pageview(url=url), SITE).path


def test_campaigns_behind_a_path_in_the_fragment():
    page = with_options("https://example.com/#/offer?utm_source=news&secret=1", hash_paths=True, query_drop=("secret",))
    assert (page.utm_source, page.query) == ("news", "utm_source=news")


@given(st.text(max_size=80))
def test_any_url_with_options(text):
    page = with_options(f"https://example.com/{text}", hash_paths=True, query_drop=("a*",), query_keep=("*",))
    assert page.path.startswith("/")
    assert len(page.path) <= PATH


#: Spellings of characters, of one to twelve characters each, and what breaks or removes them.
_PIECES = ("%61", "%2E", "/..", "/", "%", "%4", "%C3%BC", "%c3%bc", "%F0%9F%99%82", "%00", "%FF", "\ufffd", "ü", " ")


@given(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=12), st.integers(1, 400))
def test_the_beginning_of_a_long_path_is_what_all_of_it_would_begin_with(pieces, times):
    sent = f"/{''.join(pieces) * times}"[: 2 * PATH]
    whole = canonical(sent)
    stored = parse_page(f"https://example.com{sent}").path
    assert whole.startswith(stored)
    assert len(stored) > PATH - 3 or stored == whole


@given(st.lists(st.sampled_from((*_PIECES, "%0A", "+")), min_size=1, max_size=12), st.integers(1, 400))
def test_as_much_of_a_value_is_read_as_is_stored(pieces, times):
    sent = "".join(pieces) * times
    stored = parse_page(f"https://example.com/?utm_source={sent}").utm_source
    assert stored == campaigns._cleaned(sent[:8_000])[:UTM]


def test_ampersands_of_html_separate_as_many_parameters_as_are_read():
    for number, found in ((198, "x"), (200, "")):
        query = "&amp;".join(["a=1"] * number)
        assert parse_page(f"https://example.com/?{query}&amp;utm_source=x").utm_source == found


@pytest.mark.parametrize(("names", "source"), [(31, "a"), (32, "")])
def test_of_escaped_names_the_first_are_decoded_and_of_others_all(names, source):
    before = "".join(f"filter%5B{number}%5D=1&" for number in range(names))
    page = parse_page(f"https://example.com/?{before}%75tm_source=a&utm_medium=b")
    assert (page.utm_source, page.utm_medium) == (source, "b")
