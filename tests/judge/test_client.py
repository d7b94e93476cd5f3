"""The client against a stand-in endpoint: what works, what fails, what is recorded, what is asked again."""

import asyncio
import json
import math
import re
from typing import Any

import pytest
from aiohttp import web

from harness.core.errors import HarnessError, Incomplete
from harness.judge.api import JudgeTask, Verdict
from harness.judge.caller import Caller
from harness.judge.client import _client
from tests.judge.stand_in import CANARY, Judge, completion, fault, reply, tasks


def only(number: int, bad: web.Response) -> Any:
    """Answer well, but `bad` to question `number`."""
    return lambda body, _: bad if body["messages"][-1]["content"] == f"judge {number}" else reply("[[7]]")


async def test_verdicts_in_order_and_recorded(judge: Judge) -> None:
    judge.answer = lambda body, _: reply(f"So. Rating: [[{int(body['messages'][-1]['content'][6:]) + 1}]]")
    found = await judge.ask(5)
    assert [(v.task.item, v.reply.value, v.reply.status) for v in found] == [(str(k), k + 1.0, "ok") for k in range(5)]
    first = found[0]
    assert (first.reply.text, first.reply.model, first.task.prompt) == ("So. Rating: [[1]]", "gpt-4-0613", "single-v1")
    assert (first.reply.prompt_tokens, first.reply.completion_tokens) == (100, 10)
    assert first.reply.price_usd == pytest.approx((100 * 30 + 10 * 60) / 1e6)
    assert first.reply.latency_s > 0
    assert judge.progress[0] == (0, 5)
    assert judge.progress[-1] == (5, 5)
    assert judge.keys == {f"Bearer {CANARY}"}
    assert judge.asked[0] == {
        "model": "gpt-4",
        "messages": [{"role": "user", "content": judge.prompts()[0]}],
        "temperature": 0.0,
        "max_tokens": 2048,
    }


async def test_what_is_recorded_is_not_asked_again(judge: Judge) -> None:
    first = await judge.ask(3)
    assert await judge.ask(3) == first
    assert len(judge.asked) == 3
    await judge.ask(4)
    assert sorted(judge.prompts()) == ["judge 0", "judge 1", "judge 2", "judge 3"]
    await judge.ask(1, epoch=1)
    assert len(judge.asked) == 5


async def test_equal_questions_are_asked_once_and_repeats_each(judge: Judge) -> None:
    (task,) = tasks(1)
    same = [JudgeTask(item, 1, "p", task.messages, repeat=r) for item, r in (("a", 0), ("b", 0), ("a", 1))]
    found = await judge.ask(given=same)
    assert len(judge.asked) == 2
    assert [(v.task.item, v.task.repeat, v.reply.value) for v in found] == [("a", 0, 7.0), ("b", 0, 7.0), ("a", 1, 7.0)]


async def test_a_reply_that_came_meanwhile_is_not_asked_for(judge: Judge) -> None:
    """Another stage has the second question too, and its reply comes while the first of ours is under way."""
    answers: list[list[Verdict]] = []

    async def meanwhile(_body: Any, n: int) -> web.Response:
        if n == 0:
            answers.append(await judge.ask(given=tasks(2)[1:]))
        return reply("[[7]]" if n == 0 else "[[3]]")

    judge.answer = meanwhile
    found = await judge.ask(2, concurrency=1)
    assert judge.prompts() == ["judge 0", "judge 1"]
    assert [v.reply.value for v in found] == [7.0, 3.0]
    assert answers == [found[1:]]
    assert judge.progress[-1] == (2, 2)
    assert judge.ledger.interrupted() == []


