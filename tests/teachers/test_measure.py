import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import HarnessError
from harness.data.pocket import conversations as pocket_conversations
from harness.data.settings import PocketData
from harness.models.chat import encode
from harness.models.load import load_model, load_tokenizer
from harness.teachers import measure as room
from harness.teachers import sequences
from harness.teachers.api import PASSES, Need, TokenTable
from harness.teachers.measure import measure
from harness.teachers.responses import read_responses, scoring_tokenizer
from harness.teachers.settings import PassSettings
from harness.teachers.steps import step_of, step_starts
from tests.models import gemma2

ALL: frozenset[Need] = frozenset(PASSES)
TOKENS: frozenset[Need] = frozenset({"tokens"})


def _quiet(*_: Any) -> None:
    pass


@pytest.fixture(scope="module")
def chats() -> list[dict[str, Any]]:
    """Pocket conversations of one or two turns, and one whose answer has several steps."""
    steps = "red cat .\nblue dog moon\ngreen sun .\ntree\nfish bird star"
    extra = {"id": "steps", "messages": _chat("copy red cat", steps)}
    return [*pocket_conversations(PocketData(examples=11)), extra]


def _chat(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def _measure(folder: Path, chats: list[dict[str, Any]], passes: frozenset[Need] = ALL, **settings: Any) -> TokenTable:
    return measure(folder, chats, PassSettings(**settings), passes, _quiet)


def _split(table: TokenTable, values: Any) -> list[Any]:
    """A per-token array by scored response."""
    lengths = table.responses.query("status == 'ok'")["tokens"]
    return np.split(values, np.cumsum(lengths)[:-1])


def _log_softmax(model: Any, ids: list[int], positions: list[int] | None = None) -> Any:
    options = {} if positions is None else {"position_ids": torch.tensor([positions])}
    if positions is not None:  # Without one, a jump in positions would be taken for two packed texts.
        options["attention_mask"] = torch.full((1, 1, len(ids), len(ids)), -1e9).triu(1)
    with torch.no_grad():
        return torch.log_softmax(model(input_ids=torch.tensor([ids]), **options).logits[0].double(), -1)


def _hugging_face_loss(model: Any, tokenizer: Any, messages: list[dict[str, str]]) -> float:
    encoded = encode(tokenizer, messages, 2048)
    ids = torch.tensor([encoded.input_ids])
    labels = ids.masked_fill(~torch.tensor([encoded.response_mask]), -100)
    with torch.no_grad():
        return float(model(input_ids=ids, labels=labels).loss)


@pytest.fixture(params=["llama", "gemma2"])
def scorer(request: pytest.FixtureRequest, pocket_folder: Path, tmp_path: Path) -> Path:
    """A model with plain logits and attention, and a model that bounds both."""
    return pocket_folder if request.param == "llama" else gemma2.write(tmp_path / "gemma2", window=2048)


def test_mean_is_the_loss_of_hugging_face(scorer: Path, chats: list[dict[str, Any]]) -> None:
    table = _measure(scorer, chats, TOKENS)
    model, tokenizer = load_model(scorer, "float32"), load_tokenizer(scorer)
    want = [_hugging_face_loss(model, tokenizer, chat["messages"]) for chat in chats]
    assert [-v.mean() for v in _split(table, table.logprobs)] == pytest.approx(want, abs=1e-5)
    assert table.ranks is None
    assert table.alone is None
    assert table.local is None


def test_ranks_count_the_likelier_words(pocket_folder: Path, chats: list[dict[str, Any]]) -> None:
    table = _measure(pocket_folder, chats)
    assert table.ranks is not None
    model, tokenizer = load_model(pocket_folder, "float32"), load_tokenizer(pocket_folder)
    for chat, ranks, logprobs in zip(chats, _split(table, table.ranks), _split(table, table.logprobs), strict=True):
        encoded = encode(tokenizer, chat["messages"], 512)
        logs = _log_softmax(model, encoded.input_ids)
        columns = np.flatnonzero(encoded.response_mask)
        tokens = np.array(encoded.input_ids)[columns]
        own = logs[columns - 1, tokens]
        assert logprobs == pytest.approx(own.numpy(), abs=1e-5)
        assert ranks.tolist() == ((logs[columns - 1] > own[:, None]).sum(-1) + 1).tolist()


@pytest.mark.parametrize("batch_tokens", [1, 60, 100_000])
def test_batches_change_nothing(pocket_folder: Path, chats: list[dict[str, Any]], batch_tokens: int) -> None:
    want = _measure(pocket_folder, chats)
    got = _measure(pocket_folder, chats[::-1], batch_tokens=batch_tokens)
    for name in ("logprobs", "ranks", "alone", "local", "steps"):
        one, other = getattr(want, name), getattr(got, name)
        turned = np.concatenate(_split(got, other)[::-1])
        assert turned == pytest.approx(one, abs=1e-4 if one.dtype == np.float32 else 0)


def test_arrays_are_small(pocket_folder: Path, chats: list[dict[str, Any]]) -> None:
    table = _measure(pocket_folder, chats)
    kinds = {name: getattr(table, name).dtype for name in ("logprobs", "ranks", "alone", "local", "steps")}
    assert kinds == {"logprobs": "f4", "ranks": "i4", "alone": "f4", "local": "f4", "steps": "i4"}


def test_alone_is_each_turn_after_the_start_token(pocket_folder: Path, chats: list[dict[str, Any]]) -> None:
    """The pocket tokenizer has no start token: its end token stands in."""
    table = _measure(pocket_folder, chats)
    model, tokenizer = load_model(pocket_folder, "float32"), load_tokenizer(pocket_folder)
    for chat, got in zip(chats, _split(table, table.alone), strict=True):
        want: list[float] = []
        for message in chat["messages"][1::2]:
            tokens = tokenizer(message["content"] + tokenizer.eos_token)["input_ids"]
            logs = _log_softmax(model, [tokenizer.eos_token_id, *tokens[:-1]])
            want += logs[range(len(tokens)), tokens].tolist()
        assert got == pytest.approx(want, abs=1e-5)


def test_a_turn_that_is_only_read_is_not_scored(pocket_folder: Path) -> None:
    turns = [("user", "red"), ("assistant", "blue"), ("user", "red"), ("assistant", "red")]
    messages: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in turns]
    messages[1]["train"] = False
    tokenizer = load_tokenizer(pocket_folder)
    table, [response] = read_responses(tokenizer, [{"id": "a", "messages": messages}], 512)
    assert tokenizer.decode(response.ids[response.columns]) == "red <|im_end|>"
    assert table["tokens"].tolist() == [2]
    assert response.turns.tolist() == [1, 1]
    assert len(response.steps) == 2


