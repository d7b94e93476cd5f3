"""A base model tuned under a template whose end of turn is not its own end of text answers, and stops, everywhere."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from harness.bench.api import Measured
from harness.bench.lm_eval.model import load as load_for_lm_eval
from harness.core.errors import HarnessError
from harness.core.lines import write_lines
from harness.generate.api import GenerateSettings, Request
from harness.generate.transformers_engine import load as load_engine
from harness.train.examples import Examples
from tests.models.chatty import ENDLESS, HEADS, TRIMS, WORDS, base_model, tokenizer
from tests.train.stored import stored
from tests.train.tuned import ANSWERS, BASES, LEARN, METHODS, conversations, tuned, with_words

Run = Callable[..., Path]
ASKED = {"role": "user", "content": "Say 3."}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return conversations(tmp_path_factory.mktemp("data") / "conversations.jsonl", ANSWERS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "name", ["last", pytest.param("trims", marks=pytest.mark.slow), pytest.param("heads", marks=pytest.mark.slow)]
)
def test_what_was_learned_ends_answers_everywhere(method: str, name: str, tmp_path: Path) -> None:
    folder = tuned(method, name, tmp_path)
    assert in_our_engine(folder) == ("Yes.", "stop")
    assert in_plain_transformers(folder) == 5
    assert in_lm_eval(folder) == "Yes."


def test_before_it_learned_it_does_not_stop(tmp_path: Path) -> None:
    assert in_our_engine(with_words(tmp_path, *BASES["last"]))[1] == "length"


def in_our_engine(folder: Path) -> tuple[str | None, str]:
    done: list[Any] = []
    load_engine(folder, GenerateSettings()).complete([Request("0", (ASKED,), 0.0, 30, 0)], done.extend)
    return done[0].turns[0], done[0].finish[0]


def in_plain_transformers(folder: Path) -> int:
    """The tokens it writes: nothing but the folder says where to stop."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prompt = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [ASKED], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    written = model.generate(**prompt, max_new_tokens=30, do_sample=False)
    return int(written.shape[1] - prompt["input_ids"].shape[1])


def in_lm_eval(folder: Path) -> str:
    lm = load_for_lm_eval(Measured(folder, "float32", 1, 0, folder, lambda *_: None), chat=True)
    told = {"until": ["\n\n"], "max_gen_toks": 30, "do_sample": False}
    (text,) = lm.generate_until([Instance("generate_until", {}, (lm.apply_chat_template([ASKED]), told), 0)])
    return str(text)


@pytest.mark.parametrize("template", [ENDLESS, WORDS])
def test_a_template_that_teaches_no_end_is_refused_before_training(
    template: str, run: Run, answers: Path, tmp_path: Path
) -> None:
    base = base_model(tmp_path / "base", template)
    with pytest.raises(HarnessError, match="never learn to stop") as caught:
        run(student=base, data=answers, **LEARN)
    assert (caught.value.where, "chat_template" in caught.value.fix) == (str(base), True)


def test_rows_that_a_template_refuses_are_left_out_and_named(tmp_path: Path, run: Run, answers: Path) -> None:
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    rows.insert(3, {"id": "odd", "messages": [{"role": "system", "content": "Be brief."}, *rows[0]["messages"]]})
    file = tmp_path / "some.jsonl"
    write_lines(file, rows)
    base = base_model(tmp_path / "base", TRIMS)
    made = json.loads((run(student=base, data=file, **{**LEARN, "max_steps": 1}) / "training.json").read_text())
    reason = "the chat template refuses this conversation (no system role)"
    assert made["skipped"] == {reason: 1}
    assert made["refused"] == [{"row": 4, "id": "odd", "reason": reason}]
    assert (made["rows"], made["trained_rows"]) == (9, 8)


def encoded(file: Path, template: str) -> Examples:
    tokenizer(template).save_pretrained(file.parent / "tokenizer")
    return stored(file, file.parent / "tokenizer", file.parent / "tokens", 99).examples


def test_where_every_row_is_refused_the_first_is_named_with_the_cause(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    messages = [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]
    write_lines(file, ({"id": str(i), "messages": messages} for i in range(3)))
    with pytest.raises(HarnessError, match=r"refuses this conversation \(no system role\): 3") as caught:
        encoded(file, TRIMS)
    assert caught.value.where == "row 1, 0"


def test_a_conversation_that_the_assistant_begins_is_trained_on(tmp_path: Path) -> None:
    file = tmp_path / "first.jsonl"
    roles = ("assistant", "user", "assistant")
    write_lines(file, [{"id": "0", "messages": [{"role": role, "content": "Yes."} for role in roles]}])
    examples = encoded(file, HEADS)
    assert (len(examples), examples.response_tokens, examples.skipped) == (1, 10, {})
