"""Judge calls through an endpoint's Batch API: as the live calls, but many in one file, and answered within a day.

`BatchApi.post` stands where the client posts a live request. It gathers the calls of one moment, submits them, and
gives each caller its completion; so budgets, tries, complaints and records are those of live calls. No call is
submitted twice, whenever a process ends: `store/batches.py` says how.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import openai
from openai.types import Batch
from openai.types.chat import ChatCompletion

from harness.core.canonical import Json
from harness.core.errors import HarnessError, Incomplete
from harness.judge.batch_lines import ENDPOINT, Call, UnansweredError, named_lines, parts, reply_in
from harness.judge.complaint import complaint
from harness.store.batches import Batches
from harness.store.ledger import CallKey, Ledger

GATHER_S = 1.0
"""A batch is closed when no call has come for so long."""
POLL_S, LONGEST_POLL_S = 2.0, 60.0
"""Pause between two looks at a batch: the first, and the longest after it has grown."""
SETTLE_S = 10.0
"""A request to make a batch whose sender is gone, or has heard nothing, has come to the endpoint by then or never."""
_TRIES = 9
"""Of a request, with pauses that double up to the longest: some minutes."""
_SKEW_S = 86_400
"""An endpoint's clock may differ from ours by less."""
_NAME = "harness"
"""The key of a batch's name in its metadata."""
_OVER = ("completed", "failed", "expired", "cancelled")
_FULL = "token_limit_exceeded"
_MOST_FULL = 1440
"""A single call waits so often, by the longest pause, for a place in the endpoint's queue: a day."""
T = TypeVar("T")


class RecordedError(Exception):
    """The call's reply has been recorded meanwhile."""


