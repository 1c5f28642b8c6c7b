"""Reading the dead-letter queue in blocks, one command at a time; none is lost, whenever the command ends.

Letters are delivered without acknowledgement and return to the queue, in their order, when the channel closes.  One is
acknowledged only when it has been purged on request, or when the broker has confirmed its copy in `hitline.pageviews`.
While a command holds letters no other one would see them, so commands take turns, and a long one gives way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError, ChannelClosed

from deploy.queue.connection import BrokerError, connect
from deploy.queue.dead_letters import DeadLetter
from shared import queue

#: A queue that only one connection may declare; the broker deletes it with that connection, however it ends.
TURN: Final = "hitline.dead.turn"
#: The broker's replies to declaring it: another connection has it; the user may not declare queues.
_LOCKED: Final = "RESOURCE_LOCKED"
_MAY_NOT_DECLARE: Final = "ACCESS_REFUSED"
_ASK_S: Final = 0.3
#: Letters that the broker sends ahead: what is in memory at most, since those passed over are not kept.
WINDOW: Final = 1_000
#: Letters that are published or deleted together.
BLOCK: Final = 250
#: Letters that are published or deleted before others get their turn.
ROUND: Final = 5_000
#: Without a letter for this long, the others have expired, or were taken by another program.
_SILENCE_S: Final = 5.0
_CONFIRM_S: Final = 60.0
_UNCONFIRMED: Final = (
    f"the broker did not confirm a letter within {_CONFIRM_S:.0f} s, or closed the connection: what it has confirmed is"
    " on its way, the rest are dead letters still. See `hitline doctor`, then run this once more"
)


class Turn:
    """A command's turn: one channel, which gives back all letters that were not removed when it closes."""

    def __init__(self, channel: AbstractChannel, source: AbstractQueue, waiting: int) -> None:
        self._channel = channel
        self._source = source
        #: Letters in the queue when the turn began.
        self.waiting = waiting
        self._inbox: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._tag = ""
        #: Letters of the present subscription that are neither removed nor still to be read.
        self._passed = 0

    async def letters(self, most: int) -> AsyncIterator[DeadLetter]:
        """Yield up to `most` letters, the oldest first; those that arrive meanwhile are behind them."""
        await self._subscribe()
        for _ in range(min(most, self.waiting)):
            try:
                async with asyncio.timeout(_SILENCE_S):
                    message = await self._inbox.get()
            except TimeoutError:
                return
            self._passed += message.consumer_tag == self._tag
            if self._passed >= WINDOW // 2:  # each subscription has a window of its own
                await self._source.cancel(self._tag)
                await self._subscribe()
            yield DeadLetter(message)

    async def _subscribe(self) -> None:
        self._passed = 0
        await self._channel.set_qos(prefetch_count=WINDOW)
        self._tag = await self._source.consume(self._inbox.put)

    async def replay(self, letters: Sequence[DeadLetter]) -> None:
        """Publish letters to be processed again, and remove each once it is confirmed.

        Raises aio-pika's errors, and `BrokerError` where the broker is silent or gone: those not removed are still
        there, and whether they were published too makes no difference to what is stored.
        """
        exchange = await self._channel.get_exchange(queue.EXCHANGE, ensure=False)

        async def publish(letter: DeadLetter) -> None:
            await exchange.publish(letter.to_replay(), queue.PAGEVIEWS, mandatory=True, timeout=_CONFIRM_S)
            await self.remove([letter])

        results = await asyncio.gather(*map(publish, letters), return_exceptions=True)
        for result in results:
            # Told here: further out it could be anybody's, and ClickHouse has time-outs of its own.
            if isinstance(result, (OSError, TimeoutError)):
                raise BrokerError(_UNCONFIRMED) from None
            if isinstance(result, BaseException):
                raise result

    async def remove(self, letters: Sequence[DeadLetter]) -> None:
        """Delete letters from the queue."""
        for letter in letters:
            await letter.message.ack()
            self._passed -= letter.message.consumer_tag == self._tag


class DeadLetterQueue:
    """The dead-letter queue as commands use it."""

    def __init__(self, connection: AbstractConnection, on_wait: Callable[[], None]) -> None:
        self._connection = connection
        self._on_wait = on_wait

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Wait for the other commands and yield a turn."""
        lock = await self._lock()
        try:
            async with self._connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
                source = await channel.declare_queue(queue.DEAD_QUEUE, passive=True)
                yield Turn(channel, source, source.declaration_result.message_count or 0)
        finally:
            if lock is not None:
                with suppress(AMQPError, OSError, RuntimeError):
                    await lock.delete()

    async def _lock(self) -> AbstractQueue | None:
        """Return the declared lock; None where the user may not declare queues."""
        waited = False
        while True:
            channel = await self._connection.channel()
            try:
                return await channel.declare_queue(TURN, exclusive=True)
            except ChannelClosed as error:
                if _MAY_NOT_DECLARE in str(error):
                    return None
                if _LOCKED not in str(error):
                    raise
            if not waited:
                waited = True
                self._on_wait()
            await asyncio.sleep(_ASK_S)

    async def letters(self) -> AsyncIterator[DeadLetter]:
        """Yield each letter that is in the queue now, in one turn."""
        async with self.turn() as turn:
            async for letter in turn.letters(turn.waiting):
                yield letter

    async def each(
        self, selects: Callable[[DeadLetter], bool], act: Callable[[Turn, Sequence[DeadLetter]], Awaitable[None]]
    ) -> None:
        """Call `act` with blocks of the selected letters that are in the queue now; it must remove all of them.

        Gives way to other commands between rounds.  Letters that die again meanwhile are behind those of the beginning,
        and are left out.
        """
        left: int | None = None
        more = True
        while more:
            async with self.turn() as turn:
                left = turn.waiting if left is None else left
                done, more = await _round(turn, left, selects, act)
                left -= done
            await asyncio.sleep(_ASK_S * 2 if more else 0)


async def _round(
    turn: Turn,
    most: int,
    selects: Callable[[DeadLetter], bool],
    act: Callable[[Turn, Sequence[DeadLetter]], Awaitable[None]],
) -> tuple[int, bool]:
    """Return how many letters were removed in this turn, and whether more may follow."""
    done = 0
    block: list[DeadLetter] = []
    async for letter in turn.letters(most):
        if selects(letter):
            block.append(letter)
        if len(block) >= BLOCK:
            await act(turn, block)
            done += len(block)
            block = []
        if done >= ROUND:
            return done, True
    if block:
        await act(turn, block)
    return done + len(block), False


@asynccontextmanager
async def open_dead_letters(
    urls: tuple[str, ...], name: str, on_wait: Callable[[], None] = lambda: None
) -> AsyncIterator[DeadLetterQueue]:
    """Yield the dead-letter queue; `on_wait` is called when another command has to be waited for."""
    connection = await connect(urls, name)
    async with connection:
        yield DeadLetterQueue(connection, on_wait)
