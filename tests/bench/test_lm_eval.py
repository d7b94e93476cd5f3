"""lm-eval in the pocket world: its own numbers from our samples, its files, no trace in the process, clear faults."""

import json
import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.bench.api import Measured, OpenMeasured, Sample, samples_frame
from harness.bench.lm_eval import BENCHMARK, LmEvalSettings
from harness.bench.lm_eval.benchmark import _passes
from harness.bench.lm_eval.tasks import catalogue, package
from harness.bench.pocket_formats import multiple_choice
from harness.core.errors import HarnessError
from harness.core.settings import identity

ROWS: list[dict[str, Any]] = multiple_choice(16, seed=0)
CHOICE = """
task: NAME
dataset_path: nobody/has-this
test_split: test
output_type: multiple_choice
doc_to_text: "{{query}}"
doc_to_choice: choices
doc_to_target: gold
"""
COPY = """
task: copying
dataset_path: nobody/has-this
validation_split: validation
output_type: generate_until
doc_to_text: query
doc_to_target: "{{choices[gold]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
filter_list:
  - {name: plain, filter: [{function: take_first}]}
  - {name: first-word, filter: [{function: regex, regex_pattern: "(\\\\w+)"}, {function: take_first}]}
"""

SHORT = """
include: {task}
task: gsm8k_short
num_fewshot: 1
generation_kwargs: {{until: ["Question:"], do_sample: false, temperature: 0.0, max_gen_toks: 8}}
"""


def settings(**given: Any) -> LmEvalSettings:
    return LmEvalSettings.model_validate_json(json.dumps(given, default=str))


def opened(given: LmEvalSettings) -> OpenMeasured[LmEvalSettings]:
    return BENCHMARK.open(given, BENCHMARK.files(given))


def measure(given: LmEvalSettings, folder: Path, out: Path, progress: Any = lambda *_: None) -> list[Sample]:
    out.mkdir()
    return opened(given).measure(Measured(folder, "float32", 4, 0, out, progress))


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """lm-eval asks pip for every package, which takes a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
        yield


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """Two tasks of different size, a group of each kind over them, and a generative task."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name in ("small", "large"):
        (folder / f"{name}.yaml").write_text(CHOICE.replace("NAME", name))
    (folder / "copying.yaml").write_text(COPY)
    metrics = "[{metric: acc, weight_by_size: W}, {metric: acc_norm, weight_by_size: W}]"
    for name, weighted in (("pooled", "true"), ("macro", "false")):
        listed = metrics.replace("W", weighted)
        (folder / f"{name}.yaml").write_text(f"group: {name}\ntask: [small, large]\naggregate_metric_list: {listed}\n")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for number, name in ((5, "small_test"), (9, "large_test"), (3, "copying_validation")):
        rows = ROWS[:number]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> dict[str, dict[str, Path]]:
    """Task -> split -> file, in the schemas of ARC and GSM8K on the hub, with items of the pocket world."""

    def arc(k: int, row: dict[str, Any]) -> dict[str, Any]:
        labels = list("ABCD"[: len(row["choices"])])
        choices = {"text": row["choices"], "label": labels}
        return {"id": f"Item_{k}", "question": row["query"], "choices": choices, "answerKey": labels[row["gold"]]}

    def gsm8k(k: int, row: dict[str, Any]) -> dict[str, Any]:
        return {"question": row["query"], "answer": f"It is <<{k}+{k}={2 * k}>>{2 * k}.\n#### {2 * k},000"}

    found: dict[str, dict[str, Path]] = {}
    for task, split, schema, rows in (
        ("arc_easy", "test", arc, ROWS[:7]),
        ("arc_challenge", "test", arc, ROWS[7:14]),
        ("gsm8k_short", "train", gsm8k, ROWS[:6]),
        ("gsm8k_short", "test", gsm8k, ROWS[6:14]),
    ):
        path = tmp_path / f"{task}_{split}.jsonl"
        path.write_text("".join(json.dumps(schema(k, row)) + "\n" for k, row in enumerate(rows)))
        found.setdefault(task, {})[split] = path
    return found


def printed(out: Path) -> dict[str, dict[str, Any]]:
    """lm-eval's own results, a row per task or group."""
    (path,) = out.glob("results_*.json")
    found: dict[str, dict[str, Any]] = json.loads(path.read_text())["results"]
    return found


def scores(samples: list[Sample]) -> Any:
    """By metric and category."""
    return (
        BENCHMARK.open(LmEvalSettings(tasks=["any"]), {})
        .aggregate(samples_frame(samples))
        .set_index(["metric", "category"])
    )


