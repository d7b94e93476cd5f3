"""A cell's model, taken away."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from tests.cli import recipes
from tests.cli.command import harness

CELL = "method=kd,seed=1"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a finished run of the tiny recipe."""
    folder = tmp_path_factory.mktemp("exported")
    done = harness("run", recipes.write(folder), "--results", folder / "results")
    assert done.returncode == 0, done.stderr
    return folder / "results"


def test_an_exported_cell_loads_and_gives_what_the_run_has(results: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    done = harness("export", "tiny", CELL, tmp_path / "student", "--results", results)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "student")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert model.config.hidden_size == 16
    assert AutoTokenizer.from_pretrained(tmp_path / "student").chat_template
    provenance = json.loads((tmp_path / "student/provenance.json").read_text())
    made = results / "store/artifacts" / provenance["stage"] / "model.safetensors"
    assert (tmp_path / "student/model.safetensors").read_bytes() == made.read_bytes()


def test_the_card_passes_the_hubs_parser_and_says_what_the_run_says(results: Path, tmp_path: Path) -> None:
    harness("export", "tiny", CELL, tmp_path / "student", "--results", results)
    card = ModelCard.load(tmp_path / "student/README.md")
    assert card.data.tags == ["distillation"]
    table = json.loads(harness("scores", "tiny", "--results", results, "--format", "json").stdout)
    scores = {row["metric"]: row["value"] for row in table if (row["cell"], row["category"]) == (CELL, "overall")}
    results_of_card = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert results_of_card == {name: pytest.approx(value, abs=1e-6) for name, value in scores.items()}
    for title in ("Made from", "Training", "Scores", "Against its baseline", "Warnings"):
        assert f"## {title}" in card.text
    assert "artifact:big" in card.text


def test_models_ls_names_the_cells(results: Path) -> None:
    rows = json.loads(harness("models", "ls", "--results", results, "--format", "json").stdout)
    assert {f"tiny {cell}" for cell in ("student", "teacher", CELL)} <= {row["cells"] for row in rows}


def test_best_is_the_cell_with_the_best_mean(results: Path, tmp_path: Path) -> None:
    table = json.loads(harness("scores", "tiny", "--results", results, "--format", "json").stdout)
    trained = [
        row for row in table if not row["baseline"] and (row["metric"], row["category"]) == ("general_score", "overall")
    ]
    done = harness("export", "tiny", "best", tmp_path / "m", "--metric", "general_score", "--results", results)
    assert done.returncode == 0, done.stderr
    chosen = json.loads((tmp_path / "m/provenance.json").read_text())["cell"]
    assert chosen == max(trained, key=lambda row: row["value"])["cell"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tiny", "method=dae", "m"), "no cell 'method=dae'"),
        (("tiny", "student", "."), "not empty"),
        (("tiny", "best", "m"), "--metric"),
        (("tiny", "best", "m", "--metric", "nothing"), "pocket.general_score"),
        (("other", "student", "m"), "no such run"),
    ],
)
def test_bad_words_are_one_clear_line(words: tuple[str, ...], said: str, results: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    done = harness("export", *words, "--results", results, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr


def test_weights_that_were_not_kept_are_told(tmp_path: Path) -> None:
    recipe = recipes.write(tmp_path, recipes.TINY + "keep: scores\n")
    assert harness("run", recipe, "--results", tmp_path / "results").returncode == 0
    done = harness("export", "tiny", CELL, tmp_path / "m", "--results", tmp_path / "results")
    assert done.returncode == 1
    assert "`keep`" in done.stderr
    assert not (tmp_path / "m").exists()
