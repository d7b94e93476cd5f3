"""Tables of what a run's data, experts and costs were; each is there only where the run says so."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from harness.report.costs import cost_table
from harness.report.data_facts import contamination_table, contamination_warnings, mix_table
from harness.report.experts import router_table
from harness.report.facts import training_table
from harness.report.groups import group_cells
from harness.report.load import load_run
from harness.report.numbers import duration, si
from harness.report.run_page import render
from harness.report.tables import Shown
from tests.report.full_run import full_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_run(tmp_path_factory.mktemp("run"))


def test_a_mix_is_counted_by_examples_and_by_tokens(folder: Path) -> None:
    table = mix_table(load_run(folder))
    assert table is not None
    assert [(c.title, c.unit) for c in table.columns[4:]] == [
        ("general", "% of examples"), ("shop", "% of examples"), ("general", "% of tokens"), ("shop", "% of tokens"),
    ]  # fmt: skip
    shown = [e.text for e in table.rows[0] if isinstance(e, Shown)]
    assert shown == ["800", "61,240", "75.0", "25.0", "50.0", "50.0"]
    assert len(table.rows) == 20


def test_leaked_prompts_are_warned_of_and_clean_data_are_not(folder: Path) -> None:
    run = load_run(folder)
    table = contamination_table(run)
    assert table is not None
    assert [row[-1] for row in table.rows] == ["mt-81 in row train-7", ""]
    (warning,) = contamination_warnings(run)
    assert "data train contains prompts of MT-Bench: of 16, 1 word for word and 2 by n-grams" in warning


def test_what_was_chosen_stands_beside_what_it_was_chosen_from(folder: Path, tmp_path: Path) -> None:
    plain = training_table(load_run(folder))
    assert plain is not None
    assert "chosen" not in [c.key for c in plain.columns]
    again = full_run(tmp_path)
    record = json.loads((again / "run.json").read_text())
    tried = [{"learning_rate": 1e-5, "held_out_loss": 0.95}, {"learning_rate": 3e-5, "held_out_loss": 0.9123}]
    record["training"][0] |= {"chosen": {"learning_rate": 3e-5}, "candidates": tried}
    (again / "run.json").write_text(json.dumps(record))
    table = training_table(load_run(again))
    assert table is not None
    assert table.rows[0][-1] == "learning_rate 3e-05 (1e-05: 0.95, 3e-05: 0.9123)"
    assert {row[-1] for row in table.rows[1:]} == {"–"}


def test_costs_leave_out_what_nothing_is_known_of(folder: Path, tmp_path: Path) -> None:
    table = cost_table(load_run(folder))
    assert table is not None
    texts = {c.key: e.text for c, e in zip(table.columns, table.rows[0], strict=True) if isinstance(e, Shown)}
    assert texts == {
        "train_flops": "250 T", "training_seconds": "1 min 2 s", "answering_seconds": "8 s", "judging_seconds": "4 s",
        "seconds": "1 min 14 s", "judge_calls": "32", "judge_tokens": "48,000", "price_usd": "0.42",
    }  # fmt: skip
    again = full_run(tmp_path)
    record = json.loads((again / "run.json").read_text())
    for cost in record["costs"]:
        cost |= {"judge_calls": 0, "judge_tokens": 0, "price_usd": None}
    record["training"] = [{k: v for k, v in row.items() if k != "train_flops"} for row in record["training"]]
    (again / "run.json").write_text(json.dumps(record))
    table = cost_table(load_run(again))
    assert table is not None
    assert [c.key for c in table.columns] == [
        "cell", "training_seconds", "answering_seconds", "judging_seconds", "seconds",
    ]  # fmt: skip


def test_router_entropy_is_told_beside_the_most_it_could_be(folder: Path) -> None:
    run = load_run(folder)
    table = router_table(run, group_cells(run))
    assert table is not None
    row = table.frame().iloc[0]
    mine = run.experts[run.experts["cell"].isin([c.cell for c in group_cells(run)[2].cells])]
    assert row["entropy"] == pytest.approx(mine["entropy"].mean())
    assert row["even"] == pytest.approx(1.386, abs=1e-3)
    assert row["lowest"] <= row["entropy"] <= row["even"]
    assert 25 < 100 * row["busiest"] < 100


def test_a_row_over_all_categories_is_what_the_routers_table_uses(folder: Path, tmp_path: Path) -> None:
    again = full_run(tmp_path)
    frame = pd.read_parquet(again / "experts.parquet")
    whole = frame.drop_duplicates(["cell", "benchmark", "layer", "expert"]).assign(category="overall", entropy=0.5)
    pd.concat([frame, whole]).to_parquet(again / "experts.parquet")
    run = load_run(again)
    table = router_table(run, group_cells(run))
    assert table is not None
    assert set(table.frame()["entropy"]) == {0.5}


def test_a_run_without_them_has_no_such_tables(run_folder: Path) -> None:
    run = load_run(run_folder)
    assert mix_table(run) is contamination_table(run) is cost_table(run) is router_table(run, group_cells(run)) is None
    assert contamination_warnings(run) == []


def test_the_page_and_the_markdown_show_them(folder: Path, tmp_path: Path) -> None:
    page = render(folder, tmp_path)
    html, text = page.read_text(), page.with_name("report.md").read_text()
    for title in ("Training data that contains benchmark prompts", "Router entropy", "Cost of each cell"):
        assert title in html
        assert f"## {title}" in text
    assert html.count("contains prompts of MT-Bench") == 1
    assert {"mixes.csv", "contamination.tex", "router.csv", "costs.csv"} <= {
        p.name for p in (tmp_path / "tables").iterdir()
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "–"), (7.0, "7"), (1500.0, "1.5 k"), (2.5e14, "250 T"), (3.1e21, "3.1 Z"), (1e26, "100 Y")],
)
def test_large_numbers_have_a_prefix(value: float, text: str) -> None:
    assert si(value) == text


def test_time_in_words() -> None:
    assert [duration(s) for s in (0, 59.6, 812.4, 7260)] == ["0 s", "1 min 0 s", "13 min 32 s", "2 h 1 min"]


HARD: dict[str, dict[str, Any]] = {
    "missing cells": {"failed": {"domain_ratio=0,architecture=dense,seed=0": "train: out of memory"}},
    "one seed": {"seeds": 1},
}


@pytest.mark.parametrize("name", HARD)
def test_a_broken_sweep_still_gives_a_small_page(name: str, tmp_path: Path) -> None:
    page = render(full_run(tmp_path / "run", **HARD[name]), tmp_path / "out")
    assert page.stat().st_size < 20_000_000
    if name == "missing cells":
        assert "failed: train: out of memory" in page.read_text()


def test_scores_without_any_variance_give_a_report(fake_run: ModuleType, tmp_path: Path) -> None:
    folder = fake_run.Fake(questions=4, tasks=4).write(tmp_path / "run")
    for name in ("samples", "scores"):
        table = pd.read_parquet(folder / f"{name}.parquet")
        value = table["benchmark"].map({"mt_bench": 1.0, "pocket": 100.0})
        table.assign(value=value, stderr=0.0).to_parquet(folder / f"{name}.parquet")
    text = render(folder, tmp_path / "out").with_name("report.md").read_text()
    assert "better" not in text.split("## Scores")[1].split("## Figures")[0].replace("lower is better", "")


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 5])
def test_two_hundred_cells_give_a_small_page(fake_run: ModuleType, tmp_path: Path, seeds: int) -> None:
    axes = {
        "domain_ratio": (0, 0.1, 0.25, 0.5),
        "method": ("sft", "kd"),
        "teacher": [f"t{k}" for k in range(25 // seeds)],
    }
    fake = fake_run.Fake(questions=8, tasks=8, seeds=seeds, axes=axes)
    assert len(fake.cells) == 202
    page = render(fake.write(tmp_path / "run"), tmp_path / "out")
    assert page.stat().st_size < 20_000_000


@pytest.mark.slow
def test_ten_thousand_samples_give_a_small_page(fake_run: ModuleType, tmp_path: Path) -> None:
    folder = fake_run.Fake(questions=700, tasks=150, seeds=1).write(tmp_path / "run")
    assert len(pd.read_parquet(folder / "samples.parquet")) >= 10_000
    assert render(folder, tmp_path / "out").stat().st_size < 20_000_000
