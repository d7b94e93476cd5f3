"""The check as a stage: a dataset and a benchmark in, counts and examples out."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.bench.mt_bench import MTBenchSettings
from harness.core.errors import HarnessError
from harness.data.contamination import NGRAM, words
from harness.data.pocket import questions
from harness.data.settings import DatasetSettings
from harness.stages import benchmarks, contamination, dataset
from harness.stages.api import Session, Stage
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store
from tests.cli.judged import write_benchmark


def asked(name: str = "pocket", **settings: Any) -> benchmarks.PinnedBenchmark:
    own = benchmarks.judged(name).settings if name == "pocket" else MTBenchSettings
    return benchmarks.pin(name, own.model_validate_json(json.dumps(settings)))


def data(**settings: Any) -> Stage:
    return dataset.stage(DatasetSettings.model_validate_json(json.dumps(settings, default=str)), 0, "train")


def found(folder: Path, stage: Stage) -> dict[str, Any]:
    store = Store(folder / "store")
    for needed in (s for s in stage.walk() if not s.is_leaf):
        write_orders(store, [needed])
        run_stage(store, read_order(store, needed.id), Session(), lambda *_, **__: None)
    return contamination.read(store.path(stage.id))


def rows(folder: Path, *texts: str) -> Path:
    path = folder / "rows.jsonl"
    made = ({"id": f"r{i}", "prompt": text, "response": "a"} for i, text in enumerate(texts))
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def test_pocket_data_are_clean(tmp_path: Path) -> None:
    check = contamination.stage(data(pocket={"examples": 500, "domain_ratio": 0.5}), asked(questions=40))
    assert found(tmp_path, check) == {
        "benchmark": "pocket",
        "n": 13,
        "prompts": 40,
        "exact": 0,
        "ngram": 0,
        "shared": 0,
        "examples": [],
    }


def test_planted_leaks_are_found_and_named(tmp_path: Path) -> None:
    prompts = questions(40, 0)
    long = next(i for i, item in enumerate(prompts) if len(words(item.turns[0].text)) >= NGRAM)
    texts = [prompts[0].turns[0].text.upper(), "clean", f"please answer : {prompts[long].turns[0].text}"]
    made = found(tmp_path, contamination.stage(data(path=rows(tmp_path, *texts)), asked(questions=40)))
    assert (made["exact"], made["ngram"]) == (1, 1)
    first, second = made["examples"]
    assert (first["prompt"], first["row"], first["exact"]) == (f"{prompts[0].category}-0", "r0", True)
    assert (second["row"], second["exact"], second["share"]) == ("r2", False, 1.0)


def test_at_most_five_examples(tmp_path: Path) -> None:
    texts = [item.turns[0].text for item in questions(16, 0)]
    made = found(tmp_path, contamination.stage(data(path=rows(tmp_path, *texts)), asked(questions=16)))
    assert made["exact"] == 16
    assert [example["row"] for example in made["examples"]] == ["r0", "r1", "r2", "r3", "r4"]


def test_a_benchmark_with_files(tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path / "mt_bench")
    prompt = json.loads((folder / "question.jsonl").read_text().splitlines()[0])["turns"][0]
    bench = asked("mt_bench", data=str(folder))
    check = contamination.stage(data(path=rows(tmp_path, "clean", prompt)), bench)
    assert {name for name in check.inputs if name != "dataset"} == set(bench.files)
    made = found(tmp_path, check)
    assert (made["exact"], made["examples"][0]["row"]) == (1, "r1")


def test_what_it_stands_on(tmp_path: Path) -> None:
    """Not on the model: two models that train on one dataset have one check. On n, on the data, on the questions."""
    train = data(pocket={"examples": 16})
    check = contamination.stage(train, asked(questions=40))
    assert {stage.kind for stage in check.walk()} == {"dataset", "contamination"}
    others = [
        contamination.stage(train, asked(questions=40), ngram=8),
        contamination.stage(train, asked(questions=48)),
        contamination.stage(data(pocket={"examples": 17}), asked(questions=40)),
    ]
    assert len({check.id, *(other.id for other in others)}) == 4
    assert found(tmp_path, others[0])["n"] == 8


def test_a_broken_dataset_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": \n')
    with pytest.raises(HarnessError, match=r"rows\.jsonl:1: broken JSON line"):
        found(tmp_path, contamination.stage(data(path=path), asked(questions=8)))
