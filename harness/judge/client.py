"""Ask a model judge: only questions whose reply the ledger does not hold; each reply is recorded when it arrives."""

import asyncio
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import openai

from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.judge.access import api_key, check_address, is_local
from harness.judge.api import JudgeTask, Verdict
from harness.judge.batch_api import BatchApi, RecordedError
from harness.judge.budget import Budget, Budgets, take
from harness.judge.caller import Caller, Doubt
from harness.judge.identity import Key, endpoint, request_digest, request_messages
from harness.judge.prices import most_cost, price_of
from harness.judge.profiles import check_profile
from harness.judge.protocol import Protocol
from harness.judge.recorder import Recorder
from harness.judge.settings import JudgeSettings
from harness.store.ledger import CallKey, Ledger, Reply

_WAIT_S, _BATCH_WAIT_S = 0.05, 2.0
"""Pause between two looks at a state that calls under way may change: a budget's rest, a doubt about the judge."""
_MOST_REFUSED, _MOST_FAILED = 10, 3
"""So many questions that the judge refuses, or that its server fails on, without a reply to another question, show that
the questions are not to blame. (A failed question has had all its tries, with the pauses between them.)"""


class Progress(typing.Protocol):
    """Is told how many verdicts there are."""

    def __call__(self, done: int, total: int, unit: str, **values: float | str) -> None:
        """`done` of `total` verdicts; `usd` is what this judge has cost so far, over all runs."""
        ...


async def ask(
    tasks: Sequence[JudgeTask],
    settings: JudgeSettings,
    protocol: Protocol,
    *,
    judge_digest: str,
    ledger: Ledger,
    progress: Progress,
    base_url: str | None = None,
    key: str | None = None,
    budgets: Budgets | None = None,
) -> list[Verdict]:
    """One verdict per task, in their order. Equal tasks are asked once.

    `base_url` and `key` are those of a judge that we serve; otherwise the settings and the environment say them.
    `budgets` are shared with the other judge stages of the same run.

    Raises:
        Incomplete: the judge is gone, or the budget is spent. Every reply so far is recorded; ask again later.
        HarnessError: no key, a refused key, a wrong model name, a protocol or parameters that the judge's server does
            not take, a ledger that cannot be written.
    """
    check_profile(settings, protocol)
    keys = [(request_digest(task), task.repeat) for task in tasks]
    asked = dict(zip(keys, tasks, strict=True))
    recorded = ledger.recorded(judge_digest, asked).keys()
    # Requests that begin alike follow each other, so that a server finds the beginning in its cache.
    missing = dict(sorted(((key, asked[key]) for key in asked.keys() - recorded), key=lambda item: _text(item[1])))
    progress(len(recorded), len(asked), "verdicts")
    if missing:
        limits = (budgets or Budgets()).of(judge_digest, settings, ledger)
        asking = _Asking(settings, protocol, judge_digest, ledger, progress, len(recorded), len(asked), limits)
        async with _client(settings, base_url, key) as client:
            await asking.run(client, missing)
    # Read from the ledger: where another stage asked the same at the same time, the first reply is everybody's.
    return [Verdict(task, ledger.recorded(judge_digest, [key])[key]) for key, task in zip(keys, tasks, strict=True)]


def _text(task: JudgeTask) -> list[str]:
    return [message["content"] for message in task.messages]


def unrecorded(tasks: Sequence[JudgeTask], judge_digest: str, ledger: Ledger) -> int:
    """How many calls `ask` would make."""
    keys = {(request_digest(task), task.repeat) for task in tasks}
    return len(keys) - len(ledger.recorded(judge_digest, keys))


@dataclass(frozen=True)
class _Answered:
    """A call that has ended."""

    begun: int
    """Its number in the ledger."""
    key: CallKey
    reply: Reply
    doubt: Doubt | None


