import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from harness.report.browser import browser_data, safe_json
from harness.report.figures import drawings
from harness.report.groups import group_cells
from harness.report.load import load_run
from harness.report.measure import Measures
from harness.report.palette import palette
from harness.report.run_page import render
from harness.report.style import figure, legend_below, save


@pytest.fixture(scope="module")
def out(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(run_folder, tmp_path_factory.mktemp("out")).parent


def test_writes_page_markdown_tables_and_figures(out: Path) -> None:
    assert (out / "report.html").exists()
    assert (out / "report.md").exists()
    names = {p.name for p in (out / "tables").iterdir()}
    assert {"scores.csv", "scores.tex", "comparisons.csv", "comparisons_method.tex", "training.csv"} <= names
    figures = {p.name for p in (out / "figures").iterdir()}
    assert {"scores_mt_bench_score.svg", "axis_method_pocket_domain.pdf", "radar_mt_bench_score.png"} <= figures
    assert "tradeoff_mt_bench_score_pocket_domain.svg" in figures
    assert "training_1-sft_loss.svg" in figures


def test_the_page_loads_nothing_and_runs_only_its_own_script(out: Path) -> None:
    page = (out / "report.html").read_text()
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert f"script-src &#39;sha256-{digest}&#39;" in policy[1]
    assert "default-src &#39;none&#39;" in policy[1]
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', page)
    assert "url(http" not in page


def test_the_page_says_what_a_reader_must_know(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert "Does a larger teacher make a better student" in page
    assert "is not calibrated" in page
    assert "240/240" in page
    assert "0123456789abcdef0123456789abcdef01234567" in page
    text = (out / "report.md").read_text()
    assert "is not calibrated" in text
    assert "![MT-Bench: mean and 95 % interval" in text
    assert "figures/scores_mt_bench_score.svg" in text


@pytest.mark.usefixtures("every_format")
def test_the_same_run_gives_the_same_bytes(run_folder: Path, out: Path, tmp_path: Path) -> None:
    again = render(run_folder, tmp_path).parent
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        assert (again / path.relative_to(out)).read_bytes() == path.read_bytes(), path.name


def test_figures_are_svg_with_text_and_one_colour_per_cell(out: Path, run_folder: Path) -> None:
    run = load_run(run_folder)
    style = palette(group_cells(run)).looks
    kd = style["teacher=large,method=kd"].colour.lower()
    for name in ("scores_mt_bench_score", "axis_method_pocket_general", "radar_mt_bench_score", "training_1-sft_loss"):
        text = (out / "figures" / f"{name}.svg").read_text()
        ElementTree.fromstring(text)
        assert "<text" in text
        assert kd in text
        assert "<dc:date>" not in text
        assert "prefers-color-scheme: dark" in text
    assert len({look.colour for name, look in style.items() if "=" in name}) == 4


def test_a_label_with_markup_or_dollars_is_drawn_as_it_is(run_folder: Path, tmp_path: Path) -> None:
    run = load_run(run_folder)
    cells = tuple(replace(c, labels={**c.labels, "teacher": "<b>$^{$"}) if not c.baseline else c for c in run.cells)
    changed = replace(run, cells=cells, axes={**run.axes, "teacher": ("<b>$^{$",)})
    drawing = next(d for d in drawings(changed, Measures(changed)) if d.section == "scores")
    svg = save(drawing.draw, drawing.name, tmp_path)
    assert "&lt;b&gt;$^{$" in svg
    assert "<b>" not in svg


def test_drawing_touches_no_global_state() -> None:
    code = "import harness.report.run_page, sys; print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_json_for_a_page_cannot_end_its_element() -> None:
    value = {"x": "</script><!--<script>&\u2028"}
    text = safe_json(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_browser_data_has_every_turn_and_cuts_long_texts(run_folder: Path) -> None:
    run = load_run(run_folder)
    data = browser_data(run)
    assert len(data["items"]) == 40 * 2 + 2 * 60
    assert len(data["items"][0]["a"]) == 14
    assert data["cut"] is None
    assert [c["title"] for c in data["cells"]][:3] == ["student", "teacher", "large · sft · seed 0"]
    cut = browser_data(run, limit=250_000)
    assert cut["cut"] is not None
    assert len(safe_json(cut)) < len(safe_json(data))
    assert "more characters" in cut["items"][0]["q"]


def test_the_page_says_when_texts_are_cut(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.browser.LIMIT_BYTES", 250_000)
    page = render(run_folder, tmp_path).read_text()
    assert "are cut here to keep the page small" in page


def test_a_bare_run_still_gives_a_report(fake_run: ModuleType, tmp_path: Path) -> None:
    fake = fake_run.Fake(questions=3, tasks=2, seeds=1, record={"judges": (), "description": ""})
    folder = fake.write(tmp_path / "run")
    for name in ("curves.parquet", "transcripts.parquet", "recipe.yaml"):
        (folder / name).unlink()
    page = render(folder, tmp_path / "out").read_text()
    assert "This run has no transcripts." in page
    assert "One seed: every interval is over questions only." in page


def test_a_run_where_everything_failed_gives_a_report_that_says_so(fake_run: ModuleType, tmp_path: Path) -> None:
    names = [c.cell for c in fake_run.Fake().cells if not c.baseline]
    fake = fake_run.Fake(questions=3, tasks=2, failed=dict.fromkeys(names, "train: out of memory"))
    page = render(fake.write(tmp_path / "run"), tmp_path / "out").read_text()
    assert page.count("failed: train: out of memory") == len(names)
    assert "not scored" in page


def seeds_only(fake: Any) -> None:
    fake.cells = [replace(c, labels={"seed": c.labels["seed"]}) for c in fake.cells if not c.baseline][:3]
    fake.record = {"axes": {"seed": ("0", "1", "2")}}


def one_cell(fake: Any) -> None:
    fake.cells = [replace(fake.cells[0], baseline=False)]
    fake.record = {"axes": {}, "training": ()}


def baselines_only(fake: Any) -> None:
    fake.cells = fake.cells[:2]
    fake.record = {"axes": {}, "training": ()}


@pytest.mark.parametrize(
    ("change", "says"),
    [(seeds_only, "all seeds | 5.48"), (one_cell, "1 cell."), (baselines_only, "No sweep: student, teacher.")],
)
def test_runs_without_a_full_sweep(
    fake_run: ModuleType, tmp_path: Path, change: Callable[[Any], None], says: str
) -> None:
    fake = fake_run.Fake(questions=8, tasks=6)
    change(fake)
    page = render(fake.write(tmp_path / "run"), tmp_path / "out")
    assert says in page.with_name("report.md").read_text()


def test_a_run_without_a_single_sample_gives_a_report(fake_run: ModuleType, tmp_path: Path) -> None:
    folder = fake_run.Fake(questions=8, tasks=6).write(tmp_path / "run")
    for name in ("samples", "scores", "transcripts", "curves"):
        columns = pd.read_parquet(folder / f"{name}.parquet").columns
        pd.DataFrame(columns=columns).to_parquet(folder / f"{name}.parquet")
    assert "not scored" in render(folder, tmp_path / "out").read_text()


def test_a_figure_grows_with_its_legend() -> None:
    """Forty entries need 14 rows in three columns; six rows fit a figure as it is."""

    heights = {}
    for entries in (4, 12, 40):
        drawn, axes = figure(4.3, 3.6)
        for k in range(entries):
            axes.plot([], [], label=f"row {k}")
        legend_below(drawn)
        heights[entries] = drawn.get_size_inches()[1]
    assert heights[4] == heights[12] == 3.6
    assert heights[40] == pytest.approx(3.6 + 8 * 0.23)
