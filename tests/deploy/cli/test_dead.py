"""`hitline dead`: exit codes; what it does with letters is proven in tests/delivery."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click
import pytest

from deploy.cli import dead, dead_allow
from shared import queue
from shared.clickhouse import ClickHouse
from tests import parts, services
from tests.delivery import poison_kinds
from tests.deploy.cli.conftest import runner_with
from worker.dead_letters.allowances import NONE, Allowances


def test_an_unknown_id_is_an_error(stack: parts.Stack) -> None:
    hitline = runner_with(stack.env)
    assert "with the id nope" in hitline("dead", "purge", "nope", "--yes", expect=1).stderr


def test_a_letter_that_cant_be_opened_is_an_error(stack: parts.Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unopenable(*_: Any) -> dict[str, Any]:
        return {"id": "a", "contents": [], "unreadable": "no key opens it"}

    monkeypatch.setattr(dead, "_show", unopenable)
    assert "can't be opened: no key opens it" in runner_with(stack.env)("dead", "show", "a", expect=1).stderr


@pytest.mark.parametrize("arguments", [("purge", "", "--yes"), ("replay", ""), ("show", " ")])
def test_an_empty_id_does_not_select_every_letter(stack: parts.Stack, arguments: tuple[str, ...]) -> None:
    """As a shell's unset variable is: it used to delete every dead letter."""
    parts.run_apart(lambda: put_letter(stack.broker.amqp_url))
    assert "an id is empty" in services.hitline(stack.env, "dead", *arguments, check=False).stderr
    assert parts.run_apart(lambda: parts.depth(stack.broker.amqp_url, queue.DEAD_QUEUE)) == 1


async def put_letter(amqp_url: str) -> None:
    connection = await queue.connect([amqp_url], "hitline tests")
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        exchange = await channel.get_exchange(queue.EXCHANGE, ensure=False)
        await exchange.publish(poison_kinds.foreign(), queue.DEAD)


async def test_an_allowance_counts_once_for_each_worker_and_is_kept_with_who_gave_it(stack: parts.Stack) -> None:
    hitline = runner_with(stack.env)
    assert "25 pageviews more" in await asyncio.to_thread(lambda: hitline("dead", "allow", "25").stdout)
    await asyncio.to_thread(hitline, "dead", "allow", "all", "--minutes", "5")
    with pytest.raises(click.BadParameter):
        dead_allow._count(click.Context(dead_allow.allow), dead_allow.allow.params[0], "0")
    listed = json.loads(await asyncio.to_thread(lambda: hitline("dead", "allow", "--json").stdout))
    assert [each["allowed"] for each in listed] == ["25", "all"]
    assert all("@" in each["created_by"] for each in listed)

    clickhouse = ClickHouse(stack.clickhouse.url, "hitline tests")
    allowances = Allowances(clickhouse)
    taken = await allowances.take()
    assert (taken.pageviews, 200 < taken.all_for_s <= 300) == (25, True)
    assert await allowances.take() == NONE
    await clickhouse.close()
    assert await Allowances(ClickHouse("http://127.0.0.1:1", "hitline tests")).take() == NONE