class BatchApi:
    """The Batch API of one judge's endpoint, within one event loop.

    `halted` ends all waiting; what is submitted stays so, and a later run takes it up. `tell` hears how far a batch is.
    """

    def __init__(
        self, client: openai.AsyncOpenAI, where: str, ledger: Ledger, halted: asyncio.Event, tell: Callable[[str], None]
    ) -> None:
        self._client, self._where, self._halted, self._tell = client, where, halted, tell
        self._batches = Batches(ledger)
        self._arrived: list[Call] = []
        self._waiting: set[Call] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._spawn(self._halt())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def post(self, key: CallKey, body: Mapping[str, Json]) -> ChatCompletion:
        """The completion of one call, whether it is submitted now or was by a run that has ended.

        Raises:
            LineError: the endpoint complains about this call.
            UnansweredError: its batch ended without a reply to it; it may be posted again.
            RecordedError: its reply is in the ledger by now.
            Incomplete: the endpoint is gone, or its queue is full.
            HarnessError: the endpoint refuses the key, or takes no batches of this kind.
        """
        call = Call(key, body)
        if not self._arrived:
            self._spawn(self._gather())
        self._arrived.append(call)
        self._waiting.add(call)
        try:
            return await call.reply
        finally:
            self._waiting.discard(call)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _halt(self) -> None:
        await self._halted.wait()
        for call in list(self._waiting):
            call.fail(UnansweredError("another call failed"))

    async def _gather(self) -> None:
        count = 0
        while count < len(self._arrived):
            count = len(self._arrived)
            await asyncio.sleep(GATHER_S)
        calls, self._arrived = self._arrived, []
        for part in parts(calls):
            self._spawn(self._ask(part))

    async def _ask(self, calls: Sequence[Call]) -> None:
        """Submit the calls that are in no batch, and see to it that each call has its reply or its error."""
        new = secrets.token_hex(16)
        with _failing(calls):
            names = self._batches.claim(new, [call.key for call in calls])
            batches: dict[str, list[Call]] = {}
            for call, name in zip(calls, names, strict=True):
                if name is None:
                    call.fail(RecordedError())
                else:
                    batches.setdefault(name, []).append(call)
            try:
                await asyncio.gather(*(self._follow(name, part, new=name == new) for name, part in batches.items()))
            except asyncio.CancelledError:
                self._batches.doubt(new)
                raise

    async def _follow(self, name: str, calls: Sequence[Call], *, new: bool) -> None:
        with _failing(calls):
            batch = await self._submit(name, calls) if new else await self._taken_up(name)
            if batch is None:
                await self._ask(calls)
                return
            over = await self._wait(batch)
            if over.status == "failed":
                await self._again(name, calls, over)
            else:
                await self._hand_out(name, calls, over)

    async def _submit(self, name: str, calls: Sequence[Call]) -> str:
        """Have the endpoint make a batch; its id there."""
        try:
            content = b"".join(call.line() for call in calls)
            file = await self._steady(
                lambda: self._client.files.create(file=(f"{name}.jsonl", content), purpose="batch")
            )
            batch = await self._make(name, file.id)
            self._batches.submitted(name, batch)
        except Exception:
            self._batches.doubt(name)
            raise
        return batch

    async def _make(self, name: str, file: str) -> str:
        """The id of a batch that is made once, although an answer of the endpoint may be lost."""
        for attempt in range(_TRIES):
            try:
                made = await self._client.batches.create(
                    input_file_id=file,
                    endpoint=ENDPOINT,
                    completion_window="24h",
                    metadata={_NAME: name},
                    extra_headers={"Idempotency-Key": name},
                )
                return made.id
            except openai.APIError as error:
                fault, passing = self._fault(error)
                if not passing or attempt == _TRIES - 1:
                    raise fault from None
            await asyncio.sleep(SETTLE_S)
            if (found := await self._named(name)) is not None:
                return found
        raise AssertionError("the last try returns or raises")

    async def _taken_up(self, name: str) -> str | None:
        """The id of a batch that another process or stage has claimed; None where its claim is given up."""
        while (row := self._batches.find(name)) is not None:
            if row.batch is not None:
                return row.batch
            if row.submitting:
                await asyncio.sleep(POLL_S)
                continue
            await asyncio.sleep(SETTLE_S)
            if (found := await self._named(name)) is None:
                self._batches.give_up(name)
            else:
                self._batches.submitted(name, found)
        return None

    async def _named(self, name: str) -> str | None:
        """The id of the batch with our name at the endpoint, which lists the newest first."""
        row = self._batches.find(name)
        oldest = datetime.fromisoformat(row.made_at).timestamp() - _SKEW_S if row else 0.0

        async def look() -> str | None:
            async for batch in self._client.batches.list(limit=100):
                if (batch.metadata or {}).get(_NAME) == name:
                    return batch.id
                if isinstance(batch.created_at, int) and batch.created_at < oldest:  # not every endpoint gives seconds
                    break
            return None

        return await self._steady(look)

    async def _wait(self, batch: str) -> Batch:
        """A batch when it is over."""
        pause = POLL_S
        while True:
            seen = await self._steady(lambda: self._client.batches.retrieve(batch))
            counts = seen.request_counts
            self._tell(f"{seen.status} {counts.completed}/{counts.total}" if counts else seen.status)
            if seen.status in _OVER:
                return seen
            await asyncio.sleep(pause)
            pause = min(LONGEST_POLL_S, 1.5 * pause)

    async def _hand_out(self, name: str, calls: Sequence[Call], batch: Batch) -> None:
        """Give each call its line of the batch's files.

        The errors come between two replies: the client then knows that neither the judge nor the settings are to blame.
        """
        lines: dict[str, Json] = {}
        for file in (batch.output_file_id, batch.error_file_id):
            if file:
                lines |= await self._content(file)
        read = [(call, reply_in(lines.get(call.id), batch.status)) for call in calls]
        replies = [(call, said) for call, said in read if isinstance(said, ChatCompletion)]
        errors = [(call, said) for call, said in read if isinstance(said, Exception)]
        self._batches.free(name, [call.key for call, _ in errors])
        for call, said in replies[:1]:
            call.end(said)
        for call, error in errors:
            call.fail(error)
        for call, said in replies[1:]:
            call.end(said)

    async def _content(self, file: str) -> dict[str, Json]:
        """The lines of an output or error file, by the call's name; what is no such line is left out."""
        content = await self._steady(lambda: self._client.files.content(file))
        return dict(named_lines(content.text))

    async def _again(self, name: str, calls: Sequence[Call], batch: Batch) -> None:
        """Ask the calls of a batch that the endpoint's queue had no room for in halves, one after the other."""
        self._batches.free(name, [call.key for call in calls])
        faults = (batch.errors and batch.errors.data) or []
        words = "; ".join(f"{fault.message} ({fault.code})" for fault in faults[:3]) or "no reason is given"
        if not any(fault.code == _FULL for fault in faults):
            fix = "Check judge.model, or ask it without `batch`."
            raise HarnessError(f"the endpoint does not take the batch: {words}", where=self._where, fix=fix)
        if len(calls) == 1:
            await self._room(calls[0], words)
        half = len(calls) // 2
        if half:
            await self._ask(calls[:half])
        await self._ask(calls[half:])

    async def _room(self, call: Call, words: str) -> None:
        """Wait for a place in the endpoint's queue, which empties as its batches end."""
        call.waits += 1
        if call.waits > _MOST_FULL:
            fix = "What was answered is kept. Run again when the endpoint's queue has room."
            raise Incomplete(f"the endpoint's queue of batches is full: {words}", where=self._where, fix=fix)
        self._tell("waiting for a place in the queue")
        await asyncio.sleep(LONGEST_POLL_S)

    async def _steady(self, request: Callable[[], Awaitable[T]]) -> T:
        """A request that may be made twice; what may pass is waited for."""
        for attempt in range(_TRIES):
            try:
                return await request()
            except openai.APIError as error:
                fault, passing = self._fault(error)
                if not passing or attempt == _TRIES - 1:
                    raise fault from None
            await asyncio.sleep(min(LONGEST_POLL_S, POLL_S * 2**attempt))
        raise AssertionError("the last try returns or raises")

    def _fault(self, error: openai.APIError) -> tuple[HarnessError, bool]:
        """An error of the endpoint's batches in our words, and whether it may pass."""
        kept = "What is submitted is kept, and taken up when you run again."
        if not isinstance(error, openai.APIStatusError):
            words = f"the judge's Batch API is unreachable ({error.__cause__ or error})"
            return Incomplete(words, where=self._where, fix=kept), True
        said = complaint(error.status_code, error.body, error.response.text)
        key = self._client.api_key
        words = f"HTTP {said.status}: {said.words.replace(key, '[key]') if len(key) >= 8 else said.words}"
        if said.subject in ("busy", "server"):
            return Incomplete(f"the judge's Batch API fails ({words})", where=self._where, fix=kept), True
        if said.subject == "account":
            return Incomplete(f"the judge's account has no quota left: {words}", where=self._where, fix=kept), False
        fix = "Check the key and its project (they must be those that submitted), or ask the judge without `batch`."
        return HarnessError(f"the endpoint refuses the batch ({words})", where=self._where, fix=fix), False


@contextmanager
def _failing(calls: Sequence[Call]) -> Iterator[None]:
    """Work for some calls: each of their callers raises its error."""
    try:
        yield
    except Exception as error:
        for call in calls:
            call.fail(error)
