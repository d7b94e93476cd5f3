"""Whatever a judge replies: a verdict that the form has, or its one documented failure, in time."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from pydantic import ValidationError

from harness.bench.pocket import BENCHMARK as POCKET
from harness.bench.pocket import PocketSettings, judge
from harness.core.errors import HarnessError
from harness.judge.api import JudgeTask
from harness.judge.caller import Caller, _AgainError
from harness.judge.forms.arena import battles, label
from harness.judge.identity import endpoint
from harness.judge.profiles import profile_of
from harness.judge.program import run_program
from harness.judge.protocol import Protocol, VerdictForm, forms
from harness.judge.settings import JudgeSettings
from harness.judge.thoughts import said
from tests.fuzz.mutations import changed, values
from tests.fuzz.profiles import fuzz

RANGES = {
    "rating": (0, 10),
    "pair": (0, 1),
    "arena": (-1, 2),
    "arena-v2": (-1, 2),
    "alpaca-weighted": (1, 2),
    "alpaca-ranking": (1, 2),
}
"""VerdictForm -> lowest and highest value."""
PROTOCOLS = [(form, way) for form in forms().values() for way in form.modes.values()]
READ = [(form, way) for form, way in PROTOCOLS if way.scored is None]
"""Those that find the verdict in a text."""

fragments = st.sampled_from(
    [
        *(
            "[[7]]",
            "[[10]]",
            "[[1e999]]",
            "[[-5]]",
            "[[NaN]]",
            "[[inf]]",
            "[[11]]",
            "[[0]]",
            "[[٣]]",
            "[[１０]]",
            "[[²]]",
        ),
        *(
            "[[7",
            "7]]",
            "[7]",
            "[[",
            "]]",
            "[",
            "]",
            "[[7.5.5]]",
            "[[7/10]]",
            "[[ 7 ]]",
            "[[" + "9" * 400 + "]]",
            "[[1_0]]",
        ),
        *(
            "[[A]]",
            "[[B]]",
            "[[C]]",
            "[[A>>B]]",
            "[[A>B]]",
            "[[A=B]]",
            "[[B>>A]]",
            "[[A<B]]",
            "[[A>>>B]]",
            "[[>]]",
            "[[]]",
        ),
        *(
            "Rating: [[",
            "My final verdict is: [[",
            "My final verdict is: [[A ",
            "Best model identifier:",
            "m",
            "M",
            "A",
            "1",
            "<think>",
            "</think>",
            "\n<think>",
            "Rating: [7]",
        ),
        *(
            "nan",
            "inf",
            "-inf",
            "1e999",
            "-0",
            "0.5",
            "10",
            "4.87",
            "\0",
            "\ud800",
            "\u202e",
            "\n",
            " ",
            "{",
            "}",
            "'",
            '"',
        ),
        "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]",
        "[{'rank': 1, 'model': 'model_",
        "[{'model': 'model_1', 'rank': True}]",
        "[{'model': 'model_1', 'rank': 1.0}]",
        "[{'model': 'model_1', 'rank': [1]}]",
        "[{'model': 'model_1', 'rank': 1j}]",
        "{'model': 'model_1'}",
        "__import__('os').system('touch ran')",
        '{"m": -0.1, "M": -2.3}',
        '{"m": NaN}',
        '{"M": Infinity}',
        '{"m": -1e999, "M": true}',
        '{"1": -0.1, "2": -2.3}',
        '{"2": ' + "9" * 400 + "}",
    ]
)
replies = st.text(max_size=30) | st.lists(fragments | st.text(max_size=5), max_size=5).map("".join)
"""What a judge may say."""


def value_in_range(form: VerdictForm, way: Protocol, text: str) -> float | None:
    """What the protocol reads in a reply with or without its beginning; None for its documented failure."""
    assert way.read is not None
    try:
        value = way.read(said(text))
    except ValueError as error:
        assert str(error), "a failure without a reason"
        return None
    check_range(form, way, value)
    return value


def check_range(form: VerdictForm, way: Protocol, value: float) -> None:
    low, high = RANGES[form.name]
    assert type(value) is float
    assert low <= value <= high, f"{way.name}: {value}"


def test_every_form_is_fuzzed() -> None:
    assert {form.name for form, _ in PROTOCOLS} == set(RANGES)


@fuzz(100, 3000, text=replies)
def test_any_reply(text: str) -> None:
    for form, way in READ:
        for whole in (text, way.prefix + text):
            value = value_in_range(form, way, whole)
            if form.name in ("arena", "arena-v2") and value is not None:
                share, count = battles(value)
                assert 0 <= share <= 1
                assert count in (1, 3)
                assert label(value)


BOMBS = (
    "[[",
    "]]",
    "[",
    "[[1",
    "[[9.",
    "[[A",
    "[[A>",
    ">",
    "(",
    "{",
    "-",
    "~",
    "'",
    '"',
    "\\",
    "[[7]] ",
    "[7] ",
    "[[A]]",
    "9",
    " ",
    "\n",
    "[[ ",
    "rating: ",
    "<think>",
    "</think>",
    "\n<think>",
)


@pytest.mark.parametrize("bomb", BOMBS)
def test_long_replies_take_time_in_proportion(bomb: str) -> None:
    """Twenty thousand times what might make a pattern start over, or a parser nest, with every form's beginning."""
    for form, way in READ:
        for begun in {"", way.prefix, "[{'model': "}:
            for end in ("", "]]", "x"):
                value_in_range(form, way, begun + bomb * 20_000 + end)


