"""Fidelity to a teacher: the formulas on logits of plain forward passes, on texts that the two models really write."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness.bench.api import Measured, OpenMeasured, Sample, samples_frame
from harness.bench.fidelity import BENCHMARK, FidelitySettings
from harness.core.errors import HarnessError
from harness.core.lines import read_json, read_lines
from harness.core.seeds import derive_seed
from harness.generate.api import Answer, GenerateSettings, Request
from harness.generate.transformers_engine import load as load_engine
from harness.models.chat import encode_prompt
from harness.models.load import load_model, load_tokenizer
from harness.models.pocket import build, parse_spec
from harness.plan.build import build as planned
from harness.plan.fit import footprint
from harness.plan.shapes import Shapes
from harness.recipe import RecipeError, load
from harness.stages.api import Session
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store
from tests.models.chatty import TRIMS, base_model

ROWS = [
    {"prompt": "copy : apple pear", "response": "apple pear"},
    {"prompt": "largest of 3 9 4", "response": "9"},
    {"prompt": "copy : fig", "response": "fig"},
]


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    folder = tmp_path / "teacher"
    build(parse_spec("llama?layers=1&width=48&heads=4&seed=9"), folder)
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "held-out.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def opened(file: Path, **values: Any) -> OpenMeasured[FidelitySettings]:
    settings = {"teacher": "path:t", "sets": {"chat": {"path": str(file)}}, "max_new_tokens": 6, **values}
    given = FidelitySettings.model_validate_json(json.dumps(settings))
    return BENCHMARK.open(given, BENCHMARK.files(given))


def measure(bench: OpenMeasured[Any], model: Path, teacher: Path, out: Path, batch_size: int = 8) -> list[Sample]:
    out.mkdir(exist_ok=True)
    return bench.measure(Measured(model, "float32", batch_size, 7, out, lambda *_: None, teacher))


def values(samples: list[Sample]) -> dict[tuple[str, int], float | None]:
    items = list(dict.fromkeys(sample.item for sample in samples))
    return {(s.metric.removeprefix("chat_"), items.index(s.item)): s.value for s in samples}


def test_values_are_those_of_plain_passes_over_what_each_wrote(
    pocket_folder: Path, teacher: Path, file: Path, tmp_path: Path
) -> None:
    got = values(measure(opened(file), pocket_folder, teacher, tmp_path / "out"))
    tokenizer, seed = load_tokenizer(pocket_folder), derive_seed(7, "chat")
    models = {folder: load_model(folder, "float32") for folder in (pocket_folder, teacher)}
    shown = list(read_lines(tmp_path / "out" / "transcripts.jsonl"))
    for text, writer, column in (("teacher_text", teacher, "reference"), ("own_text", pocket_folder, "answer")):
        every = []
        for number, row in enumerate(ROWS):
            messages = ({"role": "user", "content": row["prompt"]},)
            name = shown[number]["item"].removeprefix("chat:")
            answers: list[Answer] = []
            request = Request(name, messages, 1.0, 6, derive_seed(seed, name))
            load_engine(writer, GenerateSettings()).complete([request], answers.extend)
            assert shown[number][column] == answers[0].turns[0], "the engine writes the same"
            prompt = encode_prompt(tokenizer, messages)
            ids = tokenizer(str(answers[0].turns[0]), add_special_tokens=False)["input_ids"]
            ids = [*prompt, *ids, *([3] if answers[0].finish == ("stop",) else [])]
            assert len(ids) - len(prompt) == answers[0].tokens[0]
            with torch.no_grad():
                logits = [models[of](torch.tensor([ids])).logits[0].double() for of in (teacher, pocket_folder)]
            log_p, log_q = (each.log_softmax(-1) for each in logits)
            at = range(len(prompt) - 1, len(ids) - 1)
            kl = [float((log_p[t].exp() * (log_p[t] - log_q[t])).sum()) for t in at]
            same = [bool(log_p[t].argmax() == log_q[t].argmax()) for t in at]
            gaps = [float(log_q[t][ids[t + 1]].exp() - log_p[t][ids[t + 1]].exp()) for t in at]
            assert got[f"kl_{text}", number] == pytest.approx(np.mean(kl), rel=1e-4)
            assert got[f"agreement_{text}", number] == pytest.approx(100 * np.mean(same))
            assert got[f"rms_{text}", number] == pytest.approx(np.sqrt(np.mean(np.square(gaps))), rel=1e-4)
            every += kl
        spread = read_json(tmp_path / "out" / "fidelity.json")["chat"][text]
        assert spread["tokens"] == len(every)
        wanted = [np.mean(every), np.median(every), np.quantile(every, 0.99), np.max(every)]
        assert [spread[name] for name in ("mean", "median", "p99", "max")] == pytest.approx(wanted, rel=1e-4)
    for number in range(3):
        own, taught = got["kl_own_text", number], got["kl_teacher_text", number]
        assert own is not None
        assert taught is not None
        assert got["exposure_bias", number] == pytest.approx(own - taught)


def test_the_batch_changes_nothing_and_a_score_is_the_mean_over_prompts(
    pocket_folder: Path, teacher: Path, file: Path, tmp_path: Path
) -> None:
    one, three = (measure(opened(file), pocket_folder, teacher, tmp_path / f"out{n}", n) for n in (1, 3))
    assert [s.value for s in one] == pytest.approx([s.value for s in three], rel=1e-4, abs=1e-6)
    scores = opened(file).aggregate(samples_frame(one)).set_index("metric")
    own = [s.value for s in one if s.metric == "chat_kl_own_text" and s.value is not None]
    assert scores.loc["chat_kl_own_text", "value"] == pytest.approx(np.mean(own))
    assert scores.loc["chat_kl_own_text", "stderr"] == pytest.approx(np.std(own) / np.sqrt(3))
    assert {s.metric for s in one} == {m.name for m in opened(file).metrics}
    assert all(s.cluster == s.item for s in one)


def test_a_model_is_its_own_best_copy(pocket_folder: Path, file: Path, tmp_path: Path) -> None:
    got = values(measure(opened(file), pocket_folder, pocket_folder, tmp_path / "out"))
    for (metric, _), value in got.items():
        assert value == pytest.approx(100 if "agreement" in metric else 0, abs=1e-6)


def test_a_prompt_without_room_is_missing(pocket_folder: Path, teacher: Path, file: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(pocket_folder)
    lengths = [len(encode_prompt(tokenizer, [{"role": "user", "content": row["prompt"]}])) for row in ROWS]
    limit = sorted(lengths)[-1]
    samples = measure(opened(file, max_length=limit), pocket_folder, teacher, tmp_path / "out")
    missing = {s.item for s in samples if s.status == "missing"}
    assert len(missing) == lengths.count(limit)
    with pytest.raises(HarnessError, match="no prompt of this held-out set can be answered"):
        measure(opened(file, max_length=2), pocket_folder, teacher, tmp_path / "none")


def test_another_tokenizer_is_refused(pocket_folder: Path, file: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="model and teacher have different tokenizers"):
        measure(opened(file), pocket_folder, base_model(tmp_path / "other", TRIMS), tmp_path / "out")


@pytest.mark.parametrize("sets", [{"a-b": {"path": "x"}}, {"a": {}}, {}])
def test_a_set_needs_a_name_and_a_source(sets: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FidelitySettings.model_validate({"sets": sets})


RECIPE = """\
name: near
student: pocket:llama?layers=1&width=16&heads=2&seed=1
teacher: {model: $teacher}
models:
  made:
    base: pocket:llama?layers=1&width=32&heads=2&seed=2
    data: {train: {pocket: {examples: 32, seed: 1}}}
    train: [{sft: {max_steps: 2, batch_size: 8, micro_batch_size: 8}}]
