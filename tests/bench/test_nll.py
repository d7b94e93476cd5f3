"""Held-out likelihood: equal to plain cross-entropy, whatever the batch; bytes and tokens counted; faults named."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harness.bench.api import Measured, OpenMeasured, Sample, samples_frame
from harness.bench.nll import BENCHMARK, NLLSettings
from harness.core.errors import HarnessError
from harness.models.chat import encode
from harness.models.load import load_model, load_tokenizer
from tests.models import gemma2

ROWS = [
    {"prompt": "copy : apple pear", "response": "apple pear"},
    {"prompt": "largest of 3 9 4", "response": "9"},
    {"prompt": "copy : fig", "response": "fig"},
]


def settings(**sets: Any) -> NLLSettings:
    return NLLSettings.model_validate_json(json.dumps({"sets": sets}))


def opened(given: NLLSettings) -> OpenMeasured[NLLSettings]:
    return BENCHMARK.open(given, BENCHMARK.files(given))


def measure(given: NLLSettings, folder: Path, out: Path, batch_size: int = 8) -> list[Sample]:
    out.mkdir(exist_ok=True)
    return opened(given).measure(Measured(folder, "float32", batch_size, 0, out, lambda *_: None))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "held-out.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_equal_to_the_models_own_loss_on_response_tokens(
    pocket_folder: Path, file: Path, tmp_path: Path, kind: str
) -> None:
    """gemma2 bounds its logits and its attention scores."""
    folder = pocket_folder if kind == "llama" else gemma2.write(tmp_path / kind)
    samples = measure(settings(chat={"path": str(file)}), folder, tmp_path / "out")
    model, tokenizer = load_model(folder, "float32"), load_tokenizer(folder)
    for row, sample in zip(ROWS, [s for s in samples if s.metric == "chat_nll"], strict=True):
        messages = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["response"]}]
        encoded = encode(tokenizer, messages, 512)
        labels = [i if r else -100 for i, r in zip(encoded.input_ids, encoded.response_mask, strict=True)]
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([encoded.input_ids]), labels=torch.tensor([labels])).loss
        assert sample.value == pytest.approx(float(loss), rel=1e-5)
        bits = next(s for s in samples if s.item == sample.item and s.metric == "chat_bits_per_byte")
        size = len((row["response"] + "<|im_end|>").encode())  # what the response tokens cover
        tokens = sum(encoded.response_mask)
        assert bits.value == pytest.approx(float(loss) * tokens / math.log(2) / size, rel=0.15)


def test_the_batch_changes_nothing_and_the_score_is_the_mean_over_items(
    pocket_folder: Path, file: Path, tmp_path: Path
) -> None:
    given = settings(chat={"path": str(file)})
    one, all_ = (measure(given, pocket_folder, tmp_path / f"out{n}", n) for n in (1, 8))
    assert [s.value for s in one] == pytest.approx([s.value for s in all_], rel=1e-5)
    scores = opened(given).aggregate(samples_frame(one)).set_index("metric")
    own = [s.value for s in one if s.metric == "chat_nll"]
    assert scores.loc["chat_nll", "value"] == pytest.approx(sum(v for v in own if v is not None) / 3)
    assert [scores.loc["chat_nll", name] for name in ("n", "total")] == [3, 3]


def test_metrics_have_the_roles_of_their_sets() -> None:
    given = settings(maths={"path": "a.jsonl", "role": "domain"}, chat={"path": "b.jsonl"})
    found = {m.name: (m.role, m.direction, m.headline) for m in opened(given).metrics}
    assert found == {
        "maths_nll": ("domain", "lower", True),
        "maths_bits_per_byte": ("domain", "lower", False),
        "chat_nll": ("general", "lower", True),
        "chat_bits_per_byte": ("general", "lower", False),
    }


def test_plain_text_scores_every_token_but_the_first(pocket_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(json.dumps({"body": "apple pear fig"}) + "\n" + json.dumps({"body": "apple"}) + "\n")
    samples = measure(settings(texts={"path": str(path), "text": "body"}), pocket_folder, tmp_path / "out")
    model, tokenizer = load_model(pocket_folder, "float32"), load_tokenizer(pocket_folder)
    ids = torch.tensor([tokenizer("apple pear fig", add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        loss = float(model(input_ids=ids, labels=ids).loss)
    nll = [s for s in samples if s.metric == "texts_nll"]
    assert nll[0].value == pytest.approx(loss, rel=1e-5)
    bits = next(s for s in samples if s.metric == "texts_bits_per_byte")
    assert bits.value == pytest.approx(loss * 2 / math.log(2) / len(b" pear fig"), rel=1e-5)
    assert (nll[1].value, nll[1].status) == (None, "missing"), "one token has nothing before it: no value, not zero"


def test_what_is_cut_is_counted_and_an_item_without_a_response_left_is_missing(
    pocket_folder: Path, file: Path, tmp_path: Path
) -> None:
    given = settings(chat={"path": str(file)}).model_copy(update={"max_length": 9})
    samples = measure(given, pocket_folder, tmp_path / "out")
    cut = json.loads((tmp_path / "out" / "truncated.json").read_text())["chat"]
    missing = sum(s.status == "missing" for s in samples if s.metric == "chat_nll")
    assert 0 < missing <= cut <= 3
    assert missing < 3


def test_pocket_data_can_be_held_out_too(pocket_folder: Path, tmp_path: Path) -> None:
    given = settings(shop={"pocket": {"examples": 4, "domain_ratio": 1.0, "seed": 9}, "role": "domain"})
    samples = measure(given, pocket_folder, tmp_path / "out")
    assert [s.status for s in samples] == ["ok"] * 8


def test_faults(pocket_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="letters, digits"):
        settings(**{"a b": {"path": "x.jsonl"}})
    with pytest.raises(ValidationError, match="exactly one of 'path', 'hf' and 'pocket'"):
        settings(a={})
    path = tmp_path / "texts.jsonl"
    path.write_text(json.dumps({"body": "apple"}) + "\n")
    with pytest.raises(HarnessError, match="no row has a text in 'txt'"):
        measure(settings(a={"path": str(path), "text": "txt"}), pocket_folder, tmp_path / "out")
    with pytest.raises(HarnessError, match="nothing of this held-out set"):
        measure(settings(a={"path": str(path), "text": "body"}), pocket_folder, tmp_path / "out")


def test_a_strange_row_is_counted_and_the_others_are_scored(pocket_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    told = [{"role": "user", "content": "copy : fig"}, {"role": "assistant", "content": "fig"}]
    rows = [{"messages": told, "body": "apple pear"}, {"messages": 3, "body": 4}, []]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = settings(chat={"path": str(path)}, plain={"path": str(path), "text": "body"})
    samples = measure(sets, pocket_folder, tmp_path / "out")
    assert [(s.metric, s.item, s.status) for s in samples if s.metric.endswith("nll")] == [
        ("chat_nll", "chat:0", "ok"),
        ("plain_nll", "plain:0", "ok"),
    ]
    records = json.loads((tmp_path / "out/data.json").read_text())
    assert records["chat"]["skipped_rows"] == {
        "`messages` is a number, not a list of turns": [2],
        "a list, not an object with named columns": [3],
    }
    assert records["plain"]["skipped_rows"] == {"no text in `body`": [2, 3]}


def test_a_turn_that_is_only_read_is_not_scored(pocket_folder: Path, tmp_path: Path) -> None:
    """And a system prompt in a column of its own conditions the answer."""
    user, first, last = (
        {"role": role, "content": text} for role, text in (("user", "fig"), ("assistant", "pear"), ("assistant", "fig"))
    )
    path = tmp_path / "rows.jsonl"
    scored = {}
    for name, row in {
        "both": {"messages": [user, first, user, last]},
        "last": {"messages": [user, {**first, "weight": 0}, user, last]},
        "told": {"messages": [user, {**first, "weight": 0}, user, last], "system": "apple"},
    }.items():
        path.write_text(json.dumps(row) + "\n")
        (sample, _) = measure(settings(a={"path": str(path)}), pocket_folder, tmp_path / name)
        scored[name] = sample
    assert len({sample.value for sample in scored.values()}) == 3
    texts = [json.loads((tmp_path / name / "transcripts.jsonl").read_text())["reference"] for name in scored]
    assert texts == ["pear\n\nfig", "fig", "fig"]
