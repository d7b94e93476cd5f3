"""Limits on cost: never passed, whoever spends at the same time."""

import asyncio
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import HarnessError, Incomplete
from harness.judge.api import JudgeTask
from harness.judge.budget import Budget, Budgets, take
from harness.judge.client import ask
from harness.judge.prices import Price, longest_reply, most_cost, most_tokens
from harness.judge.protocol import find_protocol
from harness.judge.settings import JudgeSettings
from harness.store.ledger import Ledger
from tests.judge.stand_in import Judge, reply, tasks

EACH = (100 * 30 + 10 * 60) / 1e6
"""What the stand-in says a call of gpt-4 took, in USD."""


def settings(**values: Any) -> JudgeSettings:
    return JudgeSettings.model_validate_json(json.dumps({"model": "gpt-4", **values}))


@given(st.text(max_size=300))
def test_no_prompt_has_more_tokens_than_we_reserve(text: str) -> None:
    """A byte-level tokenizer makes at most one token of a byte."""
    assert most_tokens([{"content": text}]) >= len(text.encode()) + 16


def test_a_verdict_of_several_calls_is_reserved_whole() -> None:
    price, judge = Price(1e6, 0.0, "2025-08"), settings(protocol="expected")
    expected, text = find_protocol("rating", "expected"), find_protocol("rating", "text")
    messages = [{"role": "user", "content": "x" * 100}]
    assert longest_reply(judge, expected) == 1
    assert most_cost(price, judge, text, messages) >= 100
    assert most_cost(price, judge, expected, messages) >= 200


def test_calls_of_many_threads_stay_within_the_limit() -> None:
    budget, spent = Budget(10.0, 1.0, "w"), []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while True:
            most = chance.uniform(0.1, 0.5)
            try:
                if not budget.take(most):
                    time.sleep(0.0005)
                    continue
            except Incomplete:
                return
            cost = chance.uniform(0.0, most)
            time.sleep(0.0002)
            spent.append(cost)
            budget.settle(most, cost)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 9.0 < 1.0 + sum(spent) <= 10.0
    assert budget.spent == pytest.approx(1.0 + sum(spent))


def test_from_all_purses_or_from_none() -> None:
    large, small = Budget(10.0, 0.0, "large"), Budget(1.0, 0.0, "small")
    assert take([large, small], 0.6)
    assert not take([large, small], 0.6), "it depends on what the first call costs"
    assert large.take(9.4), "nothing was left held"
    small.settle(0.6, 0.6)
    large.settle(0.6, 0.6)
    large.settle(9.4, 0.0)
    with pytest.raises(Incomplete, match="the budget is spent") as caught:
        take([large, small], 0.6)
    assert caught.value.where == "small"


async def test_two_judges_share_the_limit_of_a_run(judge: Judge, tmp_path: Path) -> None:
    """Each in a thread with an event loop of its own, as the stages of a run ask."""
    limit = 4.0
    budgets = Budgets(Budget(limit, 0.0, "--max-cost"))
    judge.answer = lambda _body, _n: reply("[[7]]")
    faults: list[Incomplete] = []

    def spend(digest: str) -> None:
        own = judge.settings(concurrency=8)
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            asked = ask(
                tasks(700),
                own,
                find_protocol("rating", "text"),
                judge_digest=digest,
                ledger=ledger,
                progress=lambda *_, **__: None,
                budgets=budgets,
            )
            try:
                asyncio.run(asked)
            except Incomplete as error:
                faults.append(error)

    await asyncio.gather(asyncio.to_thread(spend, "a"), asyncio.to_thread(spend, "b"))
    assert [fault.where for fault in faults] == ["--max-cost", "--max-cost"]
    spent = sum(cost.price_usd for cost in judge.ledger.costs())
    assert limit - 0.13 < spent <= limit
    assert len(judge.ledger.costs()) == 2


async def test_stages_of_one_judge_share_its_limit(judge: Judge) -> None:
    """Two stages ask the same judge at the same time: together they stay within `judge.max_cost_usd`."""
    budgets, limit = Budgets(), 0.2
    own = judge.settings(max_cost_usd=limit, concurrency=4)

    async def stage(first: int) -> None:
        with pytest.raises(Incomplete, match="the budget is spent"):
            await ask(
                tasks(100)[first : first + 50],
                own,
                find_protocol("rating", "text"),
                judge_digest="d",
                ledger=judge.ledger,
                progress=lambda *_, **__: None,
                budgets=budgets,
            )

    await asyncio.gather(stage(0), stage(50))
    assert limit - 0.13 < sum(cost.price_usd for cost in judge.ledger.costs()) <= limit


async def test_a_reply_without_a_count_is_taken_at_its_most(judge: Judge) -> None:
    """A server that does not say what a call took cannot make us pass the limit."""

    def uncounted(_body: Any, _n: int) -> Any:
        message = {"role": "assistant", "content": "[[7]]"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        from aiohttp import web

        return web.json_response(body)

    judge.answer = uncounted
    with pytest.raises(Incomplete):
        await judge.ask(50, max_cost_usd=0.5, concurrency=4)
    assert judge.recorded() == 4, "$0.123 each"


async def test_a_run_limit_without_a_price_is_refused(judge: Judge) -> None:
    own = judge.settings(model="mystery")
    with pytest.raises(HarnessError, match="no price is known for the judge mystery"):
        Budgets(Budget(1.0, 0.0, "--max-cost")).of("d", own, judge.ledger)


async def test_repeats_are_asked_for_only_where_they_are_new(judge: Judge) -> None:
    from harness.stages.judge import repeated

    judge.answer = lambda _body, n: reply(f"[[{n + 1}]]")
    once = await judge.ask(given=repeated(tasks(2), settings()))
    thrice = await judge.ask(given=repeated(tasks(2), settings(repeats=3)), concurrency=1)
    assert len(judge.asked) == 6
    assert [(v.task.item, v.task.repeat) for v in thrice] == [(i, k) for i in ("0", "1") for k in range(3)]
    assert [v for v in thrice if v.task.repeat == 0] == once
    assert len({v.reply.value for v in thrice}) == 6


async def test_many_connections_at_once(judge: Judge) -> None:
    """The connection pool is as large as the concurrency."""
    together = asyncio.Barrier(150)  # it opens when all have come, and never before

    async def hold(_body: Any, _n: int) -> Any:
        await together.wait()
        return reply("[[7]]")

    judge.answer = hold
    given = [JudgeTask(str(k), 1, "p", ({"role": "user", "content": str(k)},)) for k in range(150)]
    found = await judge.ask(given=given, concurrency=150)
    assert [verdict.reply.value for verdict in found] == [7] * 150


async def test_two_stages_that_ask_the_same_at_once_have_the_same_verdict(judge: Judge) -> None:
    """What is recorded is the verdict, in both, whichever reply came first."""

    second_said = asyncio.Event()

    async def answer(_body: Any, n: int) -> Any:
        if n == 0:
            await second_said.wait()
        second_said.set()
        return reply(f"[[{n + 1}]]")

    judge.answer = answer
    first, second = await asyncio.gather(judge.ask(1), judge.ask(1))
    assert len(judge.asked) == 2
    assert first == second
    assert judge.recorded() == 1
