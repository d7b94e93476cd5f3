"""What is learned of a conversation, and where an answer stops, under templates that behave as public families' do."""

from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.models.chat import encode, end_of_turn_ids, render_prompt, template_digest
from harness.models.rendering import Refused
from harness.models.template_date import DEFAULT, pinned
from harness.models.turns import turn_end, untaught_prompt
from tests.models.chatty import (
    CHATML,
    DATED,
    DROPS,
    ENDLESS,
    HEADS,
    LAST,
    MARKED,
    TRIMS,
    WORDS,
    thinks,
    tokenizer,
)


def said(*turns: str) -> list[dict[str, str]]:
    """Turns of the user and the assistant by turns; `A:...` begins with the assistant, `S:...` with a system turn."""
    roles = ["user", "assistant"] * len(turns)
    first, _, rest = turns[0].partition(":")
    if first == "A":
        roles, turns = roles[1:], (rest, *turns[1:])
    elif first == "S":
        roles, turns = ["system", *roles], (rest, *turns[1:])
    return [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]


def learned(found: Any, messages: list[dict[str, Any]]) -> list[str]:
    """The text of each run of response tokens."""
    encoded = encode(found, messages, 999)
    runs: list[list[int]] = []
    before = False
    for token, mine in zip(encoded.input_ids, encoded.response_mask, strict=True):
        if mine and not before:
            runs.append([])
        if mine:
            runs[-1].append(token)
        before = mine
    return [found.decode(run) for run in runs]


ONE, TWO, THOUGHT = said("hi", "Yes."), said("hi", "Yes.", "and?", "No."), said("2+2", "<think>\nadd\n</think>\n\n4")
TWICE = said("2+2", "<think>\nadd\n</think>\n\n4", "3", "<think>\nb\n</think>\n\n5")
SPACE, OPENS, TAIL = said("hi", "\n  Yes. \n"), said("A:Hello!", "hi", "Yes."), said("hi", "Yes.", "more")
EMPTY = "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("template", "messages", "want"),
    [
        (CHATML, TWO, ["Yes.<|im_end|>", "No.<|im_end|>"]),
        (CHATML, SPACE, ["\n  Yes. \n<|im_end|>"]),
        (CHATML, OPENS, ["Hello!<|im_end|>", "Yes.<|im_end|>"]),
        (CHATML, TAIL, ["Yes.<|im_end|>"]),
        (TRIMS, SPACE, ["Yes.<|over|>"]),
        (TRIMS, TWO, ["Yes.<|over|>", "No.<|over|>"]),
        (HEADS, said("S:Be brief.", "hi", "Yes."), ["Yes.<|over|>"]),
        (thinks(), ONE, [f"{EMPTY}Yes.<|im_end|>"]),
        (thinks(), TWO, ["Yes.<|im_end|>", f"{EMPTY}No.<|im_end|>"]),
        (thinks(), THOUGHT, ["<think>\nadd\n</think>\n\n4<|im_end|>"]),
        (thinks(), TWICE, ["4<|im_end|>", "<think>\nb\n</think>\n\n5<|im_end|>"]),
        (thinks(), TAIL, ["Yes.<|im_end|>"]),
        (thinks("{{ '<think>\\n\\n</think>\\n\\n' }}"), TWO, ["Yes.<|im_end|>", "No.<|im_end|>"]),
        (thinks("{{ '<think>\\n' }}"), ONE, ["\n</think>\n\nYes.<|im_end|>"]),
        (thinks("{{ '<think>\\n' }}"), THOUGHT, ["add\n</think>\n\n4<|im_end|>"]),
        (DROPS, TWO, ["Yes.<eos>", "No.<eos>"]),
        (DROPS, THOUGHT, ["\n\n4<eos>"]),
        (DROPS, SPACE, ["\n  Yes. \n<eos>"]),
        (DROPS, said("hi", "<b>Yes"), ["<b>Yes<eos>"]),
        (LAST, TWO, ["Yes.<|end|>", "No.<|end|>"]),
        (MARKED, TWO, ["Yes.<|im_end|>", "No.<|im_end|>"]),
    ],
)
def test_an_answer_is_learned_from_generations_prompt_to_its_end(
    template: str, messages: list[dict[str, Any]], want: list[str]
) -> None:
    assert learned(tokenizer(template), messages) == want