tokens = st.sampled_from(["1", "7", "10", "0", "A", "B", "C", "m", "M", "2", ">", ">>", "=", "=B", "", " ", "７", "x"])
logprobs = st.floats() | st.floats(-30, 0) | st.sampled_from([0.0, -9999.0, 1000.0, 1e308, float("nan")])
likeliest = st.dictionaries(tokens | st.text(max_size=2), logprobs, max_size=6)


@fuzz(
    100,
    3000,
    examples=[
        {"found": [given] * 3} for given in ({"7": 1000.0}, {"7": -math.inf, "A": -math.inf, "m": 1e308, "1": math.nan})
    ],
    found=st.lists(likeliest, min_size=3, max_size=3),
)
def test_any_probabilities(found: list[Mapping[str, float]]) -> None:
    """A judge's probabilities have a value on the form's scale and a text that the ledger can hold, or a ValueError."""
    for form, way in PROTOCOLS:
        if way.scored is None:
            continue
        try:
            value, text = way.scored(found[: 1 + len(way.continuations)])
        except ValueError as error:
            assert str(error)
            continue
        check_range(form, way, value)
        text.encode()


COMPLETION: dict[str, Any] = {
    "id": "x",
    "object": "chat.completion",
    "created": 0,
    "model": "gpt-4",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "[[7]]", "refusal": None},
            "logprobs": {
                "content": [{"token": "7", "logprob": -0.1, "top_logprobs": [{"token": "7", "logprob": -0.1}]}]
            },
        }
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
}
"""A reply as a server gives it."""


class _Client:
    base_url, api_key = "http://127.0.0.1:1/v1", "a-key-of-no-use"


def reader(protocol: Protocol) -> Caller:
    """A caller that never calls."""
    import asyncio

    return Caller(_Client(), JudgeSettings(model="gpt-4"), protocol, asyncio.Event())  # type: ignore[arg-type]


@fuzz(60, 1500, data=changed(COMPLETION, values | replies))
def test_any_completion(data: Any) -> None:
    """A reply of another shape is asked for again, or a failed verdict: what the client's own parsing lets through."""
    completion = ChatCompletion.construct(**data) if isinstance(data, dict) else data
    for form, way in PROTOCOLS:
        caller = reader(way)
        try:
            reply, _ = caller._answered([completion] * (1 + len(way.continuations)), 0.0)
        except _AgainError as error:
            assert error.reason
            continue
        except HarnessError as error:  # an error in its body may name the key, the account, the model
            assert isinstance(data, dict)
            assert "error" in data or "object" in data
            assert error.what
            continue
        assert reply.status in ("ok", "unparseable", "cut", "refused")
        assert (reply.value is None) == (reply.status != "ok")
        (reply.text + reply.model).encode()  # the ledger can hold it
        assert reply.prompt_tokens >= 0 <= reply.completion_tokens
        if reply.value is not None:
            low, high = RANGES[form.name]
            assert low <= reply.value <= high


TASKS = [
    {"question": q.turns[0], "answer": "x", "reference": q.extra["references"][0], "facts": q.extra["facts"][0]}
    for q in POCKET.open(PocketSettings(questions=16), {}).questions
]
"""What the pocket suite's program is shown, one of every category and turn."""


@fuzz(60, 1000, which=st.integers(0, len(TASKS) - 1), said=replies, data=st.data())
def test_any_evidence_for_a_program(which: int, said: str, data: st.DataObject) -> None:
    """An answer has a value or none; evidence of another shape is the documented failure."""
    right = {**TASKS[which], "answer": said}
    for evidence in (right, data.draw(changed(right))):
        (verdict,) = run_program(judge, [JudgeTask("x", 1, "", (), evidence)], model="program:pocket")
        assert verdict.reply.status in (("ok",) if evidence is right else ("ok", "unparseable"))
        assert (verdict.reply.value is None) == (verdict.reply.status != "ok")
        assert verdict.reply.value is None or 0 <= verdict.reply.value <= 100


@fuzz(
    60,
    800,
    model=st.text(max_size=20) | replies,
    url=st.none() | st.text(max_size=20) | replies.map("http://{}".format),
)
def test_any_judge_has_a_profile(model: str, url: str | None) -> None:
    """Some row of the table fits whatever a judge is called; an address that is none is refused."""
    try:
        settings = JudgeSettings(model=model, base_url=url)
    except ValidationError as error:
        assert "base_url" in str(error)
        return
    assert profile_of(settings)
    assert endpoint(settings)
