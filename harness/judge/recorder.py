"""Ledger writes of many calls under way: those that wait at the same time share one transaction, so one disk sync.

A sync takes milliseconds; one for each call's begin and end would be the client's bottleneck. Nothing is held back on
purpose: while the disk syncs, the next transaction collects.
"""

import asyncio
from dataclasses import dataclass

from harness.store.ledger import CallKey, Ledger, Reply


@dataclass(frozen=True)
class _Entry:
    """A begin, or an end: the call's number, and the reply if there was one."""

    done: "asyncio.Future[int]"
    key: CallKey
    begun: int | None = None
    reply: Reply | None = None


class Recorder:
    """A ledger for one event loop; its methods return when the disk has what they say."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[_Entry] = []
        self._writer: asyncio.Task[None] | None = None

    async def begin(self, key: CallKey) -> int:
        """`Ledger.begin`: 0 where there is nothing to ask any more."""
        return await self._put(_Entry(_future(), key))

    async def end(self, begun: int, key: CallKey, reply: Reply | None) -> None:
        """`Ledger.end`."""
        await self._put(_Entry(_future(), key, begun, reply))

    async def _put(self, entry: _Entry) -> int:
        self._waiting.append(entry)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        return await entry.done

    async def _write(self) -> None:
        while self._waiting:
            entries, self._waiting = self._waiting, []
            begin = [entry for entry in entries if entry.begun is None]
            ends = [(entry.begun, entry.key, entry.reply) for entry in entries if entry.begun is not None]
            try:
                numbers = await asyncio.to_thread(self._ledger.write, [entry.key for entry in begin], ends)
            except Exception as error:  # each caller raises it
                _settle([entry.done for entry in entries], error)
            else:
                _settle([entry.done for entry in entries if entry.begun is not None], 0)
                for entry, number in zip(begin, numbers, strict=True):
                    _settle([entry.done], number)
        self._writer = None


def _settle(futures: "list[asyncio.Future[int]]", outcome: int | Exception) -> None:
    for future in futures:
        if future.done():  # its caller was cancelled
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _future() -> "asyncio.Future[int]":
    return asyncio.get_running_loop().create_future()