async def test_no_more_at_once_than_allowed(judge: Judge) -> None:
    running, most, together = 0, 0, asyncio.Barrier(3)

    async def slow(body: Any, _: int) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await together.wait()
        running -= 1
        return reply("[[3]]")

    judge.answer = slow
    await judge.ask(9, concurrency=3)
    assert most == 3


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (lambda: reply("I cannot say."), "unparseable", "I cannot say."),
        (lambda: reply("[[3]] or [[4]]"), "unparseable", "[[3]] or [[4]]"),
        (lambda: reply("[[11]]"), "unparseable", "[[11]]"),
        (lambda: reply(""), "unparseable", ""),
        (lambda: reply(None, message={"refusal": "I will not."}), "refused", "I will not."),
        (lambda: reply("Rating: [[5]]", finish_reason="content_filter"), "refused", "Rating: [[5]]"),
        (lambda: fault(400, "too long", "context_length_exceeded"), "refused", "HTTP 400: too long"),
        (lambda: fault(400, "the maximum context length is 9"), "refused", "HTTP 400: the maximum context length is 9"),
        (lambda: fault(400, "filtered", "content_filter"), "refused", "HTTP 400: filtered"),
    ],
)
async def test_a_final_failure_is_recorded_and_not_asked_again(
    judge: Judge, answer: Any, status: str, text: str
) -> None:
    judge.answer = lambda _body, _n: answer()
    (found,) = await judge.ask(retries=3)
    assert (found.reply.status, found.reply.value, found.reply.text) == (status, None, text)
    assert len(judge.asked) == 1
    assert judge.recorded() == 1
    assert await judge.ask(retries=3) == [found]
    assert len(judge.asked) == 1


async def broken_json(_body: Any, _n: int) -> web.Response:
    return web.Response(text='{"id": "c", "choices": [{"ind', content_type="application/json")


FAULTS: list[Any] = [
    pytest.param(lambda b, n: fault(500, "boom"), "HTTP 500: boom", id="500"),
    pytest.param(lambda b, n: fault(503, "busy"), "HTTP 503: busy", id="503"),
    pytest.param(lambda b, n: fault(429, "slow down", **{"Retry-After": "0"}), "HTTP 429: slow down", id="429"),
    pytest.param(lambda b, n: completion([]), "no choices", id="empty choices"),
    pytest.param(lambda b, n: reply(None), "no text", id="no content"),
    pytest.param(broken_json, "the reply is broken", id="truncated JSON"),
    pytest.param(
        lambda b, n: web.Response(text="<html>", content_type="text/html"), "the reply is broken", id="a page"
    ),
]


@pytest.mark.parametrize(("answer", "says"), FAULTS)
async def test_what_may_pass_is_tried_again(judge: Judge, answer: Any, says: str) -> None:
    judge.answer = lambda body, n: answer(body, n) if n < 2 else reply("[[7]]")
    (found,) = await judge.ask(retries=2)
    assert found.reply.value == 7.0
    assert len(judge.asked) == 3


