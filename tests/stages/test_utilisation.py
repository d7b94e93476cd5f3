"""Utilisation as a stage: shares and entropies per category and layer, over the questions' prompts."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.bench.pocket import BENCHMARK as POCKET
from harness.bench.pocket import PocketSettings
from harness.core.errors import HarnessError
from harness.generate.api import GenerateSettings
from harness.models.chat import encode_prompt
from harness.models.load import load_model, load_tokenizer
from harness.models.routing import entropy, measure_load
from harness.models.settings import ModelSettings, MoESettings
from harness.stages import benchmarks, upcycle, utilisation
from harness.stages.api import Session, Stage
from harness.stages.model import PlannedModel, weights
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store
from tests.cli.judged import write_benchmark

BASE = "pocket:llama?layers=1&width=16&heads=2&seed=1"
MIXTRAL = "pocket:mixtral?layers=2&width=16&heads=2&experts=4&per_token=2&seed=1"


def model(reference: str = MIXTRAL) -> PlannedModel:
    return weights(ModelSettings(model=reference), {})


def asked(name: str = "pocket", **settings: Any) -> benchmarks.PinnedBenchmark:
    return benchmarks.pin(name, benchmarks.by_name(name).settings.model_validate_json(json.dumps(settings)))


def stage(weights: PlannedModel, questions: int = 8, **generate: Any) -> Stage:
    return utilisation.stage(asked(questions=questions), weights, GenerateSettings(**generate), 0)


def built(folder: Path, stage: Stage) -> Path:
    store = Store(folder / "store")
    for needed in (s for s in stage.walk() if not s.is_leaf):
        write_orders(store, [needed])
        run_stage(store, read_order(store, needed.id), Session(), lambda *_, **__: None)
    return store.path(stage.id)


def test_rows_by_hand(tmp_path: Path) -> None:
    rows = utilisation.read(built(tmp_path, stage(model(), 16)))
    assert tuple(rows.columns) == utilisation.COLUMNS
    folder = built(tmp_path, model().stage)
    words, loaded = load_tokenizer(folder), load_model(folder, "float32")
    questions = POCKET.open(PocketSettings(questions=16), {}).questions
    assert set(rows["category"]) == {q.category for q in questions} | {"overall"}
    for category in ("overall", questions[0].category):
        loads = [
            measure_load(loaded, encode_prompt(words, [{"role": "user", "content": q.turns[0]}]))
            for q in questions
            if category in ("overall", q.category)
        ]
        tokens = sum(load.tokens for load in loads)
        for layer in (0, 1):
            own = rows[(rows["category"] == category) & (rows["layer"] == layer)].sort_values("expert")
            assert own["expert"].tolist() == [0, 1, 2, 3]
            visits = sum(load.visits[layer] for load in loads)
            assert own["share"].tolist() == pytest.approx((visits / (2 * tokens)).tolist())
            spread = float(entropy(sum(load.mass[layer] for load in loads) / tokens))
            assert own["entropy"].tolist() == pytest.approx([spread] * 4)
            assert set(own["tokens"]) == {tokens}


def test_shares_add_up_and_entropy_has_its_bounds(tmp_path: Path) -> None:
    rows = utilisation.read(built(tmp_path, stage(model(), 24)))
    sums = rows.groupby(["category", "layer"])["share"].sum()
    assert sums.tolist() == pytest.approx([1.0] * len(sums))
    assert rows["share"].max() <= 0.5 + 1e-9, "two experts per token: one has at most half"
    assert rows["entropy"].between(0, math.log(4)).all()


def test_every_expert_where_all_are_visited(tmp_path: Path) -> None:
    even = upcycle.stage(model(BASE), [], MoESettings(router="zero"))
    rows = utilisation.read(built(tmp_path, stage(even)))
    assert set(rows["share"]) == {0.5}
    assert rows["entropy"].tolist() == pytest.approx([math.log(2)] * len(rows))


def test_a_benchmark_with_files_and_several_turns(tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path / "mt_bench")
    rows = utilisation.read(
        built(tmp_path, utilisation.stage(asked("mt_bench", data=str(folder)), model(), GenerateSettings(), 0))
    )
    assert len(set(rows["category"])) > 1


def test_a_prompt_that_does_not_fit_is_named(tmp_path: Path) -> None:
    made = built(tmp_path, stage(model(), 16, max_length=14))
    counts = json.loads((made / "utilisation.json").read_text())
    assert counts["prompts"] == 16
    assert 0 < len(counts["too_long"]) < 16
    rows = utilisation.read(made)
    assert rows["tokens"].max() < 14 * (16 - len(counts["too_long"]))
    none = built(tmp_path, stage(model(), 16, max_length=2))
    assert len(json.loads((none / "utilisation.json").read_text())["too_long"]) == 16
    assert utilisation.read(none).empty


def test_named_by_model_questions_and_dtype() -> None:
    own = stage(model())
    assert own.id == stage(model(), batch_size=3).id
    others = [stage(model(), 9), stage(model(), dtype="bfloat16"), stage(model(MIXTRAL.replace("seed=1", "seed=2")))]
    assert len({own.id, *(other.id for other in others)}) == 4


def test_a_dense_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="has no experts"):
        built(tmp_path, stage(model(BASE)))


def test_order_of_rows_is_that_of_the_questions(tmp_path: Path) -> None:
    first, again = (pd.DataFrame(utilisation.read(built(tmp_path / name, stage(model())))) for name in "ab")
    pd.testing.assert_frame_equal(first, again)