@pytest.mark.parametrize("before", [0, 1, 2, 9])
def test_local_is_what_a_truncated_text_gives(scorer: Path, chats: list[dict[str, Any]], before: int) -> None:
    """Each step alone in a text: the prompt, the few steps before it, the step, at the positions that they had."""
    table = _measure(scorer, chats, local_steps=before)
    model, tokenizer = load_model(scorer, "float32"), load_tokenizer(scorer)
    _, responses = read_responses(tokenizer, chats, 512)
    local, full = _split(table, table.local), _split(table, table.logprobs)
    for response, got in zip(responses, local, strict=True):
        want = []
        for i, column in enumerate(response.columns):
            turn = response.columns[response.turns == response.turns[i]]
            few = response.steps[i] - before
            seen = [c for c, s in zip(response.columns, response.steps, strict=True) if c in turn and s >= few]
            positions = [*range(turn[0]), *(int(c) for c in seen if c < column)]
            logs = _log_softmax(model, response.ids[positions].tolist(), positions)
            want.append(float(logs[-1, response.ids[column]]))
        assert got == pytest.approx(want, abs=1e-4)
    last = local[-1], full[-1]  # The answer of several steps.
    if before < 4:
        assert np.abs(last[0] - last[1]).max() > 1e-3
    else:
        assert last[0] == pytest.approx(last[1], abs=1e-5)


