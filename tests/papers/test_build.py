"""Every table and figure of both papers, as files; a run beside them."""

import re
from pathlib import Path

import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness_papers import checks, published
from harness_papers.build import build
from harness_papers.catalogue import ITEMS, find


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    build([], folder)
    return folder


def test_every_published_table_is_there() -> None:
    assert set(published.TABLES) <= set(ITEMS)
    assert {"stronger_teachers_figure2", "stronger_teachers_baselines", "checks"} <= set(ITEMS)


def test_a_misspelt_name_is_told() -> None:
    with pytest.raises(HarnessError, match="no table or figure 'stronger_teachers_table5'"):
        find("stronger_teachers_table5")


def test_every_table_is_written_in_three_notations(out: Path) -> None:
    for name in ITEMS:
        for suffix in ("md", "csv", "tex"):
            assert (out / "tables" / f"{name}.{suffix}").stat().st_size > 0
    tex = (out / "tables" / "stronger_teachers_table4.tex").read_text()
    assert r"\toprule" in tex
    assert "0.9439" in tex


def test_the_page_shows_what_lies_beside_it(out: Path) -> None:
    page = (out / "README.md").read_text()
    images = re.findall(r"\]\((figures/[^)]+)\)", page)
    assert len(images) == sum(item.draw is not None for item in ITEMS.values())
    assert all((out / image).exists() for image in images)
    assert all(f"`{name}`" in page for name in ITEMS if name != checks.NAME)


def test_numbers_keep_their_origin(out: Path) -> None:
    origins = {
        name: set(pd.read_csv(out / "tables" / f"{name}.csv").get("origin", pd.Series(dtype=str)).dropna())
        for name in ITEMS
    }
    assert origins["teacher_million_main"] == {"published"}
    assert origins["teacher_million_radar_by_eye"] == {"by eye"}
    assert origins["stronger_teachers_figure2"] == {"derived"}
    assert origins["stronger_teachers_baselines"] == {"published", "derived"}
    assert not any("run" in found for found in origins.values())


def test_csv_holds_every_printed_number(out: Path) -> None:
    lines = pd.read_csv(out / "tables" / "stronger_teachers_table6.csv")
    printed = published.table("stronger_teachers_table6").set_index(["generator", "base"])
    assert len(lines) == printed.size == 285
    short = {"WR": "ae2_wr", "LC": "ae2_lc", "Arena-Hard": "arena_hard_wr"}
    for line in lines.to_dict("records"):
        base, _, metric = line["column"].rpartition(" ")
        assert printed.loc[(line["generator"], base), short[metric]] == line["value"]


def test_the_checks_page_names_what_disagrees(out: Path) -> None:
    page = (out / "checks.md").read_text()
    assert "15 of 15 to the printed digits" in page
    assert "mean of the five correlations: 9 of 9 to the printed digits" in page
    assert "1 of 45 does not agree (Llama-3.1-Minitron-4B, ifd_self: 0.8555 and 0.85614)" in page
    assert "1 of 45 to one unit of the last digit (Qwen2-1.5B, ppl_gpt2: 0.1473 and 0.14737)" in page
    assert "1 of 1 does not agree (DeepSeek-R1, Qwen2.5-7B: 47.3 and 47.8)" in page
    assert "5 of 5 within the reading's 0.1" in page
    assert "mean |Spearman| of RSR, .86" in page.replace("\\", "")


def test_the_same_bytes_twice(out: Path, tmp_path: Path) -> None:
    build(["stronger_teachers_table4", "teacher_million_main"], tmp_path)
    for name in ("figures/stronger_teachers_table4.svg", "tables/teacher_million_main.tex"):
        assert (out / name).read_bytes() == (tmp_path / name).read_bytes()
    assert not (tmp_path / "checks.md").exists()


def test_committed_tables_are_up_to_date(out: Path) -> None:
    committed = Path(__file__).parents[2] / "reports/papers"
    for name in ITEMS:
        for suffix in ("md", "csv", "tex"):
            file = f"tables/{name}.{suffix}"
            assert (committed / file).read_text() == (out / file).read_text(), f"run `harness paper build` ({file})"
    assert (committed / "README.md").read_text() == (out / "README.md").read_text()


def test_figures_tell_origins_apart(out: Path) -> None:
    """Open markers have an edge and no fill; a published one is filled."""
    derived = (out / "figures" / "stronger_teachers_figure2.svg").read_text()
    as_printed = (out / "figures" / "stronger_teachers_table4.svg").read_text()
    assert "fill-opacity: 0; stroke: #0072b2" in derived
    assert "fill-opacity: 0; stroke: #0072b2" not in as_printed