@pytest.mark.slow  # the package reads its thousands of files
def test_the_packages_tasks_groups_and_tags_are_read_as_it_reads_them() -> None:
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._index import Kind

    theirs, ours = TaskManager().task_index, catalogue((package() / "tasks",))
    assert ours.files == {name: entry.yaml_path for name, entry in theirs.items() if entry.kind is not Kind.TAG}
    assert ours.tags == {name: sorted(entry.tags) for name, entry in theirs.items() if entry.kind is Kind.TAG}


@pytest.mark.parametrize(("group", "suffix"), [("pooled", ""), ("macro", "_macro")])
def test_scores_of_a_group_are_lm_evals_own(
    group: str, suffix: str, tasks: Path, data: Path, pocket_folder: Path, tmp_path: Path
) -> None:
    samples = measure(settings(tasks=[group], include_path=tasks, data_dir=data), pocket_folder, tmp_path / "out")
    theirs, ours = printed(tmp_path / "out"), scores(samples)
    for metric in ("acc", "acc_norm"):
        for category, name in (("overall", group), ("small", "small"), ("large", "large")):
            row = ours.loc[(f"{group}_{metric}{suffix}", category)]
            assert row["value"] == theirs[name][f"{metric},none"]
            assert row["stderr"] == pytest.approx(theirs[name][f"{metric}_stderr,none"], rel=1e-12)
            assert (row["n"], row["total"]) == ({"overall": 14, "small": 5, "large": 9}[category],) * 2


def fields(row: dict[str, Any]) -> dict[str, Any]:
    """Of a sample what is measured, and of what."""
    return {name: row[name] for name in ("doc_id", "doc_hash", "prompt_hash", "target_hash", "filter", *row["metrics"])}