data: {train: {pocket: {examples: 32, seed: 4}}}
train: [{kd: {max_steps: 2, batch_size: 8, micro_batch_size: 8}}]
axes:
  teacher: [{made: artifact:made}, {other: "pocket:llama?layers=1&width=32&heads=2&seed=5"}]
evaluate:
  - fidelity: {sets: {chat: {pocket: {examples: 8, seed: 9}}}, max_new_tokens: 4}
baselines: [student, teacher]
draws: 2
"""


def test_each_cell_is_measured_beside_its_teacher(tmp_path: Path) -> None:
    """The untrained student too, beside each; in a new draw beside the teacher of that draw."""
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    plan = planned(load(path))
    measured = {cell.name: cell.evaluated[0].score.inputs["measured"] for cell in plan.cells}
    assert {name for name in measured if "student" in name} == {
        "student=made,draw=0",
        "student=made,draw=1",
        "student=other,draw=0",
        "student=other,draw=1",
    }
    for name, stage in measured.items():
        if "teacher=made" in name and "student" not in name:
            assert stage.inputs["teacher"].kind == "train"
    shapes, of_cell = Shapes(Store(tmp_path / "none")), measured["teacher=made,draw=0"]
    peak = footprint(of_cell, shapes, on_gpu=False)
    beside = shapes.of(of_cell.inputs["teacher"])
    assert peak is not None
    assert beside is not None
    assert peak.parts["teacher"] == 4 * beside.parameters
    teachers = {stage.inputs["teacher"].id for stage in measured.values()}
    assert len(teachers) == 4
    store = Store(tmp_path / "store")
    for stage in measured["teacher=made,draw=0"].walk():
        if not stage.is_leaf:
            write_orders(store, [stage])
            run_stage(store, read_order(store, stage.id), Session(), lambda *_, **__: None)
    assert (store.path(measured["teacher=made,draw=0"].id) / "samples.parquet").exists()


@pytest.mark.parametrize(
    ("named", "fault"),
    [
        ("artifact:mad", "evaluate[0].fidelity: no model 'mad' in models; did you mean 'made'"),
        ("endpoint:x", "evaluate[0].fidelity: fidelity needs the logits of its teacher; an endpoint gives text only"),
    ],
)
def test_a_teacher_without_logits_is_a_fault_of_the_recipe(tmp_path: Path, named: str, fault: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.replace("fidelity: {", f"fidelity: {{teacher: '{named}', "))
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert fault in str(caught.value)


def test_a_recipe_without_a_teacher_names_one(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("student: pocket:s\nevaluate: [{fidelity: {sets: {chat: {pocket: {examples: 8}}}}}]\n")
    with pytest.raises(RecipeError, match="fidelity needs a teacher with a model, for its logits; the recipe has no"):
        load(path)