@pytest.mark.parametrize(("answer", "says"), FAULTS)
async def test_what_does_not_pass_keeps_the_rest_and_is_incomplete(judge: Judge, answer: Any, says: str) -> None:
    judge.answer = lambda body, n: answer(body, n) if n >= 3 else reply("[[7]]")
    with pytest.raises(Incomplete) as caught:
        await judge.ask(6, retries=1, concurrency=1)
    assert says in caught.value.what
    assert "in 2 tries" in caught.value.what
    assert caught.value.where == judge.url
    assert "Run again" in caught.value.fix
    assert CANARY not in str(caught.value)
    assert judge.recorded() == 3
    judge.asked.clear()
    judge.answer = lambda _body, _n: reply("[[8]]")
    assert [v.reply.value for v in await judge.ask(6)] == [7.0, 7.0, 7.0, 8.0, 8.0, 8.0]
    assert sorted(judge.prompts()) == ["judge 3", "judge 4", "judge 5"]
    assert judge.ledger.interrupted() == []


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "0.4"}, {"retry-after-ms": "400"}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}]
)
async def test_retry_after_is_honoured(judge: Judge, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def noted(_: Caller, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(Caller, "_sleep", noted)
    judge.answer = lambda _body, n: fault(429, "slow", **headers) if n == 0 else reply("[[7]]")
    await judge.ask(retries=1)
    assert waits == [0.0 if "GMT" in str(headers) else 0.4]


async def test_a_server_that_wants_us_to_wait_for_hours_ends_the_run(judge: Judge) -> None:
    judge.answer = lambda _body, _n: fault(429, "daily limit", **{"Retry-After": "7200"})
    with pytest.raises(Incomplete, match="daily limit"):
        await judge.ask(retries=5)
    assert len(judge.asked) == 1


async def test_an_empty_account_is_not_tried_again(judge: Judge) -> None:
    judge.answer = lambda _body, _n: fault(429, "You exceeded your quota", "insufficient_quota")
    with pytest.raises(Incomplete, match="no quota left"):
        await judge.ask(retries=5)
    assert len(judge.asked) == 1


async def test_a_slow_answer_is_a_time_out(judge: Judge) -> None:
    async def slow(_body: Any, _n: int) -> web.Response:
        await asyncio.Event().wait()
        return reply("[[7]]")

    judge.answer = slow
    with pytest.raises(Incomplete, match=re.escape("no answer within 0.2 s")):
        await judge.ask(timeout_s=0.2)
    assert judge.recorded() == 0


async def test_a_server_that_is_gone(judge: Judge, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"
    with pytest.raises(Incomplete, match="unreachable") as caught:
        await judge.ask(3, base_url=url, retries=1)
    assert caught.value.where == url
    assert judge.recorded() == 0


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_names_the_variable_and_never_the_key(judge: Judge, status: int) -> None:
    judge.answer = only(2, fault(status, f"Incorrect API key provided: {CANARY}"))
    with pytest.raises(HarnessError, match="refuses the key") as caught:
        await judge.ask(4, retries=3, concurrency=1)
    assert not isinstance(caught.value, Incomplete)
    assert "TEST_JUDGE_KEY" in caught.value.fix
    assert CANARY not in str(caught.value)
    assert len(judge.asked) == 3
    assert judge.recorded() == 2


async def test_a_wrong_model_name(judge: Judge) -> None:
    judge.answer = lambda _body, _n: fault(404, "no such model gpt-4", "model_not_found")
    with pytest.raises(HarnessError, match="no such model") as caught:
        await judge.ask(retries=3)
    assert "judge.model" in caught.value.fix
    assert len(judge.asked) == 1


async def test_a_wrong_parameter_is_no_verdict(judge: Judge) -> None:
    judge.answer = lambda _body, _n: fault(400, "'max_tokens' is not supported with this model")
    with pytest.raises(HarnessError, match="max_tokens"):
        await judge.ask()
    assert judge.recorded() == 0


@pytest.mark.parametrize("answer", [lambda: reply(f"[[7]] {CANARY}"), lambda: fault(400, f"content_filter {CANARY}")])
async def test_a_server_that_echoes_the_key(judge: Judge, answer: Any) -> None:
    judge.answer = lambda _body, _n: answer()
    (found,) = await judge.ask()
    assert CANARY not in found.reply.text
    assert "[key]" in found.reply.text  # the fixture looks through the ledger's bytes


async def test_calls_under_way_are_recorded_when_another_fails(judge: Judge) -> None:
    async def answer(body: Any, _n: int) -> web.Response:
        if "judge 0" in str(body):
            await asyncio.sleep(0.1)
            return fault(401)
        await asyncio.sleep(0.3)
        return reply("[[7]]")

    judge.answer = answer
    with pytest.raises(HarnessError, match="refuses the key"):
        await judge.ask(10, concurrency=3)
    assert len(judge.asked) == 3
    assert judge.recorded() == 2


async def test_a_cancelled_call_stays_listed_as_under_way(judge: Judge) -> None:
    both, over = asyncio.Event(), asyncio.Event()

    async def never(_body: Any, n: int) -> web.Response:
        if n == 1:
            both.set()
        await over.wait()
        return reply("[[7]]")

    judge.answer = never
    asking = asyncio.create_task(judge.ask(2))
    await both.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    over.set()
    assert judge.ledger._db.execute("SELECT count(*) FROM in_flight").fetchone() == (2,)


async def test_a_full_disk_stops_the_asking(judge: Judge) -> None:
    pages = judge.ledger._db.execute("PRAGMA page_count").fetchone()[0]
    judge.ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    judge.answer = lambda _body, _n: reply("[[7]] " + "x" * 50_000)
    with pytest.raises(HarnessError, match="the disk is full"):
        await judge.ask(10, concurrency=1)
    assert len(judge.asked) == 1


async def test_the_budget_is_never_passed(judge: Judge) -> None:
    each = (100 * 30 + 10 * 60) / 1e6
    limit = 0.1229 + 4.5 * each  # one call can cost 2048 output tokens, about $0.12288
    with pytest.raises(Incomplete, match="the budget is spent") as caught:
        await judge.ask(50, max_cost_usd=limit, concurrency=4)
    assert "max_cost_usd" in caught.value.where
    spent = sum(cost.price_usd for cost in judge.ledger.costs())
    assert limit - 0.1233 < spent <= limit
    assert judge.recorded() == 5
    with pytest.raises(Incomplete):
        await judge.ask(50, max_cost_usd=limit)  # what was spent before counts
    assert judge.recorded() == 5
    assert len(await judge.ask(50, max_cost_usd=10.0)) == 50


async def test_a_budget_without_a_price_is_refused_up_front(judge: Judge) -> None:
    with pytest.raises(HarnessError, match="no price is known for the judge my-model"):
        await judge.ask(model="my-model", max_cost_usd=1.0)
    assert judge.asked == []
    (found,) = await judge.ask(model="my-model")
    assert found.reply.price_usd is None


async def test_no_key_for_openai(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_JUDGE_KEY")
    with pytest.raises(HarnessError, match="TEST_JUDGE_KEY is not set"):
        await judge.ask(base_url=None)
    (found,) = await judge.ask()  # a server of one's own may need none
    assert found.reply.value == 7.0


async def test_a_password_in_the_url_is_refused(judge: Judge) -> None:
    with pytest.raises(HarnessError, match="password") as caught:
        await judge.ask(base_url="https://me:secret@host/v1")
    assert "secret" not in str(caught.value)


async def test_the_environment_does_not_say_where_to_ask(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint is part of the judge's identity, so OPENAI_BASE_URL must not move it."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    async with _client(judge.settings(base_url=None), None, None) as client:
        assert str(client.base_url) == "https://api.openai.com/v1/"


async def test_a_constrained_verdict(judge: Judge) -> None:
    judge.answer = lambda _body, _n: reply("8")
    (found,) = await judge.ask(protocol="choice")
    assert (found.reply.value, found.reply.text) == (8.0, "Rating: [[8")
    (body,) = judge.asked
    assert body["messages"][-1] == {"role": "assistant", "content": "Rating: [["}
    assert body["continue_final_message"] is True
    assert body["add_generation_prompt"] is False
    assert body["structured_outputs"] == {"choice": [str(k) for k in range(1, 11)]}
    assert body["max_tokens"] == 8
    kept = judge.ledger._db.execute("SELECT request_json FROM judge_calls").fetchone()[0]
    assert json.loads(kept) == body


def scored(tokens: dict[str, float]) -> web.Response:
    """A reply of one token, with the probabilities of the likeliest."""
    likeliest = [{"token": t, "logprob": math.log(p), "bytes": None} for t, p in tokens.items()]
    content = [{**likeliest[0], "top_logprobs": likeliest}]
    return reply(next(iter(tokens)), logprobs={"content": content, "refusal": None})


async def test_an_expected_rating_scores_two_continuations(judge: Judge) -> None:
    def answer(body: Any, _: int) -> web.Response:
        begun_with_one = body["messages"][-1]["content"].endswith("1")
        return scored({"0": 0.4, "]]": 0.6} if begun_with_one else {"4": 0.5, "1": 0.5})

    judge.answer = answer
    (found,) = await judge.ask(protocol="expected")
    assert (found.reply.status, found.reply.value, found.reply.text) == ("ok", 4.3, "Rating: [[4.3000")
    assert [body["messages"][-1]["content"] for body in judge.asked] == ["Rating: [[", "Rating: [[1"]
    assert all(body["top_logprobs"] == 20 and body["max_tokens"] == 1 for body in judge.asked)


async def test_a_server_without_logprobs_gives_no_expected_rating(judge: Judge) -> None:
    judge.answer = lambda _body, _n: reply("7")
    (found,) = await judge.ask(protocol="expected")
    assert (found.reply.status, found.reply.value) == ("unparseable", None)
    assert "no number from 1 to 10" in found.reply.text
