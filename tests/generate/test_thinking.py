"""A reasoning model's answer is what stands behind its thinking; what never left it is no answer."""

from typing import Any

import pytest
from pydantic import ValidationError

from harness.core.settings import identity, restore
from harness.generate.api import Answer, GenerateSettings, Request, Thinking
from harness.generate.prompts import Prompt, answer, prepare
from harness.generate.thinking import without_thinking
from tests.models.chatty import CHATML, DROPS, tokenizer

BOTH, END_ALONE = Thinking("</think>", "<think>"), Thinking("</think>", None)


@pytest.mark.parametrize(
    ("text", "marks", "said", "thought", "ending"),
    [
        ("<think>\n2 + 2, hm.\n</think>\n\nIt is 4.", BOTH, "It is 4.", "<think>\n2 + 2, hm.\n</think>", "complete"),
        ("2 + 2, hm.\n</think>\n\nIt is 4.", BOTH, "It is 4.", "2 + 2, hm.\n</think>", "complete"),
        ("2 + 2, hm.\n</think>\n\nIt is 4.", END_ALONE, "It is 4.", "2 + 2, hm.\n</think>", "complete"),
        ("a</think>b</think> c", BOTH, "c", "a</think>b</think>", "complete"),
        ("It is 4.", BOTH, "It is 4.", "", "complete"),
        ("It is 4, as <think> says.", BOTH, "It is 4, as <think> says.", "", "complete"),
        ("It is 4.", END_ALONE, None, "It is 4.", "unfinished"),
        ("\n<think>\n2 + 2, hm. Wait", BOTH, None, "\n<think>\n2 + 2, hm. Wait", "unfinished"),
        ("<think>\nhm\n</think>\n\n", BOTH, "", "<think>\nhm\n</think>", "empty"),
        ("  \n", BOTH, "  \n", "", "empty"),
        ("", END_ALONE, None, "", "unfinished"),
    ],
)
def test_one_text(text: str, marks: Thinking, said: str | None, thought: str, ending: str) -> None:
    read = without_thinking(Answer("1", (text,), ("stop",), (9,)), marks)
    assert (read.turns, read.thoughts, read.endings, read.tokens) == ((said,), (thought,), (ending,), (9,))


def test_a_cut_answer_is_cut_and_a_failure_stays_one() -> None:
    given = Answer("1", ("<think>a</think>It is", None), ("length", "error: too long"), (3, 0))
    read = without_thinking(given, BOTH)
    assert read.endings == ("cut", "failed")
    assert (read.turns, read.finish) == (("It is", None), ("length", "error: too long"))


@pytest.mark.parametrize(("template", "opened"), [(CHATML, ""), (DROPS, "<think>")])
def test_marks_are_seen_though_the_tokenizer_hides_them_and_the_prompt_begins_the_thinking(
    template: str, opened: str
) -> None:
    chatty: Any = tokenizer(template)
    request = Request("1", ({"role": "user", "content": "2 + 2?"},), 0.0, 8, 1, thinking=BOTH)
    (prompt,), _ = prepare(chatty, [request], 4096)
    tokens = chatty("hm</think>\n\nIt is 4.<|im_end|>", add_special_tokens=False)["input_ids"]
    (text,) = answer(chatty, prompt, tokens, "stop", chatty("<|im_end|>")["input_ids"]).turns
    assert text == opened + "hm</think>\n\nIt is 4."
    plain = Prompt(Request("1", request.messages, 0.0, 8, 1), prompt.ids, 8)
    assert answer(chatty, plain, tokens, "stop", ()).turns == ("hm\n\nIt is 4.",), "as before without marks"


def test_a_thought_that_the_prompt_begins_and_the_model_never_ends_is_unfinished() -> None:
    chatty: Any = tokenizer(DROPS)
    request = Request("1", ({"role": "user", "content": "2 + 2?"},), 0.0, 8, 1, thinking=BOTH)
    (prompt,), _ = prepare(chatty, [request], 4096)
    raw = answer(chatty, prompt, chatty("hm, it is 4")["input_ids"], "length", ())
    assert without_thinking(raw, BOTH).endings == ("unfinished",)


def test_ids_from_before_stay_and_the_marks_are_identity() -> None:
    assert identity(GenerateSettings()) == {"engine": "transformers", "dtype": "float32", "max_length": 4096}
    settings = GenerateSettings(think_end="</think>")
    assert identity(settings)["think_end"] == "</think>"
    assert "think_start" not in identity(settings)
    assert restore(GenerateSettings, identity(settings)) == settings


@pytest.mark.parametrize("wrong", [{"think_start": "<think>"}, {"think_end": ""}])
def test_marks_that_cannot_be(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        GenerateSettings(**wrong)  # type: ignore[arg-type]
