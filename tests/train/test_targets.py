"""Stored targets: what the teacher says, in the order a batch asks for it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.errors import HarnessError
from harness.data.conversations import Conversation, read_conversations, write_conversations
from harness.data.mixing import mix
from harness.models.batching import by_length
from harness.models.chat import encode
from harness.models.load import load_model, load_tokenizer, output_head
from harness.models.logprobs import TopTarget
from harness.train import targets
from harness.train.losses import IGNORED, response_states
from harness.train.targets import TargetPass, stored_teacher, write_targets
from tests.train.stored import stored

PASS = TargetPass(top_k=8, temperature=1.0, dtype="float32")


def quiet(*_: Any) -> None:
    pass


def store(teacher: Path, data: Path, folder: Path, settings: TargetPass = PASS, max_length: int = 40) -> Path:
    """The targets of a teacher for a file of conversations, under `folder`."""
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    [tokens] = stored(data, teacher, folder / "tokens", max_length).tokens
    write_targets(teacher, tokens, settings, out=folder / "out", work=folder / "work", progress=quiet)
    return folder / "out"


def batch_of(data: Path, model: Path, rows: list[int], max_length: int = 40) -> dict[str, torch.Tensor]:
    """Some rows of a dataset as training batches them."""
    tokenizer, conversations = load_tokenizer(model), list(read_conversations(data))
    encoded = [encode(tokenizer, conversations[row].messages, max_length) for row in rows]
    ids, labels = [], []
    for one in encoded:
        ids.append(torch.tensor(one.input_ids))
        given = [i if r else IGNORED for i, r in zip(one.input_ids, one.response_mask, strict=True)]
        labels.append(torch.tensor([IGNORED, *given[1:]]))

    def padded(values: list[torch.Tensor], filler: int) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=filler)

    return {
        "input_ids": padded(ids, 0),
        "attention_mask": padded([torch.ones_like(i) for i in ids], 0),
        "labels": padded(labels, IGNORED),
        "row": torch.tensor(rows),
    }


def said(model: Path, batch: dict[str, torch.Tensor], temperature: float = 1.0) -> torch.Tensor:
    """The model's log-probabilities at the batch's response positions, all words."""
    loaded = load_model(model, "float32")
    with torch.no_grad():
        logits = output_head(loaded).logits(response_states(loaded, batch))
    return torch.log_softmax(logits / temperature, dim=-1)


def asked(folders: list[Path | None], data: Path, student: Path, batch: dict[str, torch.Tensor]) -> TopTarget:
    """The targets in `folders` (of general rows, and of the shop's) for a batch of rows of `data`."""
    examples = stored(data, student, data.with_suffix(".tokens"), 40, ["shop"] * (len(folders) - 1)).examples
    target = stored_teacher(folders, examples).target(batch)
    assert isinstance(target, TopTarget)
    return target


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_says_what_the_teacher_says(
    teacher_folder: Path, pocket_folder: Path, conversations: Path, tmp_path: Path, temperature: float
) -> None:
    settings = TargetPass(8, temperature, "float32")
    targets_folder = store(teacher_folder, conversations, tmp_path, settings)
    batch = batch_of(conversations, pocket_folder, [5, 0, 17, 3])
    found = asked([targets_folder], conversations, pocket_folder, batch)
    whole = said(teacher_folder, batch, temperature)
    values, ids = whole.topk(8, dim=-1)
    assert found.ids.dtype == torch.int64
    torch.testing.assert_close(found.logprobs, values, atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.gather(-1, found.ids), values, atol=1e-5, rtol=0)
    assert (found.ids == ids).float().mean() > 0.99, "but for ties"


def test_all_words_leave_nothing(teacher_folder: Path, conversations: Path, tmp_path: Path) -> None:
    targets_folder = store(teacher_folder, conversations, tmp_path, TargetPass(10_000, 1.0, "float32"))
    facts = json.loads((targets_folder / "targets.json").read_text())
    assert facts["top_k"] == len(load_tokenizer(teacher_folder))
    assert facts["mean_remaining_mass"] < 1e-6


def test_facts(teacher_folder: Path, conversations: Path, tmp_path: Path) -> None:
    targets_folder = store(teacher_folder, conversations, tmp_path)
    facts = json.loads((targets_folder / "targets.json").read_text())
    logprobs = np.load(targets_folder / "logprobs.npy")
    assert facts["positions"] == len(logprobs) == len(np.load(targets_folder / "ids.npy"))
    assert facts["mean_remaining_mass"] == pytest.approx(1 - np.exp(logprobs).sum(axis=1).mean(), abs=1e-6)
    assert facts["conversations"] == len(np.load(targets_folder / "index.npy"))
    assert np.load(targets_folder / "ids.npy").dtype == np.uint16
    assert (np.diff(logprobs, axis=1) <= 0).all(), "likeliest first"


def test_a_mix_reads_each_part_from_its_own_pass(
    teacher_folder: Path, pocket_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    rows = list(read_conversations(conversations))
    general, shop = tmp_path / "general.jsonl", tmp_path / "shop.jsonl"
    write_conversations(general, rows[:24])
    write_conversations(shop, rows[24:])
    mixed = tmp_path / "mixed.jsonl"
    parts: dict[str | None, list[Conversation]] = {None: rows[:24], "shop": rows[24:]}
    drawn = mix([row.id for row in rows[:24]], {"shop": [row.id for row in rows[24:]]}, {"shop": 0.5}, 48, 0)
    drawn = sorted(drawn, key=lambda row: (row.domain or "", row.row))  # each part's rows in the order of its file
    write_conversations(mixed, (replace(parts[r.domain][r.row], domain=r.domain, source=r.source) for r in drawn))
    domains = [row.domain for row in read_conversations(mixed)]
    ours = [i for i, domain in enumerate(domains) if domain == "shop"][:3]
    folders: list[Path | None] = [
        store(pocket_folder, general, tmp_path / "a"),
        store(teacher_folder, shop, tmp_path / "b"),
    ]
    batch = batch_of(mixed, pocket_folder, ours)
    found = asked(folders, mixed, pocket_folder, batch)
    torch.testing.assert_close(found.logprobs, said(teacher_folder, batch).topk(8).values, atol=1e-5, rtol=0)
    general_row = domains.index(None)
    with pytest.raises(HarnessError, match="of a domain that this teacher has no targets for"):
        asked([None, folders[1]], mixed, pocket_folder, batch_of(mixed, pocket_folder, [general_row]))


def test_a_stopped_pass_goes_on(
    teacher_folder: Path, conversations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = 200
    monkeypatch.setattr(targets, "TARGET_TOKENS", tokens)
    whole = store(teacher_folder, conversations, tmp_path / "whole")
    predicted = targets._predict
    runs: list[int] = []

    def twice(*args: Any) -> TopTarget:
        runs.append(1)
        if len(runs) == 3:
            raise KeyboardInterrupt
        return predicted(*args)

    monkeypatch.setattr(targets, "_predict", twice)
    with pytest.raises(KeyboardInterrupt):
        store(teacher_folder, conversations, tmp_path / "stopped")
    assert not list((tmp_path / "stopped/out").iterdir())
    again = store(teacher_folder, conversations, tmp_path / "stopped")
    lengths = stored(conversations, teacher_folder, tmp_path / "tokens", 40).examples.lengths
    batches = by_length(lengths, tokens=tokens)
    assert len(runs) == len(batches) + 1, "the first two batches once, the third tried twice"
    for name in ("ids.npy", "logprobs.npy", "index.npy", "targets.json"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()


def test_cut_conversations(teacher_folder: Path, pocket_folder: Path, conversations: Path, tmp_path: Path) -> None:
    targets_folder = store(teacher_folder, conversations, tmp_path, TargetPass(4, 1.0, "float32"), 14)
    batch = batch_of(conversations, pocket_folder, list(range(12)), max_length=14)
    found = asked([targets_folder], conversations, pocket_folder, batch)
    assert len(found.ids) == int((batch["labels"][:, 1:] != IGNORED).sum())
    with pytest.raises(HarnessError, match="positions of a conversation, its batch has"):
        asked([targets_folder], conversations, pocket_folder, batch_of(conversations, pocket_folder, list(range(12))))


def test_a_batch_without_a_response(
    teacher_folder: Path, pocket_folder: Path, conversations: Path, tmp_path: Path
) -> None:
    targets_folder = store(teacher_folder, conversations, tmp_path)
    batch = batch_of(conversations, pocket_folder, [0])
    batch["labels"] = torch.full_like(batch["labels"], IGNORED)
    assert asked([targets_folder], conversations, pocket_folder, batch).ids.shape == (0, 8)


def test_other_template(teacher_folder: Path, pocket_folder: Path, conversations: Path, tmp_path: Path) -> None:
    targets_folder = store(teacher_folder, conversations, tmp_path)
    other = tmp_path / "other"
    shutil.copytree(pocket_folder, other)
    template = other / "chat_template.jinja"
    template.write_text(template.read_text() + "{# changed #}")
    with pytest.raises(HarnessError, match="another chat template than the student's"):
        asked([targets_folder], conversations, other, {})


def test_other_tokenizer(teacher_folder: Path, pocket_folder: Path, conversations: Path, tmp_path: Path) -> None:
    targets_folder = store(teacher_folder, conversations, tmp_path)
    facts = json.loads((targets_folder / "targets.json").read_text())
    (targets_folder / "targets.json").write_text(json.dumps(facts | {"tokenizer": "other"}))
    with pytest.raises(HarnessError, match="another tokenizer than the student's"):
        asked([targets_folder], conversations, pocket_folder, {})


def test_unknown_conversation(teacher_folder: Path, pocket_folder: Path, conversations: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    write_conversations(few, list(read_conversations(conversations))[:4])
    targets_folder = store(teacher_folder, few, tmp_path)
    with pytest.raises(HarnessError, match="targets are stored for 4 conversations, the dataset has 48"):
        asked([targets_folder], conversations, pocket_folder, {})


def test_nothing_to_predict(teacher_folder: Path, conversations: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no conversation has a response to predict"):
        store(teacher_folder, conversations, tmp_path, TargetPass(4, 1.0, "float32"), 2)
