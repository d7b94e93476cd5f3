"""`harness teachers` from end to end in the pocket world: ranked, then held against what students achieved."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.store.store import Store
from harness.teachers.api import all_scores
from tests.cli.command import executed, harness

RECIPE = """\
name: tiny-teachers
models:
  big:
    base: pocket:llama?layers=1&width=32&heads=2&seed=1
    data: {train: {pocket: {examples: 256, seed: 1}}}
    train: [{sft: {max_steps: 30, batch_size: 32, micro_batch_size: 32, learning_rate: 6e-3}}]
student: $student
teacher: $teacher
data: {prompts: {pocket: {examples: 24, seed: 2}}}
axes:
  teacher:
    - big: {model: "artifact:big", responses: {max_new_tokens: 8}}
    - best:
        model: artifact:big
        responses: {max_new_tokens: 8, temperature: 1.0, top_p: 0.9, candidates: 3, pick: best}
    - worst:
        model: artifact:big
        responses: {max_new_tokens: 8, temperature: 1.0, top_p: 0.9, candidates: 3, pick: worst}
  student:
    - one: pocket:llama?layers=1&width=16&heads=2&seed=2
    - two: pocket:llama?layers=1&width=16&heads=2&seed=3
train: [{sft: {data: teacher, max_steps: 3, batch_size: 8, micro_batch_size: 8, learning_rate: 1e-3}}]
baselines: [teacher]
evaluate: [{pocket: {questions: 16}}]
teachers: {reward: {program: true}, car: {beta: 1.0}}
"""


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The recipe's file after `rank`, and what it printed as JSON."""
    recipe = tmp_path_factory.mktemp("teachers") / "r.yaml"
    recipe.write_text(RECIPE)
    done = harness("teachers", "rank", recipe, "--results", recipe.parent / "results", "--format", "json")
    assert done.returncode == 0, done.stderr
    return recipe, json.loads(done.stdout)


def test_rank_trains_no_student_and_ranks_every_teacher(ranked: tuple[Path, Any]) -> None:
    recipe, rows = ranked
    board = pd.DataFrame(rows)
    assert set(board["student"]) == {"one", "two", "overall"}
    assert set(board["score"]) == set(all_scores())
    reward = board[(board["score"] == "reward") & (board["student"] == "one")].set_index("teacher")
    value = reward["value"].to_dict()
    assert value["best"] >= value["worst"], "each prompt's best is at least its worst"
    assert reward["n"].nunique() == 1
    assert 12 < reward["n"].iloc[0] <= 24, "the prompts that all three answered"
    store = Store(recipe.parent / "results/store")
    kinds = [store.record(p.name)["identity"]["kind"] for p in (recipe.parent / "results/store/artifacts").iterdir()]
    assert kinds.count("train") == 1, "the teacher alone"
    assert kinds.count("tokens") == kinds.count("score_teacher") == 6
    assert (recipe.parent / "results/runs/tiny-teachers/teachers.html").exists()


def test_a_program_values_each_candidate_and_the_pick_keeps_one_a_prompt(ranked: tuple[Path, Any]) -> None:
    store = ranked[0].parent / "results/store/artifacts"
    counts = [json.loads(path.read_text()) for path in store.glob("*/data.json")]
    rows = [count["rows"] for count in counts if {"rows", "kept", "failed"} <= count.keys()]
    assert sorted(rows)[-1] == 72, "three candidates for each of 24 prompts"
    assert len(rows) == 4, "greedy, the candidates, best and worst"
    assert all(c["kept"] + c["failed"] == c["rows"] for c in counts if "failed" in c)


def test_outcomes_are_wanted_before_validation(ranked: tuple[Path, Any]) -> None:
    done = harness("teachers", "validate", "tiny-teachers", "--results", ranked[0].parent / "results")
    assert done.returncode == 1
    assert "no student was trained on these teachers" in done.stderr
    assert "Traceback" not in done.stderr


def test_validate_holds_scores_against_students(ranked: tuple[Path, Any]) -> None:
    recipe = ranked[0]
    results = recipe.parent / "results"
    done = harness("run", recipe, "--results", results, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert (results / "runs/tiny-teachers/report.html").exists()
    again = harness("run", recipe, "--results", results)
    assert executed(again) == 0
    done = harness("teachers", "validate", "tiny-teachers", "--results", results, "--format", "csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(io.StringIO(done.stdout))
    assert set(table["outcome"]) == {"pocket.general_score", "pocket.domain_score"}
    assert {"car", "random", "size", "length", "strength", "reward", "leave_one_student_out"} <= set(table["score"])
    assert set(table["student"]) == {"one", "two", "mean"}
    spearman = table[(table["statistic"] == "spearman") & (table["score"] == "car") & (table["student"] == "one")]
    assert (spearman["n"] == 3).all()
    undefined = table["value"].isna()
    assert table.loc[undefined, "note"].notna().all(), "what is undefined says why"


def test_gaps_blanks_refusals_and_recorded_rewards_are_counted(tmp_path: Path) -> None:
    """Two recorded teachers: one misses a prompt and has a blank, a refusal, and a response without a reward."""
    asked = [("full", i) for i in range(6)] + [("gaps", i) for i in range(5)]
    rows: list[dict[str, Any]] = [
        {"id": f"p{i}", "teacher": who, "prompt": f"Say {i}.", "response": f"It is {i}.", "r": i} for who, i in asked
    ]
    rows[6] |= {"response": "  "}
    rows[7] |= {"response": "I'm sorry, but I can't."}
    rows[8] |= {"r": None}
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"""\
name: recorded
student: pocket:llama?layers=1&width=16&heads=2&seed=2
teacher: {{recorded: {{path: {data}, where: {{teacher: $teacher}}}}}}
axes: {{teacher: [full, gaps]}}
teachers: {{reward: {{recorded: {{path: {data}, column: r, on: id, where: {{teacher: $teacher}}}}}}}}
""")
    done = harness("run", recipe, "--results", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results/runs/recorded"
    assert not (folder / "report.html").exists(), "nothing was evaluated"
    counts = pd.read_csv(folder / "tables/teachers_counts.csv").set_index("teacher")
    gaps = counts.loc["gaps"]
    assert (gaps["prompts"], gaps["scored"], gaps["missing"], gaps["empty"]) == (6, 3, 1, 1)
    assert gaps["refused"] == 1
    assert counts.loc["full", "scored"] == 6
    board = pd.read_csv(folder / "tables/teachers_leaderboard.csv")
    own = board[(board["score"] == "reward") & (board["student"] != "overall")].set_index("teacher")["value"]
    assert own["full"] == own["gaps"] == (1 + 3 + 4) / 3, "on the three prompts that both have"
    assert executed(harness("run", recipe, "--results", tmp_path / "results")) == 0


def test_a_reward_model_that_is_none_is_told_by_its_key(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    given = "student: pocket:llama\nteacher: {recorded: {path: x.jsonl}}\nteachers: {reward: {model: 'artifact:rm'}}\n"
    recipe.write_text(given)
    done = harness("validate", recipe)
    assert done.returncode == 1
    assert "teachers.reward.model: no model 'rm' in models" in done.stderr


def test_a_recipe_without_teachers_is_told(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("student: pocket:llama\nevaluate: [{pocket: {}}]\n")
    done = harness("teachers", "rank", recipe, "--results", tmp_path / "results")
    assert done.returncode == 1
    assert "no `teachers` section" in done.stderr
