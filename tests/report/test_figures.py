"""Colours, lines and what is drawn where: what keeps a figure of many rows readable."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.axis_figures import along_axis, crowded, tradeoff
from harness.report.expert_figures import MOST_MAPS, expert_drawings, expert_map, shares
from harness.report.figures import drawings
from harness.report.groups import Group, group_cells
from harness.report.load import RunData, load_run
from harness.report.measure import Measures
from harness.report.palette import lines_along, numbers, palette, telling_axis
from harness.report.style import COLOURS
from harness.report.training_figures import training_drawings
from tests.report.full_run import full_run


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    return load_run(full_run(tmp_path_factory.mktemp("full")))


def rows(*axes: tuple[str, tuple[str, ...]]) -> list[Group]:
    """A row per point of the product."""
    found: list[tuple[tuple[str, str], ...]] = [()]
    for axis, labels in axes:
        found = [(*point, (axis, label)) for point in found for label in labels]
    return [Group(str(k), point, ()) for k, point in enumerate(found)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_every_row_has_a_look_and_every_look_a_name(sizes: list[int]) -> None:
    groups = rows(*((f"axis{k}", tuple(f"label{n}" for n in range(size))) for k, size in enumerate(sizes)))
    key = palette(groups)
    assert set(key.looks) == {g.name for g in groups}
    assert {look for _, look in key.legend} == set(key.looks.values())
    assert len({look for _, look in key.legend}) == len(key.legend)
    assert sum(len(key.rows_of(look, groups)) for _, look in key.legend) == len(groups)
    assert (key.axis == "") == (len(groups) <= len(COLOURS))


def test_many_rows_are_coloured_by_an_axis_of_names() -> None:
    ratio = ("ratio", ("0", "0.1", "0.5"))
    assert telling_axis(rows(ratio, ("method", ("sft", "kd")))) == "method"
    assert telling_axis(rows(ratio, ("teacher", tuple("abcdefgh")))) == "ratio"
    assert telling_axis(rows(("teacher", tuple("abcdefgh")), ("other", tuple("abcdefghi")))) == "teacher"
    assert telling_axis(rows(("one", ("a",)))) == ""


def test_many_baselines_are_drawn_alike() -> None:
    fixed = [Group(f"b{k}", (), (), baseline=True) for k in range(5)]
    for few in (3, 5):
        key = palette(fixed[:few])
        assert len(set(key.looks.values())) == (3 if few == 3 else 1)
        assert [title for title, _ in key.legend] == (["b0", "b1", "b2"] if few == 3 else ["baselines"])


def test_labels_are_numbers_only_together() -> None:
    assert numbers(("0", "0.05", "1e-3")) == [0, 0.05, 0.001]
    assert numbers(("0", "none")) is None
    assert numbers(("1",)) is None


def test_a_line_joins_rows_that_differ_only_along_the_axis(mixtures: RunData) -> None:
    lines = lines_along(group_cells(mixtures), "domain_ratio")
    assert [line.title for line, _ in lines] == ["dense", "2 experts"]
    assert [dict(g.labels)["domain_ratio"] for g in lines[0][1]] == ["0", "0.05", "0.1", "0.25", "0.5"]


def test_numbers_stand_at_their_place_with_their_labels(mixtures: RunData) -> None:
    metric = next(m for m in mixtures.metrics if m.role == "domain")
    axes = along_axis(mixtures, Measures(mixtures), metric, "domain_ratio", group_cells(mixtures)).axes[0]
    assert axes.get_xticks().tolist() == [0, 0.05, 0.1, 0.25, 0.5]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "0.05", "0.1", "0.25", "0.5"]


def test_labels_of_very_different_size_stand_on_a_logarithm(fake_run: ModuleType, tmp_path: Path) -> None:
    for labels, scale in (((0.001, 0.01, 0.1), "log"), ((0, 0.001, 0.1), "symlog"), ((1, 2, 8), "linear")):
        fake = fake_run.Fake(questions=4, tasks=4, seeds=1, axes={"beta": labels})
        run = load_run(fake.write(tmp_path / scale))
        axes = along_axis(run, Measures(run), run.metrics[0], "beta", group_cells(run)).axes[0]
        assert axes.get_xscale() == scale


def test_the_trade_off_has_a_line_per_architecture_and_a_name_per_ratio(mixtures: RunData) -> None:
    general, domain = (next(m for m in mixtures.metrics if m.role == r) for r in ("general", "domain"))
    names = [d.name for d in drawings(mixtures, Measures(mixtures)) if d.section == "tradeoff"]
    assert f"tradeoff_mt_bench_score_pocket_{domain.metric}_along_domain_ratio" in names
    drawn = tradeoff(mixtures, Measures(mixtures), (general, domain), "domain_ratio", group_cells(mixtures))
    axes = drawn.axes[0]
    assert "(general)" in axes.get_xlabel()
    assert "(domain)" in axes.get_ylabel()
    texts = [t.get_text() for t in axes.texts]
    assert [texts.count(label) for label in ("0", "0.05", "0.1", "0.25", "0.5")] == [2] * 5
    assert {t.get_text() for t in drawn.legends[0].get_texts()} == {"dense", "2 experts", "student", "teacher"}


def test_many_lines_are_thin_with_a_mean_per_colour(fake_run: ModuleType, tmp_path: Path) -> None:
    axes = {"domain_ratio": (0, 0.1, 0.5), "method": ("sft", "kd"), "teacher": tuple("abcd")}
    run = load_run(fake_run.Fake(questions=4, tasks=4, seeds=1, axes=axes).write(tmp_path))
    groups, measures = group_cells(run), Measures(run)
    assert crowded(groups, "domain_ratio") == "teacher"
    drawn = along_axis(run, measures, run.metrics[0], "domain_ratio", groups).axes[0]
    thick = [np.asarray(line.get_ydata(), dtype=float) for line in drawn.lines if line.get_linewidth() == 2]
    assert len(thick) == 4
    estimates = {g.name: measures.estimate(g, run.metrics[0]) for g in groups}
    first = [estimates[f"domain_ratio=0,method={m},teacher=a"] for m in ("sft", "kd")]
    assert thick[0][0] == pytest.approx(np.mean([e.value for e in first if e and e.value is not None]))
    general, domain = (next(m for m in run.metrics if m.role == r) for r in ("general", "domain"))
    texts = [t.get_text() for t in tradeoff(run, measures, (general, domain), "domain_ratio", groups).axes[0].texts]
    assert texts.count("0.5") == 4, "means alone are named"


def test_forty_best_of_many_rows_are_drawn(fake_run: ModuleType, tmp_path: Path) -> None:
    fake = fake_run.Fake(questions=2, tasks=2, seeds=1, axes={"teacher": [f"t{k}" for k in range(50)]})
    run = load_run(fake.write(tmp_path))
    drawing = next(d for d in drawings(run, Measures(run)) if d.section == "scores")
    assert "40 best" in drawing.caption
    assert len(drawing.draw().axes[0].get_yticks()) == 42


def test_training_curves_are_small_multiples_on_a_shared_scale(mixtures: RunData) -> None:
    found = {d.name: d for d in training_drawings(mixtures, group_cells(mixtures))}
    assert list(found)[:3] == [f"training_1-sft_{m}" for m in ("loss", "loss-general", "loss-domain")]
    assert not any("grad" in name for name in found)
    axes = [found[f"training_1-sft_{m}"].draw().axes[0] for m in ("loss", "loss-domain", "held_out_loss")]
    assert axes[0].get_ylim() == axes[1].get_ylim() != axes[2].get_ylim()
    assert len([line for line in axes[0].lines if line.get_linewidth() == 1.8]) == 2, "a mean per architecture"
    assert "by architecture" in found["training_1-sft_loss"].caption


def test_a_long_curve_is_averaged_and_seeds_are_one_line(mixtures: RunData) -> None:
    group = group_cells(mixtures)[2]
    axes = next(iter(training_drawings(mixtures, [group]))).draw().axes[0]
    (line,) = axes.lines[:1]
    shown = np.asarray(line.get_ydata(), dtype=float)
    assert len(shown) == 50, "100 steps in runs of two"
    curves = mixtures.curves[mixtures.curves["metric"] == "loss"]
    mine = curves[curves["cell"].isin([c.cell for c in group.cells]) & (curves["step"] <= 2)]
    assert shown[0] == pytest.approx(mine["value"].mean())


def test_an_experts_share_is_the_mean_over_layers_and_seeds(mixtures: RunData) -> None:
    cells = [c.cell for c in group_cells(mixtures)[2].cells]
    frame = mixtures.experts[mixtures.experts["cell"].isin(cells)]
    table = shares(frame)
    mine = frame[(frame["category"] == "math") & (frame["expert"] == 1)]
    share = float(table[1].to_dict()["math"])
    assert share == pytest.approx(mine["share"].mean())
    assert table.sum(axis="columns").to_numpy() == pytest.approx(1)
    assert f"{100 * share:.0f}" in {t.get_text() for t in expert_map(table, "title").axes[0].texts}
    maps = [d for d in drawings(mixtures, Measures(mixtures)) if d.section == "experts"]
    assert len(maps) == 10 < MOST_MAPS


def test_no_map_where_every_token_visits_every_expert(mixtures: RunData) -> None:
    groups = group_cells(mixtures)
    assert list(expert_drawings(mixtures, groups))
    even = replace(mixtures, experts=mixtures.experts.assign(share=0.5))
    assert list(expert_drawings(even, groups)) == []