def test_local_copies_are_spread_over_several_rows(
    pocket_folder: Path, chats: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    want = _measure(pocket_folder, chats)
    whole = sequences.local
    monkeypatch.setattr(sequences, "local", lambda response, before, limit: whole(response, before, 12))
    assert _measure(pocket_folder, chats).local == pytest.approx(want.local, abs=1e-5)


def test_what_cannot_be_scored_says_why(pocket_folder: Path) -> None:
    chats = [
        {"id": 1, "messages": _chat("copy red cat", "red cat")},
        {"id": 2, "messages": _chat("copy red cat", " \n")},
        {"id": 3, "messages": _chat("copy red cat")},
        {"id": 4, "messages": []},
        {"id": 5, "messages": _chat("copy red cat dog sun moon", "red")},
        {"id": 6, "messages": _chat("copy red", "red cat dog sun moon")},
        {"id": 7, "messages": _chat("copy red", "red", "copy cat", "")},
    ]
    table = _measure(pocket_folder, chats, max_length=11)
    rows = table.responses.set_index("id")
    assert list(rows.index) == [str(chat["id"]) for chat in chats]
    assert rows["status"].tolist() == ["ok", "empty", "empty", "empty", "no room", "ok", "empty"]
    assert rows["cut"].tolist() == [False] * 5 + [True, False]
    assert rows["tokens"].tolist() == [3, 0, 0, 0, 0, 4, 0]  # "red cat" and its end; 11 tokens less seven.
    six, one = (table.responses.to_dict("records")[i] for i in (5, 0))
    assert six["bytes"] == six["characters"] == len("red cat dog sun")
    assert (one["bytes"], one["characters"], one["prompt_tokens"]) == (7, 7, 8)
    assert len(table.logprobs) == 7
    whole = _measure(pocket_folder, chats[5:6])
    assert _split(table, table.logprobs)[1] == pytest.approx(whole.logprobs[:4], abs=1e-5)


def test_the_models_own_limit_holds(pocket_folder: Path) -> None:
    table = _measure(pocket_folder, [{"id": "long", "messages": _chat("copy red", "red " * 600)}], TOKENS)
    row = table.responses.iloc[0]
    assert (row["tokens"] + row["prompt_tokens"], row["cut"]) == (512, True)


def test_nothing_to_score_gives_an_empty_table(pocket_folder: Path) -> None:
    for chats in ([], [{"id": 1, "messages": []}]):
        table = _measure(pocket_folder, chats)
        assert len(table.responses) == len(chats)
        assert len(table.logprobs) == 0
        assert table.steps is not None
        assert len(table.steps) == 0


class _Killed(Exception):
    pass


def test_finished_batches_survive_a_kill(
    pocket_folder: Path, chats: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PassSettings(batch_tokens=60)
    want = measure(pocket_folder, chats, settings, ALL, _quiet)
    computed = 0
    real = room.forward

    def forward(*args: Any) -> Any:
        nonlocal computed
        computed += 1
        if computed == 6:
            raise _Killed
        return real(*args)

    monkeypatch.setattr(room, "forward", forward)
    with pytest.raises(_Killed):
        measure(pocket_folder, chats, settings, ALL, _quiet, work=tmp_path)
    with (tmp_path / "batches.jsonl").open("a") as file:
        file.write('{"batch": "torn')
    told: list[tuple[Any, ...]] = []
    got = measure(pocket_folder, chats, settings, ALL, lambda *step: told.append(step), work=tmp_path)
    again = computed - 6
    assert again == len(told) - 5
    assert told[-1] == (3 * len(got.logprobs), 3 * len(got.logprobs), "tokens")
    for name in ("logprobs", "ranks", "alone", "local", "steps"):
        assert (getattr(got, name) == getattr(want, name)).all()
    measure(pocket_folder, chats, settings, ALL, _quiet, work=tmp_path)
    assert computed - 6 == again
    measure(pocket_folder, chats, PassSettings(batch_tokens=70), TOKENS, _quiet, work=tmp_path)
    assert computed - 6 > again  # Other batches are not mistaken for these.


def test_bfloat16_is_near(pocket_folder: Path, chats: list[dict[str, Any]]) -> None:
    exact, rounded = (_measure(pocket_folder, chats, dtype=dtype).logprobs for dtype in ("float32", "bfloat16"))
    assert (exact != rounded).any()
    assert rounded.mean() == pytest.approx(exact.mean(), rel=0.01)


def test_base_model_without_a_template_reads_a_plain_one(
    pocket_folder: Path, chats: list[dict[str, Any]], tmp_path: Path
) -> None:
    base = _changed(pocket_folder, tmp_path / "base", "tokenizer_config.json", lambda c: c.pop("chat_template", None))
    (base / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer = scoring_tokenizer(base)
    text = encode(tokenizer, _chat("copy red", "red", "copy cat", "cat"), 512).text
    assert text == "User:\ncopy red\n\nAssistant:\nred<|im_end|>\n\nUser:\ncopy cat\n\nAssistant:\ncat<|im_end|>\n\n"
    table = _measure(base, chats)
    assert (table.responses["status"] == "ok").all()
    assert np.isfinite(table.logprobs).all()


def test_broken_weights_are_refused(pocket_folder: Path, chats: list[dict[str, Any]], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(pocket_folder, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    weights["lm_head.weight"][3, 3] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(HarnessError, match="NaN"):
        _measure(broken, chats)


def test_dtype_that_does_not_exist_is_refused(pocket_folder: Path, chats: list[dict[str, Any]]) -> None:
    with pytest.raises((HarnessError, ValueError), match="float99"):
        _measure(pocket_folder, chats, dtype="float99")


def test_tokenizer_without_start_and_end_cannot_score_alone(
    pocket_folder: Path, chats: list[dict[str, Any]], tmp_path: Path
) -> None:
    bare = _changed(pocket_folder, tmp_path / "bare", "tokenizer_config.json", lambda c: c.pop("eos_token"))
    assert np.isfinite(_measure(bare, chats, TOKENS).logprobs).all()
    with pytest.raises(HarnessError, match="neither a start nor an end"):
        _measure(bare, chats)


def test_windowed_attention_cannot_score_locally(pocket_folder: Path, chats: list[dict[str, Any]]) -> None:
    from types import SimpleNamespace

    def model(**config: Any) -> Any:
        made = SimpleNamespace(**config)
        made.get_text_config = lambda: made
        return SimpleNamespace(config=made, name_or_path="windowed")

    for refused in ({"sliding_window": 64}, {"layer_types": ["linear_attention", "full_attention"]}):
        with pytest.raises(HarnessError, match="whole text"):
            room._check_full_attention(model(**refused), 2048)
    for fine in ({}, {"sliding_window": 4096}, {"sliding_window": None, "layer_types": ["full_attention"]}):
        room._check_full_attention(model(**fine), 2048)


def _changed(source: Path, target: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> Path:
    shutil.copytree(source, target)
    values = json.loads((target / name).read_text())
    change(values)
    (target / name).write_text(json.dumps(values))
    return target


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("One.", ["One."]),
        ("One. Two! \nThree?", ["One. ", "Two! \n", "Three?"]),
        ("  Indented\n\n- item\n", ["Indented\n\n", "- item\n"]),
        ("1. First thing. 2. Second by J. Doe, at 3.5 km.", ["1. First thing. ", "2. Second by J. Doe, at 3.5 km."]),
        ('He said "no." Then (he left.) So', ['He said "no." ', "Then (he left.) ", "So"]),
        ("你好。再见！", ["你好。", "再见！"]),
        ("", [""]),
    ],
)
def test_steps_are_lines_and_sentences(text: str, steps: list[str]) -> None:
    starts = step_starts(text)
    assert [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)] == steps


@given(st.text(alphabet='ab1. \n!?")。', max_size=60))
def test_steps_rise_and_begin_with_what_can_be_seen(text: str) -> None:
    starts = step_starts(text)
    assert starts == sorted(set(starts))
    assert all(not text[start].isspace() for start in starts if start < len(text))
    numbers = [step_of(starts, end) for end in range(1, len(text) + 1)]
    assert numbers == sorted(numbers)
    assert set(numbers) <= set(range(len(starts)))


def test_step_numbers_go_on_over_turns(pocket_folder: Path) -> None:
    chat = {"id": 1, "messages": _chat("copy", "red cat\nblue dog", "copy", "sun\nmoon")}
    table = _measure(pocket_folder, [chat], TOKENS)
    assert table.steps is not None
    assert table.steps.tolist() == [0, 0, 1, 1, 1, 2, 3, 3]


@pytest.mark.slow
def test_a_real_model_agrees_with_the_loss_of_hugging_face(smollm2_folder: Path) -> None:
    answers = ["Paris.", "Well… “naïve” 😀 café.\n\n  1. One. Two!\n", "The capital of France is Paris. " * 12]
    chats: list[dict[str, Any]] = [
        {"id": i, "messages": _chat("What is the capital of France?", a)} for i, a in enumerate(answers)
    ]
    table = _measure(smollm2_folder, chats, batch_tokens=512)
    model, tokenizer = load_model(smollm2_folder, "float32"), load_tokenizer(smollm2_folder)
    want = [_hugging_face_loss(model, tokenizer, chat["messages"]) for chat in chats]
    assert [-v.mean() for v in _split(table, table.logprobs)] == pytest.approx(want, abs=1e-4)
    assert table.responses["characters"].tolist() == [len(answer) for answer in answers]
    assert table.responses["bytes"].tolist() == [len(answer.encode()) for answer in answers]
    assert max(_split(table, table.steps)[2]) == 11
