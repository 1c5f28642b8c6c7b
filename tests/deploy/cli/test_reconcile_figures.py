"""The arithmetic of `hitline reconcile`: what is missing, what is too much, and what gateways say."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli import reconcile as module
from deploy.cli.reconcile import Gateways
from deploy.cli.support import CommandError, as_text
from deploy.outcomes.ledger import FIRST

numbers = st.integers(0, 50)


@given(accepted=numbers, unknown=numbers, unknown_taken=numbers, lost=numbers)
def test_what_has_no_outcome_is_missing_and_of_unknown_fate_any_may_have_one(
    accepted: int, unknown: int, unknown_taken: int, lost: int
) -> None:
    taken, lost = min(unknown, unknown_taken), min(accepted, lost)
    missing = module._missing(accepted, unknown, accepted - lost + taken)
    assert missing == max(0, lost - taken), "those of unknown fate may stand for lost ones"


@pytest.mark.parametrize(
    ("accepted", "unknown", "ended", "missing"),
    [(None, 0, 7, None), (7, 0, 7, 0), (7, 0, 8, -1), (7, 1, 8, 0), (7, 1, 9, -1), (7, 2, 6, 1), (0, 0, 0, 0)],
)
def test_more_outcomes_than_could_be_are_below_nothing(
    accepted: int | None, unknown: int, ended: int, missing: int | None
) -> None:
    assert module._missing(accepted, unknown, ended) == missing


METRICS = """# HELP hitline_accepted_pageviews_total Answered 202
hitline_accepted_pageviews_total 12.0
hitline_accepted_pageviews_total_of_others 99.0
hitline_published_pageviews_total{result="confirmed"} 14.0
hitline_published_pageviews_total{result="unknown_fate"} 3.0
hitline_published_pageviews_total{result="broker_down"} 100.0
"""


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[str]]:
    """Let gateways answer with a text, or fail; returns the addresses that are asked."""

    def answer(with_: Any) -> list[str]:
        asked: list[str] = []

        class Answer:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def read(self) -> bytes:
                return str(with_).encode()

        def urlopen(url: str, timeout: float) -> Any:
            assert timeout == 10
            asked.append(url)
            if isinstance(with_, Exception):
                raise with_
            return Answer()

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)
        return asked

    return answer


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://gateway:9080", "http://gateway:9080/metrics"),
        ("https://gateway:9080/", "https://gateway:9080/metrics"),
        ("http://proxy/gateway-1/metrics", "http://proxy/gateway-1/metrics"),
    ],
)
def test_a_gateway_says_what_it_accepted_and_what_it_can_not_tell(answers: Any, url: str, asked: str) -> None:
    addresses = answers(METRICS)
    assert module._scrape(url) == Gateways(accepted=12, unknown=14 + 3 - 12)
    assert addresses == [asked]


@pytest.mark.parametrize("accepted", [0, 1, 1000])
def test_a_gateway_that_has_published_nothing_knows_of_nothing_unknown(answers: Any, accepted: int) -> None:
    answers(f"hitline_accepted_pageviews_total {accepted:e}\n")
    assert module._scrape("http://gateway") == Gateways(accepted, 0)


@pytest.mark.parametrize(
    ("url", "answer", "told"),
    [
        ("gateway:9080", "", "gateway:9080 is not a URL; use one like http://gateway:9080"),
        ("ftp://gateway", "", "ftp://gateway is not a URL; use one like http://gateway:9080"),
        ("http://gateway", ConnectionRefusedError(), "http://gateway/metrics does not answer: ConnectionRefusedError"),
        (
            "http://worker",
            "hitline_outcomes_total 7",
            "http://worker/metrics has no hitline_accepted_pageviews_total: is it a gateway's /metrics?",
        ),
    ],
)
def test_what_is_no_gateway_is_told(answers: Any, url: str, answer: Any, told: str) -> None:
    answers(answer)
    with pytest.raises(CommandError) as error:
        module._scrape(url)
    assert str(error.value) == told


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"repeats": 0, "missing": None}, None),
        ({"repeats": 3, "missing": 0}, None),
        ({"repeats": -1, "missing": 0}, "1 pageviews are in the table without having been counted as stored"),
        (
            {"repeats": 0, "missing": -2},
            "2 more pageviews have an outcome than were accepted here: is a gateway missing, or was one restarted"
            " since? Otherwise choose a later --from",
        ),
        (
            {"repeats": 0, "missing": 5},
            "5 accepted pageviews have no outcome: are they in the queue? See docs/operations/observe.md",
        ),
    ],
)
def test_what_does_not_add_up_is_an_error(figures: dict[str, Any], told: str | None) -> None:
    if told is None:
        module._require_balance(figures)
        return
    with pytest.raises(CommandError) as error:
        module._require_balance(figures)
    assert str(error.value) == told


FIGURES: dict[str, Any] = {
    "from": FIRST, "accepted": None, "unknown": 0, "stored": 5, "dropped": {"spam_network": 0, "dnt": 2},
    "dead_lettered": 1, "ended": 8, "missing": None, "pageviews": 4, "repeats": 1, "queues": {"hitline.pageviews": 7},
}  # fmt: skip


def test_the_figures_are_printed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    module._print(FIGURES)
    assert capsys.readouterr().out.splitlines() == [
        "accepted from                  the beginning",
        "accepted                       (not given: --accepted or --gateway)",
        "stored                         5",
        "dropped: dnt                   2",
        "dead-lettered                  1",
        "= outcomes                     8",
        "missing",
        "rows in pageviews              4",
        "repeats merged                 1",
        "waiting in hitline.pageviews   7",
    ]


def test_what_is_of_unknown_fate_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    first = FIRST.replace(year=2026)
    module._print({**FIGURES, "from": first, "accepted": 0, "unknown": 3, "missing": 0})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["accepted", "from", *as_text(first).split()]
    assert lines[1:3] == ["accepted                       0", "of unknown fate                3"]
    assert lines[7] == "missing                        0"
    assert lines[-1] == (
        "of unknown fate: answered 503 'unknown', or their client had gone. Any of them may be among the outcomes,"
        " also in place of an accepted one"
    )
