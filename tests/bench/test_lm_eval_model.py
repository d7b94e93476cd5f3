"""A checkpoint as lm-eval's model: batches that fit, progress, one text at a time without a GPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance

from harness.bench.api import Measured
from harness.bench.lm_eval.how import How, request_key
from harness.bench.lm_eval.model import load
from harness.core.errors import Incomplete
from harness.generate.api import Ending

WORDS = ("red", "blue", "two", "four", "green", "one", "six", "three")


HOW = How(None, None, False, None)


def model(
    folder: Path,
    told: list[tuple[int, int, str]] | None = None,
    how: How = HOW,
    endings: dict[str, Ending] | None = None,
) -> Any:
    news = [] if told is None else told
    known = {} if endings is None else endings
    return load(Measured(folder, "float32", 8, 0, folder, lambda *one: news.append(one)), how, known)


def choices(number: int) -> list[Instance]:
    """So many requests of different lengths, and every second one once more: lm-eval computes equal ones once."""
    asked = [(" ".join((WORDS * 3)[: 1 + k]), f" {WORDS[k % 8]}") for k in range(number) for _ in range(1 + k % 2)]
    return [Instance("loglikelihood", {}, arguments, k) for k, arguments in enumerate(asked)]


def texts(number: int) -> list[Instance]:
    told = {"until": ["\n"], "max_gen_toks": 4, "do_sample": False}
    return [Instance("generate_until", {}, (" ".join(WORDS[: 1 + k]), told), k) for k in range(number)]


def watched(lm: Any, name: str, most: int = 99, after: int = 0) -> list[int]:
    """The rows of each call of a method; from number `after` on there is memory for `most` of them."""
    tried: list[int] = []
    call = getattr(lm, name)

    def one(*given: Any, **named: Any) -> Any:
        rows = len([*given, *named.values()][0])
        tried.append(rows)
        if len(tried) > after and rows > most:
            torch.empty(1 << 60, dtype=torch.uint8)  # the allocator's own error
        return call(*given, **named)

    setattr(lm, name, one)
    return tried


def test_batches_that_do_not_fit_are_halved_and_what_is_answered_stays(pocket_folder: Path) -> None:
    requests, news = choices(20), list[tuple[int, int, str]]()
    expected = model(pocket_folder).loglikelihood(requests)
    lm = model(pocket_folder, news)
    tried = watched(lm, "_model_call", 2, after=1)
    with pytest.warns(RuntimeWarning, match="out of memory") as said:
        found = lm.loglikelihood(requests)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=1e-5)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert tried[:4] == [8, 8, 4, 2]
    assert 8 + sum(tried[3:]) == 20, "the first batch is not computed again"
    assert str(said[-1].message) == "out of memory: going on with batches of 2"
    assert news[-1] == (len(requests), len(requests), "requests")


def test_the_batch_stays_small_for_the_next_requests_of_its_kind(pocket_folder: Path) -> None:
    lm = model(pocket_folder)
    tried = watched(lm, "_model_call", 4)
    with pytest.warns(RuntimeWarning, match="batches of 4"):
        lm.loglikelihood(choices(9))
    tried.clear()
    lm.loglikelihood(choices(9))
    assert max(tried) == 4


def test_a_request_that_never_fits_leaves_the_work_unfinished(pocket_folder: Path) -> None:
    lm = model(pocket_folder)
    watched(lm, "_model_call", 0)
    with pytest.warns(RuntimeWarning), pytest.raises(Incomplete, match="does not fit in memory"):
        lm.loglikelihood(choices(3))


def test_other_errors_are_not_taken_for_short_memory(pocket_folder: Path) -> None:
    lm = model(pocket_folder)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("device-side assert triggered")

    lm._model_call = broken
    with pytest.raises(RuntimeError, match="device-side assert"):
        lm.loglikelihood(choices(3))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_texts_are_generated_one_at_a_time_and_choices_in_batches(pocket_folder: Path) -> None:
    lm = model(pocket_folder)
    generated, called = watched(lm, "_model_generate"), watched(lm, "_model_call")
    assert len(lm.generate_until(texts(5))) == 5
    lm.loglikelihood(choices(9))
    assert set(generated) == {1}
    assert max(called) == 8


@pytest.mark.parametrize(
    ("said", "end", "text", "ending"),
    [
        ("red blue", None, "red blue", "cut"),
        ("red medium blue", None, "red", "complete"),
        ("red<eos>", None, "red", "complete"),
        ("<eos>", None, "", "empty"),
        ("green red", "green", "red", "cut"),
        ("green red<eos>", "green", "red", "complete"),
        ("red blue<eos>", "green", "red blue", "unfinished"),
    ],
)
def test_how_a_text_ended_is_told(pocket_folder: Path, said: str, end: str | None, text: str, ending: str) -> None:
    endings: dict[str, Ending] = {}
    lm = model(pocket_folder, how=How(None, None, False, None, think_end_token=end), endings=endings)
    eos = lm.tok_decode(lm.eot_token_id, skip_special_tokens=False)
    written = torch.tensor([lm.tokenizer(said.replace("<eos>", eos), add_special_tokens=False)["input_ids"]])
    lm._model_generate = lambda context, **_: torch.hstack([context, written])
    told = {"until": ["medium"], "max_gen_toks": 4, "do_sample": False}
    request = Instance("generate_until", {}, ("red", told), 0)
    assert [found.strip() for found in lm.generate_until([request])] == [text]
    assert endings == {request_key(request.args): ending}


@pytest.mark.parametrize(("told", "asked"), [(None, "its default"), (True, "to think"), (False, "not to think")])
def test_the_chat_template_is_told_whether_to_think(pocket_folder: Path, told: bool | None, asked: str) -> None:
    end = "</think>" if told else None
    lm = model(pocket_folder, how=How(None, None, True, None, enable_thinking=told, think_end_token=end))
    lm.tokenizer.chat_template = (
        "{{ 'its default' if enable_thinking is not defined else 'to think' if enable_thinking else 'not to think' }}"
    )
    assert lm.apply_chat_template([{"role": "user", "content": "red"}]) == asked