class _Asking:
    """Calls under way. The first fault stops new calls; those under way may still end and be recorded.

    A failure is recorded for the question that it belongs to, never for each of many questions that share it. So a
    complaint of the server is held until the judge replies to another question: that reply shows that the complaint
    was about its own question, which is then recorded as failed. A complaint that only a question can bring about (too
    long, filtered) is recorded at once where the judge has ever replied. Where complaints go on and no call under way
    can refute them, none of them is recorded, and the first ends the run: `_MOST_REFUSED` refusals, `_MOST_FAILED`
    failures of the server, or a complaint about a parameter before the judge's first reply.

    When every question is asked, the complaints that are still held are recorded. They are not where the server failed
    and has replied to none of these questions, for then nobody knows that there is a judge.
    """

    def __init__(
        self,
        settings: JudgeSettings,
        protocol: Protocol,
        judge: str,
        ledger: Ledger,
        progress: Progress,
        done: int,
        total: int,
        budgets: Sequence[Budget],
    ) -> None:
        self.settings, self.protocol, self.judge = settings, protocol, judge
        self.ledger, self.recorder, self.progress = ledger, Recorder(ledger), progress
        self.done, self.total, self.budgets = done, total, budgets
        costs = ledger.costs(judge)
        self.spent = sum(cost.price_usd for cost in costs)
        self.known = any(cost.completion_tokens for cost in costs)
        """The judge has ever replied."""
        self.replied = False
        """The judge has replied to one of these questions."""
        self.held: list[_Answered] = []
        self.under_way = 0
        self.wait_s = _BATCH_WAIT_S if settings.batch else _WAIT_S
        self.price = price_of(settings)
        self.halted = asyncio.Event()
        self.fault: Exception | None = None

    async def run(self, client: openai.AsyncOpenAI, missing: Mapping[Key, JudgeTask]) -> None:
        """Ask everything that is missing; raise the first fault when nothing is under way any more."""
        rest = iter(missing.items())
        if self.settings.batch:
            where = endpoint(self.settings)
            async with BatchApi(client, where, self.ledger, self.halted, self._tell_batch) as api:
                caller = Caller(client, self.settings, self.protocol, self.halted, api.post)
                await asyncio.gather(*(self._work(caller, rest) for _ in missing))  # they wait together
        else:
            caller = Caller(client, self.settings, self.protocol, self.halted)
            workers = [self._work(caller, rest) for _ in range(min(self.settings.concurrency, len(missing)))]
            await asyncio.gather(*workers)
        await self._end()
        if self.fault:
            raise self.fault

    async def _work(self, caller: Caller, rest: Iterator[tuple[Key, JudgeTask]]) -> None:
        for (request, repeat), task in rest:
            if self.halted.is_set():
                return
            try:
                await self._certain()
                self.under_way += 1
                try:
                    await self._ask(caller, (self.judge, request, repeat), task)
                finally:
                    self.under_way -= 1
            except Exception as error:  # raised by `run` when no call is under way any more
                self.fault = self.fault or error
                self.halted.set()

    async def _ask(self, caller: Caller, key: CallKey, task: JudgeTask) -> None:
        body = caller.body(request_messages(task))
        most = most_cost(self.price, self.settings, self.protocol, body["messages"]) if self.price else 0.0
        while not take(self.budgets, most):
            await asyncio.sleep(self.wait_s)
        cost = 0.0
        try:
            if not self.halted.is_set():
                cost = await self._once(caller, key, body, most)
        finally:
            for budget in self.budgets:
                budget.settle(most, cost)

    async def _once(self, caller: Caller, key: CallKey, body: dict[str, Json], most: float) -> float:
        """Ask and record; the cost in USD, or the most that the call can have cost where its price is not known."""
        begun = -1 if self.settings.batch else await self.recorder.begin(key)  # a batch is in tables of its own
        if not begun:  # another stage or run had the same question, and its reply has come
            self._tell(0.0)
            return 0.0
        try:
            answered = _Answered(begun, key, *await caller.ask(key, body))
        except RecordedError:
            self._tell(0.0)
            return 0.0
        except Exception:  # not a kill or a cancellation: those leave the call listed as possibly paid
            await self.recorder.end(begun, key, None)
            raise
        await self._settle(answered)
        price = answered.reply.price_usd
        return most if price is None else price

    async def _settle(self, answered: _Answered) -> None:
        """Record a call, and the held complaints that its reply refutes; or hold the call."""
        doubt, settled = answered.doubt, [answered]
        if doubt is None:
            self.known = self.replied = True
            settled, self.held = [answered, *self.held], []  # the paid reply first
        elif doubt.subject == "settings" and not self.replied:
            await self.recorder.end(answered.begun, answered.key, None)
            raise doubt.fault
        elif doubt.subject != "question" or not self.known:
            self.held.append(answered)
            settled = []
        await self._record(settled)

    async def _record(self, settled: Sequence[_Answered]) -> None:
        for call in settled:
            await self.recorder.end(call.begun, call.key, call.reply)
            self._tell(call.reply.price_usd or 0.0)

    async def _certain(self) -> None:
        """Wait while there are many complaints, and a call under way may still refute them.

        Raises:
            HarnessError: no call is under way any more.
        """
        while self._too_many():
            if not self.under_way:
                raise self._doubt()
            await asyncio.sleep(self.wait_s)

    def _too_many(self) -> bool:
        failed = sum(call.reply.status == "failed" for call in self.held)
        return failed >= _MOST_FAILED or len(self.held) >= _MOST_REFUSED

    def _doubt(self) -> HarnessError:
        first = next(call.doubt.fault for call in self.held if call.doubt is not None)
        return type(first)(f"{first.what}; so it was with {len(self.held)} questions", where=first.where, fix=first.fix)

    async def _end(self) -> None:
        """Record the held complaints; forget them where every question may share them."""
        gone = not self.replied and any(call.doubt is not None and call.doubt.subject == "server" for call in self.held)
        if not self.fault and (gone or self._too_many()):
            self.fault = self._doubt()
        if not self.fault:
            await self._record(self.held)
            return
        for call in self.held:
            await self.recorder.end(call.begun, call.key, None)

    def _tell(self, cost: float) -> None:
        """Report one more verdict."""
        self.done += 1
        self.spent += cost
        self.progress(self.done, self.total, "verdicts", usd=round(self.spent, 4))

    def _tell_batch(self, state: str) -> None:
        """Report how far a batch is."""
        self.progress(self.done, self.total, "verdicts", usd=round(self.spent, 4), batch=state)


def _client(settings: JudgeSettings, base_url: str | None, key: str | None) -> openai.AsyncOpenAI:
    url = base_url or endpoint(settings)
    check_address(url)
    most = settings.concurrency
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=most, max_keepalive_connections=most)
    http = openai.DefaultAsyncHttpxClient(trust_env=not is_local(url), limits=limits)
    return openai.AsyncOpenAI(
        api_key=key or api_key(settings),
        base_url=url,
        max_retries=0,
        timeout=settings.timeout_s,
        http_client=http,
    )