@pytest.mark.parametrize(
    ("template", "want"),
    [
        (CHATML, ["<|im_end|>", "<eos>"]),
        (TRIMS, ["<|over|>", "<eos>"]),
        (thinks(), ["<|im_end|>", "<eos>"]),
        (DROPS, ["<eos>"]),
        (LAST, ["<|end|>", "<eos>"]),
        (MARKED, ["<|im_end|>", "<eos>"]),
        (ENDLESS, ["<eos>"]),
        (WORDS, ["<eos>"]),
        (WORDS.replace("End\n'", "End\n' + eos_token"), ["<eos>"]),
    ],
)
@pytest.mark.parametrize("hidden", [True, False])
def test_generation_stops_at_what_ends_a_learned_turn(template: str, want: list[str], hidden: bool) -> None:
    """Whether or not the tokenizer calls the token its end, or a special one."""
    found = tokenizer(template, hidden=hidden)
    assert found.convert_ids_to_tokens(end_of_turn_ids(found)) == want
    end = turn_end(found)
    assert (end is None) == (template in (ENDLESS, WORDS))
    if end is not None:
        assert encode(found, ONE, 99).input_ids[encode(found, ONE, 99).response_mask.index(True) :].count(end.id) == 1


@pytest.mark.parametrize(
    ("template", "want"),
    [(CHATML, ""), (LAST, ""), (thinks(), ""), (thinks("{{ '<think>\\n' }}"), ""), (DROPS, "<think>\n")],
)
def test_a_prompt_that_no_learned_answer_follows(template: str, want: str) -> None:
    assert untaught_prompt(tokenizer(template)) == want


def test_a_turn_that_is_not_to_be_learned_is_read_only() -> None:
    turns = [dict(message) for message in TWO]
    turns[1] |= {"train": False}  # type: ignore[dict-item]
    assert learned(tokenizer(thinks()), turns) == [f"{EMPTY}No.<|im_end|>"]


@pytest.mark.parametrize(
    ("template", "messages", "cause"),
    [
        (TRIMS, said("S:Be brief.", "hi", "Yes."), "no system role"),
        ("{{ messages[0].name + 'x' }}", ONE, "UndefinedError: 'dict object' has no attribute 'name'"),
        ("{{ none + 'x' }}", ONE, "TypeError: unsupported operand"),
        ("{{ 1 / 0 }}", ONE, "ZeroDivisionError"),
        ("{% for %}", ONE, "is no Jinja"),
        ("{{ messages[-1].role }}", ONE, "does not write the content of message 1 once"),
        (CHATML + "{{ messages[-1].content }}", ONE, "does not write the content of message 2 once"),
        (CHATML.replace("m.content", "m.content[:2]"), ONE, "writes other text"),
    ],
)
def test_what_a_template_cannot_write_is_refused_with_the_cause(
    template: str, messages: list[dict[str, Any]], cause: str
) -> None:
    with pytest.raises(Refused, match=cause) as caught:
        encode(tokenizer(template), messages, 99)
    assert isinstance(caught.value, HarnessError)


def test_today_is_one_day() -> None:
    found = tokenizer(DATED)
    assert render_prompt(found, ONE[:1]).startswith("Today is 26 Jul 2024.\n<bos>")
    other = tokenizer(pinned(DATED, DEFAULT.replace(year=2025, day=3)))
    assert render_prompt(other, ONE[:1]).startswith("Today is 03 Jul 2025.\n")
    assert template_digest(found) != template_digest(other)


@pytest.mark.parametrize("head", ["", "\n", "   ", "  {% set a = 1 %}\n", "{#- c -#} "])
def test_a_fixed_day_changes_nothing_else_of_a_template(head: str) -> None:
    day = "{{ strftime_now('%Y-%m-%d') }}"
    plain = render_prompt(tokenizer(head + CHATML + DEFAULT.isoformat()), ONE[:1])
    assert render_prompt(tokenizer(head + CHATML + day), ONE[:1]) == plain
    assert pinned(CHATML) == CHATML
    assert pinned(pinned(DATED)) == pinned(DATED)