def test_arc_and_gsm8k_are_lm_evals_own(hub: dict[str, dict[str, Path]], pocket_folder: Path, tmp_path: Path) -> None:
    """Every digit, of every item too, that the package finds when it is told so itself: its tasks, on made-up items."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    own = tmp_path / "own"
    own.mkdir()
    (own / "gsm8k_short.yaml").write_text(SHORT.format(task=package() / "tasks/gsm8k/gsm8k.yaml"))
    included = {name: package() / f"tasks/arc/{name}.yaml" for name in ("arc_easy", "arc_challenge")}
    told = tmp_path / "told"
    told.mkdir()
    for task, path in {**included, "gsm8k_short": own / "gsm8k_short.yaml"}.items():
        files = {split: str(file) for split, file in hub[task].items()}
        local = {"data_files": files, "cache_dir": str(tmp_path / "cache")}
        lacking = {f"{split}_split": None for split in ("training", "validation")} if "arc" in task else {}
        made = {"include": str(path), "task": task, "dataset_path": "json", "dataset_name": None, **lacking}
        (told / f"{task}.yaml").write_text(yaml.safe_dump({**made, "dataset_kwargs": local}))
    theirs = lm_eval.simple_evaluate(
        model="hf",
        model_args=f"pretrained={pocket_folder},dtype=float32",
        tasks=list(hub),
        task_manager=TaskManager(include_path=str(told), include_defaults=False),
        device="cpu",
        batch_size=1,
        limit=5,
    )
    given = settings(tasks=list(hub), include_path=own, data_dir=hub, limit=5)
    ours = scores(measure(given, pocket_folder, tmp_path / "out"))
    assert {name: printed(tmp_path / "out")[name] for name in hub} == {name: theirs["results"][name] for name in hub}
    for task in hub:
        (path,) = (tmp_path / "out").glob(f"samples_{task}_*.jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert list(map(fields, rows)) == list(map(fields, theirs["samples"][task]))
    row = theirs["results"]["gsm8k_short"]
    assert ours.loc[("gsm8k_short_exact_match_strict_match", "overall"), "value"] == row["exact_match,strict-match"]
    for task in included:
        for metric in ("acc", "acc_norm"):
            found = ours.loc[(f"{task}_{metric}", "overall")]
            assert found["value"] == theirs["results"][task][f"{metric},none"]
            assert found["stderr"] == pytest.approx(theirs["results"][task][f"{metric}_stderr,none"], rel=1e-12)
            assert (found["n"], found["total"]) == (5, 5)


def test_every_filter_is_a_metric_and_the_tools_files_are_kept(
    tasks: Path, data: Path, pocket_folder: Path, tmp_path: Path
) -> None:
    told: list[tuple[int, int, str]] = []
    files = {"copying": {"validation": data / "copying_validation.jsonl"}}
    given = settings(tasks=["copying"], include_path=tasks, data_dir=files, limit=2, domain=["copying"])
    samples = measure(given, pocket_folder, tmp_path / "out", lambda *now: told.append(now))
    assert told[-1] == (2, 2, "requests")
    assert [(m.name, m.role, m.headline) for m in opened(given).metrics] == [
        ("copying_exact_match_plain", "domain", True),
        ("copying_exact_match_first_word", "domain", False),
    ]
    assert all(m.binary and m.mean for m in opened(given).metrics)
    groups = (opened(settings(tasks=[group], include_path=tasks)) for group in ("pooled", "macro"))
    declared = {m.name: m.mean for group in groups for m in group.metrics}
    assert declared == {
        "pooled_acc": True,
        "pooled_acc_norm": True,
        "macro_acc_macro": False,
        "macro_acc_norm_macro": False,
    }
    assert [s.item for s in samples] == ["copying:0", "copying:1"] * 2
    theirs = printed(tmp_path / "out")["copying"]
    assert scores(samples).loc[("copying_exact_match_plain", "overall"), "value"] == theirs["exact_match,plain"]
    texts = [json.loads(line) for line in (tmp_path / "out" / "transcripts.jsonl").read_text().splitlines()]
    first = ROWS[0]
    assert texts[0]["question"] == first["query"]
    assert texts[0]["reference"] == first["choices"][first["gold"]]
    assert samples[0].length == len(texts[0]["answer"])
    export = tmp_path / "export"
    export.mkdir()
    (export / "cell").mkdir()
    (export / "cell" / "results_2001.json").write_text("{}")
    opened(given).export(export, "cell", tmp_path / "out")
    assert sorted(path.name.split("_")[0] for path in (export / "cell").iterdir()) == ["results", "samples"]


def test_pocket_choice_comes_with_us_and_the_chat_template_changes_it(pocket_folder: Path, tmp_path: Path) -> None:
    plain, chat = (
        measure(
            settings(tasks=["pocket_choice"], limit=20, num_fewshot=1, apply_chat_template=on),
            pocket_folder,
            tmp_path / f"{on}",
        )
        for on in (False, True)
    )
    assert len(plain) == len(chat) == 40
    texts = [(tmp_path / f"{on}" / "transcripts.jsonl").read_text() for on in (False, True)]
    assert "<|im_start|>" not in texts[0]
    assert "<|im_start|>" in texts[1]
    answers = {json.loads(line)["answer"] for line in texts[0].splitlines()}
    assert answers <= {str(c) for row in multiple_choice(200, 0) for c in list(row["choices"])}


def test_the_likelihood_of_the_right_answer_stands_beside_its_accuracy(pocket_folder: Path, tmp_path: Path) -> None:
    asked = settings(tasks=["pocket_choice"], limit=20, likelihood=True)
    metrics = {m.name: m for m in opened(asked).metrics}
    assert list(metrics) == ["pocket_choice_acc", "pocket_choice_acc_norm", "pocket_choice_gold_bits_per_byte"]
    metric = metrics["pocket_choice_gold_bits_per_byte"]
    assert (metric.unit, metric.direction, metric.headline, metric.binary) == ("bits per byte", "lower", False, False)
    found = {s.item: s.value for s in measure(asked, pocket_folder, tmp_path / "out") if s.metric == metric.name}
    (kept,) = (tmp_path / "out").rglob("samples_*.jsonl")
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    assert len(found) == len(rows) == 20
    for row in rows:
        right = row["arguments"][f"gen_args_{row['target']}"]["arg_1"]
        logprob = float(row["resps"][int(row["target"])][0][0])
        assert found[f"pocket_choice:{row['doc_id']}"] == pytest.approx(-logprob / np.log(2) / len(right.encode()))


def test_a_task_without_choices_has_no_likelihood(tasks: Path, data: Path) -> None:
    given = settings(tasks=["copying"], include_path=tasks, data_dir=data, likelihood=True)
    assert not [m.name for m in opened(given).metrics if m.name.endswith("bits_per_byte")]


def test_the_process_is_left_as_it_was(pocket_folder: Path, tmp_path: Path) -> None:
    import lm_eval  # noqa: F401 - what importing it does is not undone

    def state() -> list[Any]:
        numpy_state = np.random.get_state(legacy=True)
        return [
            dict(os.environ),
            random.getstate(),
            [str(part) for part in numpy_state],
            torch.get_rng_state().tolist(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            logging.getLogger().level,
            list(logging.getLogger().handlers),
        ]

    before = state()
    measure(settings(tasks=["pocket_choice"], limit=2), pocket_folder, tmp_path / "out")
    assert state() == before


def test_a_value_that_is_no_number_is_missing_and_the_others_are_scored() -> None:
    rows = [Sample("lm_eval", "t_acc", f"t:{k}", f"t:{k}", "t", 1, 0, v, s, 0) for k, (v, s) in enumerate(  # type: ignore[arg-type]
        [(1.0, "ok"), (None, "missing"), (0.0, "ok")]
    )]  # fmt: skip
    row = scores(rows).loc[("t_acc", "overall")]
    assert (row["value"], row["n"], row["total"]) == (0.5, 2, 3)
    none = scores(rows[1:2]).loc[("t_acc", "overall")]
    assert pd.isna(none["value"])
    assert (none["n"], none["total"]) == (0, 1)


PARTS = st.lists(st.lists(st.floats(0, 1, width=16), min_size=2, max_size=8), min_size=2, max_size=4)


@hypothesis.given(PARTS, st.booleans())
def test_a_groups_error_is_what_the_package_computes(parts: list[list[float]], macro: bool) -> None:
    from lm_eval.api import metrics as theirs

    rows = [
        Sample("lm_eval", "g_acc" + "_macro" * macro, f"{t}:{k}", f"{t}:{k}", f"t{t}", 1, 0, value, "ok", 0)
        for t, values in enumerate(parts)
        for k, value in enumerate(values)
    ]
    row = scores(rows).iloc[0]
    means, errors = [sum(v) / len(v) for v in parts], [theirs.mean_stderr(v) for v in parts]
    sizes = [len(values) for values in parts]
    expected = theirs.unweighted_mean_stderr(errors) if macro else theirs.pooled_sample_stderr(errors, sizes)
    assert row["value"] == pytest.approx(theirs.aggregate_subtask_metrics(means, sizes, not macro), rel=1e-12)
    assert row["stderr"] == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


def test_paths_are_no_identity_but_the_files_are_pinned(tasks: Path, data: Path) -> None:
    given = settings(tasks=["pooled"], include_path=tasks, data_dir=data)
    assert not {"include_path", "data_dir"} & set(identity(given))
    assert set(BENCHMARK.files(given)) == {
        "data:small:test",
        "data:large:test",
        *(f"task:{path.name}" for path in tasks.iterdir()),
    }


def test_faults(tasks: Path, data: Path, pocket_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="'b' of `domain` is not among `tasks`"):
        settings(tasks=["a"], domain=["b"])
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HarnessError, match=r"data of the task 'small' cannot be loaded(.|\n)*data_dir"):
        measure(settings(tasks=["small"], include_path=tasks), pocket_folder, tmp_path / "a")
    lacking = {"small": {"train": data / "small_test.jsonl"}}
    with pytest.raises(HarnessError, match="lacks its split 'test'"):
        measure(settings(tasks=["small"], include_path=tasks, data_dir=lacking), pocket_folder, tmp_path / "b")
    strange = {"smal": {"test": data / "small_test.jsonl"}}
    with pytest.raises(HarnessError, match="data for 'smal', which is no task that runs"):
        measure(settings(tasks=["small"], include_path=tasks, data_dir=strange), pocket_folder, tmp_path / "c")
    (tasks / "code.yaml").write_text(CHOICE.replace("NAME", "code") + "unsafe_code: true\n")
    moved = tasks.rename(tasks.with_name("again"))
    unsafe = {"code": {"test": data / "small_test.jsonl"}}
    with pytest.raises(HarnessError, match="'code' runs code that a model wrote"):
        measure(settings(tasks=["code"], include_path=moved, data_dir=unsafe), pocket_folder, tmp_path / "d")


def test_a_text_that_never_left_its_thinking_is_not_scored_and_endings_are_told(
    tasks: Path, data: Path, pocket_folder: Path, tmp_path: Path
) -> None:
    files = {"copying": {"validation": data / "copying_validation.jsonl"}}
    plain = settings(tasks=["copying"], include_path=tasks, data_dir=files, gen_kwargs={"max_gen_toks": 1, "until": []})
    samples = measure(plain, pocket_folder, tmp_path / "plain")
    assert {s.status for s in samples} == {"ok"}
    assert set(endings(tmp_path / "plain")) == {("copying:0", "cut"), ("copying:1", "cut"), ("copying:2", "cut")}
    told = plain.model_copy(update={"think_end_token": "</think>"})
    samples = measure(told, pocket_folder, tmp_path / "thinking")
    assert {(s.value, s.status) for s in samples} == {(None, "unfinished")}
    assert {ending for _, ending in endings(tmp_path / "thinking")} == {"unfinished"}
    assert scores(samples).loc[("copying_exact_match_plain", "overall"), ["n", "total"]].tolist() == [0, 3]


def endings(out: Path) -> list[tuple[str, str]]:
    rows = map(json.loads, (out / "transcripts.jsonl").read_text().splitlines())
    return [(row["item"], row["ending"]) for row in rows]


def test_repeats_are_clustered_draws_and_pass_at_k_stands_beside(
    tasks: Path, data: Path, pocket_folder: Path, tmp_path: Path
) -> None:
    files = {"copying": {"validation": data / "copying_validation.jsonl"}}
    sampled = {"do_sample": True, "temperature": 1.0, "max_gen_toks": 2}
    given = settings(
        tasks=["copying"], include_path=tasks, data_dir=files, gen_kwargs=sampled, repeats=3, pass_at=[1, 3]
    )
    samples = measure(given, pocket_folder, tmp_path / "out")
    plain = [s for s in samples if s.metric == "copying_exact_match_plain"]
    assert [(s.item, s.cluster, s.repeat) for s in plain] == [
        (f"copying:{doc}" + (f"#{repeat}" if repeat else ""), f"copying:{doc}", repeat)
        for repeat in range(3)
        for doc in range(3)
    ]
    answers = [json.loads(line)["answer"] for line in (tmp_path / "out" / "transcripts.jsonl").read_text().splitlines()]
    assert len(answers) == 9
    assert len(set(answers)) > 3, "each repeat is another draw"
    declared = {m.name: (m.headline, m.binary) for m in opened(given).metrics}
    assert declared["copying_exact_match_plain_pass_at_3"] == (False, False)
    assert {s.metric for s in samples} == set(declared)
    export = tmp_path / "export"
    export.mkdir()
    opened(given).export(export, "cell", tmp_path / "out")
    assert sorted(p.name for p in (export / "cell").iterdir() if p.is_dir()) == ["repeat_1", "repeat_2"]


@pytest.mark.parametrize(
    ("values", "k", "expected"),
    [
        ([1, 0, 0, 0], 1, 0.25),
        ([1, 0, 0, 0], 2, 0.5),
        ([1, 1, 0, 0], 2, 1 - 1 / 6),
        ([1, 1, 1, 0], 2, 1.0),
        ([0, 0, 0, 0], 4, 0.0),
        ([1, None, 0, None], 2, 1.0),
        ([1, None, None, None], 2, None),
    ],
)
def test_pass_at_k_by_hand(values: list[float | None], k: int, expected: float | None) -> None:
    rows = [
        Sample("lm_eval", "m", f"t:0#{r}", "t:0", "t", 1, r, value, "unfinished" if value is None else "ok", 1)
        for r, value in enumerate(values)
    ]
    (found,) = _passes(rows, k)
    assert (found.metric, found.item, found.repeat) == (f"m_pass_at_{k}", "t:0", 0)
    assert found.value == (expected if expected is None else pytest.approx(expected))
    assert found.status == ("unfinished" if expected is None else "ok")


def test_a_score_of_repeats_has_an_error_over_items_not_over_draws() -> None:
    rows = [
        Sample("lm_eval", "m", f"t:{item}#{r}", f"t:{item}", "t", 1, r, float(item % 2), "ok", 1)
        for item in range(4)
        for r in range(50)
    ]
    found = scores(rows).loc[("m", "overall")]
    assert (found["value"], found["n"], found["stderr"]) == (0.5, 200, pytest.approx(0.5 / 4**0.5))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"repeats": 2}, "all are the same"),
        ({"repeats": 2, "gen_kwargs": {"temperature": 0.6}, "pass_at": [3]}, "pass@3 needs"),
        ({"pass_at": [0]}, "pass@0 needs"),
    ],
)
def test_repeats_that_cannot_be(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(tasks=["copying"], **wrong)


def thinking(**more: Any) -> dict[str, Any]:
    return {"tasks": ["copying"], "apply_chat_template": True} | more


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"enable_thinking": True}, "needs `think_end_token`"),
        ({"enable_thinking": False, "apply_chat_template": False}, "needs `apply_chat_template: true`"),
        ({"think_end_token": "151668"}, "not the number of a token"),
    ],
)
def test_settings_of_thinking_that_cannot_be(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(**thinking(**wrong))


def test_settings_from_before_keep_their_identity() -> None:
    kept = identity(settings(tasks=["copying"]))
    assert not {"gen_kwargs", "enable_thinking", "think_end_token"} & kept.keys()
    assert identity(settings(tasks=["copying"], gen_kwargs={"max_gen_toks": 9}))["gen_kwargs"] == {"max_gen_toks": 9}
