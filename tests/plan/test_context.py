"""A sweep's cells share what they have in common: a model is pinned once, however many cells name it."""

import json
from pathlib import Path

import pytest

from harness.core.canonical import file_digest
from harness.data.settings import PocketData
from harness.models import refs
from harness.plan.build import build
from harness.plan.context import Graph
from harness.recipe.load import load

RECIPE = """\
student: "path:{folder}"
evaluate: [{{pocket: {{questions: $questions}}}}]
axes: {{questions: [16, 24], seed: [0, 1, 2]}}
eval_seed: $seed
"""


def test_one_call_for_one_object() -> None:
    calls: list[int] = []

    def examples(settings: PocketData, more: int) -> int:
        calls.append(more)
        return settings.examples + more

    once, one = Graph().once, PocketData(examples=1)
    other = PocketData(examples=2)
    assert [once(examples, one, 1), once(examples, one, more=1), once(examples, one, 1)] == [2, 2, 2]
    assert [once(examples, other, 1), once(examples, one, 2)] == [3, 3]
    assert calls == [1, 1, 1, 2], "another name for an argument is another call, the same call is none"


def test_what_failed_is_tried_again() -> None:
    graph = Graph()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            graph.once(divmod, 1, 0)


def test_weights_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = tmp_path / "model", list[str]()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=folder))

    def digest(path: Path) -> str:
        read.append(path.name)
        return file_digest(path)

    monkeypatch.setattr(refs, "file_digest", digest)
    plan = build(load(tmp_path / "recipe.yaml"))
    assert len(plan.cells) == 6
    assert sorted(read) == ["config.json", "model.safetensors"]
    (folder / "model.safetensors").write_bytes(b"others")
    again = build(load(tmp_path / "recipe.yaml"))
    assert plan.stages.keys().isdisjoint(again.stages), "a new plan pins anew"
