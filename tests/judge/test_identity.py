"""What makes another judge, what does not, and what a judge costs."""

import json
from typing import Any

import pytest

from harness.judge.api import JudgeTask
from harness.judge.identity import judge_digest, request_digest
from harness.judge.program import run_program
from harness.judge.protocol import find_protocol
from harness.judge.settings import JudgeSettings
from harness.store.ledger import Reply


def settings(**values: Any) -> JudgeSettings:
    return JudgeSettings.model_validate_json(json.dumps({"model": "gpt-4", **values}))


def of(prompts: str = "p", weights: str | None = None, **values: Any) -> str:
    judge = settings(**values)
    return judge_digest(judge, find_protocol("rating", judge.protocol), prompts=prompts, weights=weights)


def test_it_is_pinned() -> None:
    """A changed digest asks, and pays for, every verdict again: change it only on purpose."""
    assert of() == "76b432b80fcabb721c33d7d98ee635fd8c254d7b9762f76aaf560996263d2c93"


@pytest.mark.parametrize(
    "values",
    [
        {"model": "gpt-4o"},
        {"base_url": "http://elsewhere/v1"},
        {"temperature": 0.5},
        {"max_tokens": 100},
        {"protocol": "choice"},
        {"epoch": 1},
        {"serve": {}},
        {"prompts": "q"},
    ],
)
def test_another_judge(values: dict[str, Any]) -> None:
    assert of(**values) != of()


@pytest.mark.parametrize(
    "values",
    [
        {"api_key_env": "OTHER"},
        {"concurrency": 1},
        {"timeout_s": 1.0},
        {"retries": 0},
        {"max_cost_usd": 1.0},
        {"base_url": "https://api.openai.com/v1/"},
    ],
)
def test_the_same_judge(values: dict[str, Any]) -> None:
    assert of(**values) == of()


def test_a_served_judge_is_its_weights() -> None:
    served = of(weights="w1", serve={})
    assert of(weights="w1", serve={}, model="another name for it") == served
    assert of(weights="w2", serve={}) != served
    assert of(weights="w1", serve={"dtype": "float32"}) != served
    assert of(weights="w1", serve={"max_length": 4096}) != served
    assert of(weights="w1", serve={"kv_cache_gb": 4}) == served


def test_a_request_is_what_the_judge_is_shown() -> None:
    task = JudgeTask("1", 1, "p", ({"role": "user", "content": "a"},))
    assert request_digest(task) == request_digest(JudgeTask("2", 2, "q", task.messages, {"x": 1}, 3))
    assert request_digest(task) != request_digest(JudgeTask("1", 1, "p", ({"role": "user", "content": "b"},)))


def test_a_program_judges_and_says_when_it_cannot() -> None:
    def longer(evidence: Any) -> tuple[float, str]:
        if "answer" not in evidence:
            raise ValueError("no answer in it")
        return float(len(evidence["answer"])), "its length"

    asked = [JudgeTask("1", 1, "p", (), {"answer": "four"}), JudgeTask("2", 2, "p", (), {}, 3)]
    good, bad = run_program(longer, asked, model="program:length")
    assert [good.task, bad.task] == asked
    assert good.reply == Reply("ok", 4.0, "its length", "program:length")
    assert bad.reply == Reply("unparseable", None, "no answer in it", "program:length")


def test_a_defect_of_a_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run_program(lambda _: (1 / 0, ""), [JudgeTask("1", 1, "p", ())], model="m")
