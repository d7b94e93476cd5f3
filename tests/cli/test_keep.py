"""`keep:` from end to end in the pocket world: weights go, scores and report stay, what is new brings weights back."""

import json
from pathlib import Path

import pandas as pd
import pytest

from harness.store.store import Store
from tests.cli import recipes
from tests.cli.command import executed, harness

HELD_OUT = [{"prompt": f"What is {n} plus {n}?", "response": f"{2 * n}"} for n in range(1, 9)]


class Runs:
    """One recipe in two results folders: with `keep: scores`, and with all kept."""

    def __init__(self, folder: Path) -> None:
        held_out = folder / "held_out.jsonl"
        held_out.write_text("".join(json.dumps(row) + "\n" for row in HELD_OUT))
        self.more = f"evaluate=[{{pocket: {{questions: 8}}}}, {{nll: {{sets: {{sums: {{path: {held_out}}}}}}}}}]"
        self.recipe, self.results = recipes.write(folder), folder / "results"

    def run(self, *sets: str, results: Path | None = None) -> tuple[int, str]:
        """How many stages it executed, and what it said."""
        words = ["axes.seed=[0]", "evaluate.0.pocket.questions=8", *sets]
        done = harness(
            "run", self.recipe, "--results", results or self.results, *(w for s in words for w in ("--set", s))
        )
        assert done.returncode == 0, done.stderr
        return executed(done), done.stderr

    def safetensors(self) -> set[str]:
        """Titles of the stages that have weights on disk."""
        store = Store(self.results / "store")
        found = {p.relative_to(store.artifacts).parts[0] for p in store.artifacts.rglob("*.safetensors")}
        return {store.record(stage)["provenance"]["title"] for stage in found}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    made = Runs(tmp_path_factory.mktemp("keep"))
    count, said = made.run("keep=scores")
    assert count > 10
    assert "keep: scores: removed the weights and tokens of 7 stages, " in said
    return made


def samples(results: Path) -> pd.DataFrame:
    found = pd.read_parquet(results / "runs/tiny/samples.parquet")
    return found.sort_values(["cell", "benchmark", "metric", "item", "turn"]).reset_index(drop=True)


def test_scores_and_report_are_there_and_no_weights(runs: Runs) -> None:
    assert runs.safetensors() == set()
    folder = runs.results / "runs/tiny"
    assert set(samples(runs.results)["cell"]) == {"method=sft,seed=0", "method=kd,seed=0", "student", "teacher"}
    assert (folder / "report.html").exists()
    assert len(json.loads((folder / "run.json").read_text())["training"]) == 2
    assert set(pd.read_parquet(folder / "curves.parquet")["cell"]) == {"method=sft,seed=0", "method=kd,seed=0"}


def test_the_store_is_in_order(runs: Runs) -> None:
    verified = harness("store", "verify", "--results", runs.results)
    assert verified.returncode == 0, verified.stderr
    assert ", 0 damaged" in verified.stderr
    assert "0 removed" in harness("store", "gc", "--yes", "--results", runs.results).stderr
    states = json.loads(harness("status", "tiny", "--results", runs.results, "--format", "json").stdout)
    assert {row["state"].split()[0] for row in states} == {"done"}


def test_a_second_run_executes_nothing(runs: Runs) -> None:
    page = runs.results / "runs/tiny/report.html"
    before = page.stat().st_mtime_ns
    count, said = runs.run("keep=scores")
    assert count == 0
    assert "0 to run" in said
    assert page.stat().st_mtime_ns == before
    assert runs.safetensors() == set()


def test_a_new_benchmark_makes_the_models_anew_and_scores_as_if_they_had_been_kept(runs: Runs, tmp_path: Path) -> None:
    was = samples(runs.results)
    count, said = runs.run("keep=scores", runs.more)
    # both base models and the tokens of either, the teacher, two students; each of the four is measured and scored
    assert count == 7 + 8, said
    assert "15 to run" in said
    assert runs.safetensors() == set()
    store = Store(runs.results / "store")
    changed = [again["changed"] for p in store.artifacts.iterdir() for again in store.record(p.name).get("rebuilt", [])]
    assert len(changed) == 7
    # a trained model's folder has a copy of the record, with its times, of the one that it was trained from
    assert {name for names in changed for name in names} <= {"model/artifact.json"}, "the weights are what they were"
    now = samples(runs.results)
    pd.testing.assert_frame_equal(now[now["benchmark"] == "pocket"].reset_index(drop=True), was)
    count, said = runs.run(runs.more, results=tmp_path)
    assert "keep:" not in said
    pd.testing.assert_frame_equal(now, samples(tmp_path))
    assert harness("store", "verify", "--results", runs.results).returncode == 0


def test_last_keeps_what_cells_end_in(runs: Runs) -> None:
    runs.run("keep=last", "data_seed=1", "name=last", "baselines=[student]")
    built = {f"build pocket:llama?layers=1&width={w}&heads=2&seed={s}" for w, s in ((16, 1), (32, 2))}
    assert runs.safetensors() == {"sft method=sft,seed=0", "kd method=kd,seed=0"} | built
