"""Replies without a verdict, and servers' complaints: which end one question, which the run, in words seen and unseen.

The kinds are modelled on what servers say in public reports (vLLM, SGLang, TGI, llama.cpp, OpenAI, Azure, Anthropic,
Gemini, Groq, Mistral, DeepSeek, OpenRouter, Bedrock); the words are our own.
"""

import asyncio
import itertools
import json
import random
import re
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from harness.core.errors import HarnessError, Incomplete
from harness.judge import client
from harness.judge.complaint import complaint
from harness.judge.protocol import find_protocol
from harness.record import judging
from harness.record.run import JudgingRecord
from tests.judge.stand_in import Judge, completion, fault, reply

RATING = find_protocol("rating", "text")


def body(content: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(content, status=status)


def error(status: int, message: str, **more: Any) -> web.Response:
    return body({"error": {"message": message, **more}}, status)


VERDICTS: dict[str, Any] = {
    "thought, then a verdict": lambda: reply("<think>Perhaps [[6]]? No, more.</think>\n\nRating: [[8]]"),
    "thought begun in the prompt": lambda: reply("Perhaps [[6]]?\n</think>\nRating: [[8]]"),
    "parts, one of them a thought": lambda: reply(
        [{"type": "thinking", "thinking": [{"type": "text", "text": "[[3]]"}]}, {"type": "text", "text": "[[8]]"}]  # type: ignore[arg-type]
    ),
    "parts, one of them marked as a thought": lambda: reply([{"text": "[[3]]", "thought": True}, {"text": "[[8]]"}]),  # type: ignore[arg-type]
    "parts that are plain texts": lambda: reply(["Rating: ", "[[8]]"]),  # type: ignore[arg-type]
    "one part": lambda: reply({"type": "output_text", "text": "[[8]]"}),  # type: ignore[arg-type]
    "reasoning beside the text": lambda: reply("[[8]]", message={"reasoning_content": "A weak [[3]]?"}),
    "another word for the end": lambda: reply("[[8]]", finish_reason="eos_token"),
    "no word for the end": lambda: reply("[[8]]", finish_reason=None),
}
FINAL: dict[str, tuple[Any, str, str]] = {
    "reasoning only": (
        lambda: reply(None, message={"reasoning_content": "Rating: [[8]]"}),
        "unparseable",
        "only reasoning_content",
    ),
    "an empty text and reasoning": (lambda: reply("", message={"reasoning": "[[8]]"}), "unparseable", "only reasoning"),
    "a tool call": (
        lambda: reply(None, message={"tool_calls": [{"id": "a", "type": "function"}]}, finish_reason="tool_calls"),
        "unparseable",
        "only tool_calls; finish_reason tool_calls",
    ),
    "parts without a text": (
        lambda: reply([{"type": "thinking", "thinking": "[[8]]"}]),  # type: ignore[arg-type]
        "unparseable",
        "parts of other kinds",
    ),
    "a thought without an end": (lambda: reply("<think>One may say [[3]]"), "unparseable", "[[3]]"),
    "cut": (lambda: reply("A weak one would be [[3]], but", finish_reason="length"), "cut", "A weak one"),
    "cut after the verdict": (lambda: reply("Rating: [[8]] for", finish_reason="MAX_TOKENS"), "cut", "[[8]]"),
    "cut before it spoke": (lambda: reply(None, finish_reason="length"), "cut", "no text within"),
    "cut at the model's length": (lambda: reply("[[8]]", finish_reason="model_length"), "cut", "[[8]]"),
    "a refusal": (lambda: reply(None, message={"refusal": "I will not."}), "refused", "I will not."),
    "a refusing part": (lambda: reply([{"type": "refusal", "refusal": "No."}]), "refused", "No."),  # type: ignore[arg-type]
    "filtered, with details": (
        lambda: completion([{"index": 0, "finish_reason": "content_filter: SEXUAL", "message": {"role": "assistant"}}]),
        "refused",
        "content_filter: SEXUAL",
    ),
    "filtered, no message": (lambda: completion([{"finish_reason": "SAFETY"}]), "refused", "SAFETY"),
    "stopped by a guardrail": (lambda: reply("[[8]]", finish_reason="guardrail_intervened"), "refused", "[[8]]"),
    "error under 200": (
        lambda: body({"error": {"code": 400, "message": "the request exceeds the context size", "type": "exceed"}}),
        "refused",
        "HTTP 400: the request exceeds the context size",
    ),
    "error under 200, as a text": (lambda: body({"error": "inputs too long"}), "refused", "inputs too long"),
    "error under 200, flat": (lambda: body({"object": "error", "message": "no such luck"}), "refused", "no such luck"),
    "error in a choice": (
        lambda: completion([{"error": {"code": 403, "message": "flagged by moderation"}, "finish_reason": "error"}]),
        "refused",
        "flagged by moderation",
    ),
    "context, 400": (
        lambda: error(400, "request (439 tokens) exceeds the available context size (409 tokens), try increasing it"),
        "refused",
        "exceeds the available",
    ),
    "context, 500": (lambda: error(500, "Context size has been exceeded.", type="server_error"), "refused", "HTTP 500"),
    "context, flat body": (
        lambda: body({"object": "error", "message": "Input (617 tokens) is longer than the limit", "code": 400}, 400),
        "refused",
        "longer than",
    ),
    "context, unlike any other": (lambda: error(400, "Das Gespräch passt nicht ins Fenster."), "refused", "Fenster"),
    "max_tokens that do not fit": (
        lambda: error(422, "`inputs` tokens + `max_new_tokens` must be <= 4096", error_type="validation"),
        "refused",
        "must be <= 4096",
    ),
    "too large": (lambda: body({"detail": "Payload"}, 413), "refused", "HTTP 413: Payload"),
    "too large for any minute": (
        lambda: error(429, "Request too large for gpt-4 on tokens per min: limit 10000, requested 12000"),
        "refused",
        "Request too large",
    ),
    "a page for an error": (
        lambda: web.Response(status=413, text="<html>Entity Too Large</html>", content_type="text/html"),
        "refused",
        "Entity Too Large",
    ),
    "policy, 400": (lambda: error(400, "your prompt was flagged", code="invalid_prompt"), "refused", "flagged"),
    "policy, 403": (lambda: error(403, "input was flagged by moderation: violence"), "refused", "violence"),
    "an error in a list": (
        lambda: web.json_response([{"error": {"code": 400, "message": "token count exceeds"}}], status=400),
        "refused",
        "token count exceeds",
    ),
}


@pytest.mark.parametrize("kind", VERDICTS)
async def test_a_verdict_however_it_is_wrapped(judge: Judge, kind: str) -> None:
    judge.answer = lambda _body, _n: VERDICTS[kind]()
    (found,) = await judge.ask()
    assert (found.reply.status, found.reply.value) == ("ok", 8.0)
    assert len(judge.asked) == 1


@pytest.mark.parametrize("kind", FINAL)
async def test_a_final_failure_ends_one_question_alone(judge: Judge, kind: str) -> None:
    """Asked once, recorded with the server's words, never asked again; the other questions get their verdicts."""
    make, status, words = FINAL[kind]
    judge.answer = lambda asked, _n: make() if asked["messages"][-1]["content"] == "judge 1" else reply("[[7]]")
    found = await judge.ask(4, retries=3, concurrency=1)
    assert [v.reply.value for v in found] == [7.0, None, 7.0, 7.0]
    assert found[1].reply.status == status
    assert words in found[1].reply.text
    assert len(judge.asked) == 4
    assert await judge.ask(4, retries=3) == found
    assert len(judge.asked) == 4
    assert judge.ledger.interrupted() == []


@pytest.mark.parametrize("kind", FINAL)
async def test_the_same_where_there_is_only_one_question(judge: Judge, kind: str) -> None:
    judge.answer = lambda _body, _n: FINAL[kind][0]()
    (found,) = await judge.ask(retries=3)
    assert (found.reply.status, found.reply.value) == (FINAL[kind][1], None)
    assert len(judge.asked) == 1


FAILED: list[Any] = [
    pytest.param(lambda: fault(500, "an internal matter"), "an internal matter", id="500"),
    pytest.param(lambda: completion([]), "no choices", id="no choices"),
    pytest.param(lambda: body({"choices": None, "note": "blocked"}), "blocked", id="choices that are null"),
    pytest.param(lambda: reply(None), "no text", id="no text and no reason"),
    pytest.param(lambda: reply(7), "content is a int", id="a number for a text"),  # type: ignore[arg-type]
    pytest.param(lambda: reply("[[8]]", finish_reason="error"), "broken off", id="broken off"),
    pytest.param(lambda: web.json_response(["odd"]), "no chat completion", id="a list"),
    pytest.param(
        lambda: body({"error": {"message": "provider returned error", "code": 502}}),
        "provider returned error",
        id="upstream",
    ),
]


@pytest.mark.parametrize(("make", "words"), FAILED[:-1])
async def test_what_fails_in_every_try_while_others_are_answered_is_that_questions_own(
    judge: Judge, make: Any, words: str
) -> None:
    judge.answer = lambda asked, _n: make() if asked["messages"][-1]["content"] == "judge 1" else reply("[[7]]")
    found = await judge.ask(4, retries=2, concurrency=1)
    assert [v.reply.status for v in found] == ["ok", "failed", "ok", "ok"]
    assert words in found[1].reply.text
    assert len(judge.asked) == 3 + 3
    assert await judge.ask(4, retries=2) == found
    assert len(judge.asked) == 6


@pytest.mark.parametrize(("make", "words"), FAILED)
async def test_a_server_that_fails_on_everything_ends_the_run(judge: Judge, make: Any, words: str) -> None:
    judge.answer = lambda _body, n: make() if n >= 2 else reply("[[7]]")
    with pytest.raises(Incomplete, match=words):
        await judge.ask(50, retries=1, concurrency=2)
    assert judge.recorded() == 2
    assert len(judge.asked) <= 2 + 2 * (client._MOST_FAILED + 1)
    assert judge.ledger.interrupted() == []


SYSTEMATIC: list[Any] = [
    pytest.param(400, "'max_tokens' is not supported with this model", {"param": "max_tokens"}, 1, id="parameter"),
    pytest.param(400, "temperature: Extra inputs are not permitted", {}, 1, id="parameter in words"),
    pytest.param(422, "no field of that name", {"param": "top_logprobs"}, 1, id="parameter by name"),
    pytest.param(400, "gpt-9 is not a valid model ID", {}, 1, id="model"),
    pytest.param(400, "Something is not as it should be.", {}, client._MOST_REFUSED, id="without a reason"),
    pytest.param(418, "I am a teapot", {}, client._MOST_REFUSED, id="another status"),
    pytest.param(400, "maximum context length is 1 token", {}, client._MOST_REFUSED, id="nothing fits"),
]


@pytest.mark.parametrize(("status", "words", "more", "asked"), SYSTEMATIC)
async def test_what_every_question_meets_burns_none(
    judge: Judge, status: int, words: str, more: dict[str, str], asked: int
) -> None:
    """The run ends with the server's words; nothing is recorded, and the next run asks all of them."""
    judge.answer = lambda _body, _n: error(status, words, **more)
    with pytest.raises(HarnessError, match="does not accept the request") as caught:
        await judge.ask(100, concurrency=1)
    assert words in caught.value.what
    assert len(judge.asked) == asked
    assert judge.recorded() == 0
    assert judge.ledger.interrupted() == []
    judge.answer = lambda _body, _n: reply("[[7]]")
    assert {v.reply.value for v in await judge.ask(30)} == {7.0}


async def test_a_refusal_that_begins_midway_and_never_ends_burns_none(judge: Judge) -> None:
    judge.answer = lambda _body, n: reply("[[7]]") if n < 20 else error(400, "Not today.")
    with pytest.raises(HarnessError, match="Not today"):
        await judge.ask(100, concurrency=4)
    assert judge.recorded() == 20
    assert len(judge.asked) <= 20 + client._MOST_REFUSED + 4


async def test_many_questions_that_are_too_long_are_no_doubt_about_a_judge_that_replies(judge: Judge) -> None:
    judge.answer = lambda _body, n: reply("[[7]]") if n == 0 else error(400, "prompt is too long: 9 tokens > 8 maximum")
    found = await judge.ask(100, concurrency=4)
    assert Counter(v.reply.status for v in found) == {"ok": 1, "refused": 99}
    assert len(judge.asked) == 100


async def test_a_slow_reply_is_waited_for_before_a_doubt_ends_the_run(judge: Judge) -> None:
    """Refusals come at once and replies take a while: one that is under way may show that the judge replies."""

    async def late() -> web.Response:
        while len(judge.asked) < client._MOST_REFUSED + 1:
            await asyncio.sleep(0.01)
        return reply("[[7]]")

    judge.answer = lambda asked, n: late() if n == 0 else error(400, "Not this one.")
    found = await judge.ask(client._MOST_REFUSED + 1, concurrency=2)
    assert Counter(v.reply.status for v in found) == {"ok": 1, "refused": client._MOST_REFUSED}


GONE: list[Any] = [
    pytest.param(401, "bad key", "refuses the key", id="401"),
    pytest.param(403, "your account may not", "refuses the key", id="403"),
    pytest.param(400, "API key not valid. Please pass a valid API key.", "refuses the key", id="key under 400"),
    pytest.param(402, "Insufficient Balance", "no quota left", id="402"),
    pytest.param(400, "Your credit balance is too low to access the API", "no quota left", id="credit under 400"),
    pytest.param(404, "no such model", "does not accept", id="404"),
    pytest.param(503, "overloaded", "no verdict in 1 try", id="503"),
    pytest.param(429, "Rate limit reached on tokens per min", "no verdict in 1 try", id="429"),
]


@pytest.mark.parametrize(("status", "words", "says"), GONE)
async def test_what_says_that_the_server_or_the_key_is_gone_ends_the_run(
    judge: Judge, status: int, words: str, says: str
) -> None:
    judge.answer = lambda _body, n: error(status, words) if n == 2 else reply("[[7]]")
    with pytest.raises(HarnessError, match=says):
        await judge.ask(9, concurrency=1)
    assert judge.recorded() == 2
    assert len(judge.asked) == 3


@pytest.mark.parametrize(
    ("form", "protocol", "content"), [("alpaca-weighted", "choice", "m"), ("rating", "choice", "8")]
)
async def test_a_protocol_that_asks_for_so_few_tokens_has_replies_that_end_there(
    judge: Judge, form: str, protocol: str, content: str
) -> None:
    judge.answer = lambda _body, _n: reply(content, finish_reason="length")
    (found,) = await judge.ask(form=form, protocol=protocol)
    assert found.reply.status == "ok"
    (found,) = await judge.ask(form=form, protocol=protocol, max_tokens=1)  # cut by the recipe, not by the protocol
    assert (found.reply.status, found.reply.value) == ("cut", None)


COMPLAINTS = [
    (400, {"error": {"message": "max_tokens is too large: 4096. This model supports at most 2048"}}, "settings"),
    (400, {"error": {"message": "max_tokens must be at least 1, got -573"}}, "question"),
    (400, {"error": {"message": "too many input tokens"}}, "question"),
    (400, {"error": {"message": "odd", "param": "messages.[0].content"}}, "unknown"),
    (400, {"message": "no", "type": "context_window_exceeded"}, "question"),
    (400, {"error": {"message": "x", "code": "data_inspection_failed"}}, "question"),
    (400, {"error": {"error": {"message": "Arrearage"}}}, "account"),
    (500, {"error": {"message": "CUDA error"}}, "server"),
    (502, {"error": {"message": "context canceled"}}, "busy"),
    (422, {"detail": [{"loc": ["body", "top_k"], "msg": "extra fields not permitted"}]}, "settings"),
    (422, {"detail": [{"loc": ["body"], "msg": "Odd", "input": "Write code that reads an API key."}]}, "unknown"),
    (422, "a quota? My API key?", "unknown"),
    (400, None, "unknown"),
    (400, {"error": []}, "unknown"),
    (400, 7, "unknown"),
]


@pytest.mark.parametrize(("status", "given", "subject"), COMPLAINTS)
def test_what_a_complaint_is_about(status: int, given: object, subject: str) -> None:
    assert complaint(status, given).subject == subject
    assert len(complaint(status, json.dumps(given) * 99).words) <= 303


COUNT = 1000


async def test_a_thousand_verdicts_of_which_three_in_ten_are_of_every_kind(judge: Judge) -> None:
    """Each question ends with its verdict or its failure, asked once, or as often as what may pass is tried."""
    odd = [*VERDICTS.values(), *(make for make, _, _ in FINAL.values()), *(param.values[0] for param in FAILED[:-1])]
    chance = random.Random(3)
    kinds = dict(zip(chance.sample(range(COUNT), 3 * COUNT // 10), itertools.cycle(range(len(odd))), strict=False))

    def answer(asked: Any, _n: int) -> web.Response:
        kind = kinds.get(int(asked["messages"][-1]["content"].removeprefix("judge ")))
        return reply("Rating: [[7]]") if kind is None else odd[kind]()

    judge.answer = answer
    found = await judge.ask(COUNT, concurrency=16, retries=1)
    assert [v.task.item for v in found] == [str(k) for k in range(COUNT)]
    for k, v in enumerate(found):
        kind = kinds.get(k)
        if kind is None or kind < len(VERDICTS):
            assert (v.reply.status, v.reply.value) == ("ok", 7.0 if kind is None else 8.0)
        else:
            final = [status for _, status, _ in FINAL.values()] + ["failed"] * len(FAILED)
            assert (v.reply.status, v.reply.value) == (final[kind - len(VERDICTS)], None)
    tries = Counter(judge.prompts())
    assert tries == {f"judge {k}": 1 + (v.reply.status == "failed") for k, v in enumerate(found)}
    assert await judge.ask(COUNT) == found
    assert len(judge.asked) == tries.total(), "nothing is asked again"
    assert judge.ledger.interrupted() == []

    reasons = judging.failures(found)
    named = {name for reason in reasons for name in reason.which}
    assert named == {f"{v.task.item}/1" for v in found if v.reply.status != "ok"}
    assert sum(reason.count for reason in reasons) == len(named)
    otherwise, there_only = judging.read_otherwise(found, RATING)
    row = JudgingRecord("c", "b", COUNT, 0, 1, None, COUNT, reasons, otherwise, there_only)
    first, second = judging.warnings([row])
    assert first.startswith(f"b: {len(named)} of 1000 verdicts failed")
    assert reasons[0].words in first
    assert re.match(r"b: FastChat's own parser would have read \d+ of 1000 verdicts otherwise", second)
