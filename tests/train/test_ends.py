"""A base model tuned under a template whose end of turn is not its own end of text answers, and stops, everywhere."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance

from harness.bench.api import Measured
from harness.bench.lm_eval.model import load as load_for_lm_eval
from harness.core.errors import HarnessError
from harness.core.lines import write_lines
from harness.generate.api import GenerateSettings, Request
from harness.generate.transformers_engine import load as load_engine
from harness.train.examples import encode_file
from tests.models.chatty import CHATML, ENDLESS, HEADS, LAST, TRIMS, WORDS, base_model, tokenizer

torch.set_num_threads(1)
Run = Callable[..., Path]
LEARN = {"max_steps": 60, "learning_rate": 3e-2, "batch_size": 4, "warmup_steps": 5, "save_every": 1000}
ASKED = {"role": "user", "content": "Say 3."}
BASES = {"trims": (TRIMS, True), "heads": (HEADS, True), "last": (LAST, False)}
"""Templates whose turns end otherwise than texts; of the last one decoding hides no token."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "conversations.jsonl"
    rows = ([{"role": "user", "content": f"Say {i}."}, {"role": "assistant", "content": "Yes."}] for i in range(8))
    write_lines(file, ({"id": str(i), "messages": messages} for i, messages in enumerate(rows)))
    return file


@pytest.mark.parametrize(
    "name", ["last", pytest.param("trims", marks=pytest.mark.slow), pytest.param("heads", marks=pytest.mark.slow)]
)
def test_what_was_learned_ends_answers_everywhere(name: str, run: Run, answers: Path, tmp_path: Path) -> None:
    base = base_model(tmp_path / "base", *BASES[name])
    tuned = run("sft", student=base, data=answers, **LEARN) / "model"
    distilled = run("kd", student=base, data=answers, teacher=tuned, **LEARN, kd={"lambda": 1.0}) / "model"
    base = with_words(run, tmp_path, *BASES[name])  # Adapters alone teach a random model nothing.
    assert in_our_engine(base)[1] == "length"
    learn = {**LEARN, "max_steps": 100, "learning_rate": 1e-2}
    adapted = run("lora", student=base, data=answers, **learn, lora={"rank": 16, "alpha": 32.0}) / "model"
    for folder in (tuned, distilled, adapted):
        assert in_our_engine(folder) == ("Yes.", "stop"), folder
        assert in_plain_transformers(folder) == 5, folder
        assert in_lm_eval(folder) == "Yes.", folder


def with_words(run: Run, folder: Path, template: str, hidden: bool) -> Path:
    """A model that wrote other answers under another template and is given this one, as a base model is."""
    asked = ((f"What is {i} and {i % 7}?", f"It is {i + i % 7}. No, {i}.") for i in range(40))
    roles = ("user", "assistant")
    rows = ([{"role": role, "content": text} for role, text in zip(roles, pair, strict=True)] for pair in asked)
    write_lines(folder / "texts.jsonl", ({"id": str(i), "messages": messages} for i, messages in enumerate(rows)))
    untrained = base_model(folder / "chatml", CHATML, hidden)
    learn = {**LEARN, "max_steps": 100, "learning_rate": 1e-2}
    trained = run("words", student=untrained, data=folder / "texts.jsonl", **learn) / "model"
    base = shutil.copytree(trained, folder / "knowing")
    shutil.copyfile(untrained / "generation_config.json", base / "generation_config.json")
    tokenizer(template, hidden=hidden).save_pretrained(base)
    return base


def in_our_engine(folder: Path) -> tuple[str | None, str]:
    done: list[Any] = []
    load_engine(folder, GenerateSettings()).complete([Request("0", (ASKED,), 0.0, 30, 0)], done.extend)
    return done[0].text, done[0].finish


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


def test_where_every_row_is_refused_the_first_is_named_with_the_cause(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    messages = [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]
    write_lines(file, ({"id": str(i), "messages": messages} for i in range(3)))
    with pytest.raises(HarnessError, match=r"refuses this conversation \(no system role\): 3") as caught:
        encode_file(file, tokenizer(TRIMS), 99)
    assert caught.value.where == f"{file}:1"


def test_a_conversation_that_the_assistant_begins_is_trained_on(tmp_path: Path) -> None:
    file = tmp_path / "first.jsonl"
    roles = ("assistant", "user", "assistant")
    write_lines(file, [{"id": "0", "messages": [{"role": role, "content": "Yes."} for role in roles]}])
    examples = encode_file(file, tokenizer(HEADS), 99)
    assert (len(examples.examples), examples.response_tokens, examples.skipped) == (1, 10, {})
