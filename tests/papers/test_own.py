"""A run beside the papers: what it adds, what its caption says, and what it lacks."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.report.load import RunData
from harness.report.measure import COVERAGE, Estimate
from harness.report.render_table import to_markdown
from harness_papers import own_teachers
from harness_papers.build import build
from harness_papers.catalogue import find
from harness_papers.layout import Quoted
from harness_papers.own import OwnRun, load_own
from tests.report.fake_run import PROGRAM_METRIC, Fake
from tests.report.fake_teachers import teachers

MAIN, RADAR = "teacher_million_main", "teacher_million_radar_by_eye"
FIGURE2, TABLE6, TABLE4 = "stronger_teachers_figure2", "stronger_teachers_table6", "stronger_teachers_table4"
AXES = {"teacher": ("large", "small"), "student": ("base-a", "base-b")}


def own(folder: Path, **fake: Any) -> OwnRun:
    settings: dict[str, Any] = {"axes": AXES, "seeds": 2}
    [run] = load_own([Fake(**(settings | fake)).write(folder)])
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> OwnRun:
    return own(tmp_path_factory.mktemp("run"))


def test_cells_stand_below_the_models_with_their_intervals(run: OwnRun) -> None:
    [table] = find(MAIN).tables([find(MAIN).of_run(run)])
    assert len(table.rows) == 16 + 2 + 4
    assert table.rules == (16,)
    row = next(r for r in table.rows if r[0] == "large · base-a")
    assert row[2] == "run pocket-teachers"
    score = row[3]
    assert isinstance(score, Estimate)
    assert score.low is not None
    assert score.total == 40 * 2 * 2
    frame = table.frame()
    assert set(frame.loc[frame["origin"] == "run", "source"]) == {"run pocket-teachers"}


def test_the_caption_says_how_the_run_differs(run: OwnRun) -> None:
    notes = " ".join(find(MAIN).of_run(run).notes)
    assert "taught by large, small" in notes
    assert "MT-Bench judged by a-judge-model (rating, not calibrated)" in notes
    assert "every sample scored" in notes
    assert "2 seeds" in notes
    assert "benchmark `pocket`" in notes
    assert "Mixtral-8x7B-Instruct" in notes


def test_short_answers_and_parts_of_a_benchmark_are_told(run: OwnRun) -> None:
    text = "student: path:a\nteacher: {model: path:b}\nevaluate:\n- mt_bench: {max_new_tokens: 256, questions: 8}\n"
    other = OwnRun(run.folder, replace(run.data, recipe=text, axes={}))
    notes = " ".join(find(MAIN).of_run(other).notes)
    assert "models path:a taught by path:b" in notes
    assert "answers of at most 256 tokens (1024 in the benchmark), only questions: 8" in notes


def test_refused_samples_are_marked_and_counted(tmp_path: Path) -> None:
    short = own(tmp_path, lost={"student": 7})
    [table] = find(MAIN).tables([find(MAIN).of_run(short)])
    assert "at worst 73/80 samples scored" in " ".join(table.notes)
    assert "†" in to_markdown(table)


def test_categories_of_mt_bench_share_the_radar(run: OwnRun) -> None:
    [table] = find(RADAR).tables([find(RADAR).of_run(run)])
    row = next(r for r in table.rows if r[0] == "student (run pocket-teachers)")
    assert all(isinstance(entry, Estimate) for entry in row[1:9])


def test_generators_by_base_in_a_table_of_their_own(run: OwnRun) -> None:
    paper, mine = find(FIGURE2).tables([find(FIGURE2).of_run(run)])
    assert len(paper.rows) == 19
    assert [row[0] for row in mine.rows] == ["large", "small"]
    titles = [c.title for c in mine.columns[1:]]
    assert [t.split(",")[0] for t in titles] == ["base-a"] * 2 + ["base-b"] * 2
    assert all(isinstance(entry, Estimate) for row in mine.rows for entry in row[1:])


def test_a_generator_of_the_paper_shares_its_row(tmp_path: Path) -> None:
    mine = own(tmp_path, axes={"teacher": ("Gemma-2-9b", "small")})
    [table] = find(FIGURE2).tables([find(FIGURE2).of_run(mine)])
    assert len(table.rows) == 20
    shared = next(row for row in table.rows if row[0] == "Gemma-2-9b")
    assert isinstance(shared[1], Quoted)
    assert isinstance(shared[6], Estimate)


def with_alpaca_and_arena(run: OwnRun) -> OwnRun:
    names = {"general": ("alpaca_eval", "length_controlled_win_rate"), "domain": ("arena_hard", "win_rate")}

    def renamed(frame: pd.DataFrame) -> pd.DataFrame:
        kept = frame[frame["metric"].isin(list(names))].copy()
        kept["benchmark"] = kept["metric"].map({k: b for k, (b, _) in names.items()})
        kept["metric"] = kept["metric"].map({k: m for k, (_, m) in names.items()})
        return kept

    metrics = tuple(replace(PROGRAM_METRIC, benchmark=b, metric=m) for b, m in names.values())
    data = replace(run.data, metrics=metrics, samples=renamed(run.data.samples), scores=renamed(run.data.scores))
    return OwnRun(run.folder, data)


def test_average_performance_of_a_run_is_of_both_parts(run: OwnRun) -> None:
    mine = with_alpaca_and_arena(run)
    averages = find(FIGURE2).of_run(mine)
    parts = find(TABLE6).of_run(mine)
    assert len(averages.columns) == 2
    assert len(parts.columns) == 2 * 3
    for base in AXES["student"]:
        [ap] = [c for c in averages.columns if c.startswith(base)]
        entry = averages.entries["large", ap]
        mine_of_base = [e for (t, c), e in parts.entries.items() if t == "large" and c.startswith(base)]
        scores = [e.value for e in mine_of_base if isinstance(e, Estimate) and e.value is not None]
        assert isinstance(entry, Estimate)
        assert scores[-1] == entry.value == pytest.approx(sum(scores[:2]) / 2)
        assert entry.low is None
        assert entry.total == 2 * 60 * 2


def test_an_average_of_refused_samples_is_marked_too(run: OwnRun) -> None:
    mine = with_alpaca_and_arena(run)
    scores = mine.data.scores.assign(n=mine.data.scores["n"] - 3)
    short = OwnRun(run.folder, replace(mine.data, scores=scores))
    entries = find(FIGURE2).of_run(short).entries.values()
    assert {mark for e in entries if isinstance(e, Estimate) for mark in e.marks} >= {COVERAGE}


@pytest.mark.parametrize("name", [FIGURE2, TABLE6])
def test_a_run_without_teachers_lacks_that_axis(tmp_path: Path, name: str) -> None:
    mine = own(tmp_path, axes={"method": ("sft", "kd")})
    with pytest.raises(HarnessError, match="lacks an axis `teacher`; its axes: method, seed"):
        find(name).of_run(mine)


@pytest.mark.parametrize("name", [TABLE4, "stronger_teachers_larger_models", "rsr_baselines"])
def test_a_run_without_teacher_scores_is_told(run: OwnRun, name: str) -> None:
    with pytest.raises(HarnessError, match=f"nothing for {name}: this run has no teacher scores"):
        find(name).of_run(run)


def test_no_run_adds_to_a_table_of_facts(run: OwnRun) -> None:
    with pytest.raises(HarnessError, match="no run adds to stronger_teachers_table1"):
        find("stronger_teachers_table1").of_run(run)


def test_a_run_that_fits_nowhere_is_an_error(run: OwnRun, tmp_path: Path) -> None:
    empty = OwnRun(run.folder, replace(run.data, metrics=()))
    with pytest.raises(HarnessError, match=r"something for no table: .*its benchmarks: none"):
        build([], tmp_path, [empty])
    with pytest.raises(HarnessError, match="no scores of mt_bench, alpaca_eval, pocket"):
        build([MAIN], tmp_path, [empty])
    assert not list(tmp_path.iterdir())


def test_two_runs_of_one_name_are_refused(run: OwnRun) -> None:
    with pytest.raises(HarnessError, match="2 runs are named pocket-teachers"):
        load_own([run.folder, run.folder])


def test_build_puts_a_run_where_it_fits_and_says_where_not(
    run: OwnRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness_papers.build.ITEMS", {name: find(name) for name in (MAIN, FIGURE2, TABLE4)})
    built = build([], tmp_path, [run])
    assert any("stronger_teachers_table4: this run has no teacher scores" in line for line in built.left_out)
    page = (tmp_path / "README.md").read_text()
    assert "Beside them: run pocket-teachers." in page
    assert (tmp_path / "tables" / f"{FIGURE2}_run-pocket-teachers.csv").exists()
    assert (tmp_path / "figures" / f"{FIGURE2}_run_0.svg").exists()


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OwnRun:
    data = teachers()
    monkeypatch.setattr(own_teachers, "load_teachers", lambda folder: data)
    assert isinstance(data.run, RunData)
    return OwnRun(tmp_path, data.run)


def rows_of(table: Any) -> Mapping[str, Any]:
    return {row[0]: row for row in table.rows}


def test_scores_share_the_rows_of_table_4(taught: OwnRun) -> None:
    [table] = find(TABLE4).tables([find(TABLE4).of_run(taught)])
    car = rows_of(table)["CAR"]
    assert car[1].text == "0.8842"
    assert isinstance(car[7], Estimate)
    assert car[7].total == 8
    assert "Teacher size" not in rows_of(table)


def test_baselines_of_a_run_stand_beside_the_derived_ones(taught: OwnRun) -> None:
    name = "stronger_teachers_baselines"
    [table] = find(name).tables([find(name).of_run(taught)])
    others = rows_of(table)["Its other students"]
    assert others[1].text.startswith("0.9246*")
    assert isinstance(others[7], Estimate)


def test_families_of_a_run_stand_below(taught: OwnRun) -> None:
    name = "stronger_teachers_larger_models"
    [table] = find(name).tables([find(name).of_run(taught)])
    mine = [row for row in table.rows if str(row[5]).startswith("run ")]
    assert {row[1] for row in mine} >= {"llama", "qwen", "gemma"}
    assert all(isinstance(row[6], Estimate) for row in mine)
