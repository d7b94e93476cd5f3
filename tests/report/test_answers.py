"""The page says first, in words, what the recipe asked and what it did not ask."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.report.answers import Answers, anchor, answers, axes_asked, knees
from harness.report.comparisons import axis_comparisons, comparisons
from harness.report.load import RunData, load_run
from harness.report.measure import Measures
from harness.report.run_page import render
from tests.report.fake_run import Fake

RECIPE = """\
student: {model: "pocket:small", architecture: $shape}
teacher: {model: $from}
train: [{dae: {expert: artifact:x, ratio: $share}}]
seed: $seed
"""
AXES = {"from": ("large", "small"), "share": (0, 0.1, 0.5), "shape": ("dense", "moe")}


def a_run(folder: Path, axes: Mapping[str, Sequence[str | float]], recipe: str = RECIPE) -> RunData:
    return replace(load_run(Fake(axes=axes, questions=40, tasks=200).write(folder)), recipe=recipe)


def said(run: RunData) -> Answers:
    measures = Measures(run)
    return answers(run, measures, comparisons(run, measures), axis_comparisons(run, measures))


def test_an_axis_asks_by_where_its_name_stands(tmp_path: Path) -> None:
    run = a_run(tmp_path, AXES)
    assert axes_asked(run) == {"teacher": "from", "ratio": "share", "architecture": "shape"}
    assert axes_asked(replace(run, recipe="")) == {}
    assert axes_asked(replace(run, recipe="teacher: {model: $seed}")) == {}, "replicates ask nothing"


def test_each_question_has_its_sentences_and_its_table(tmp_path: Path) -> None:
    run = a_run(tmp_path, AXES)
    teacher, share, shape, real = said(run).given
    assert [a.part for a in (teacher, share, shape, real)] == ["axes", "axes", "axes", "comparisons"]
    assert all("large has the best mean" in sentence for sentence in teacher.sentences)
    assert share.sentences[0].startswith("pocket domain: 90 % of what domain data bring")
    assert "reached at 0.5 (95 % over questions: 0 to 0.5)" in share.sentences[0], "these rows know no domain"
    assert any("MT-Bench at 0.5 against 0: " in sentence for sentence in share.sentences)
    assert any("moe against dense" in sentence for sentence in shape.sentences)
    assert "not asked here" in shape.sentences[-1]
    tests = len(comparisons(run, Measures(run)))
    assert f"of {tests} tests show a difference" in real.sentences[0]
    assert not said(run).not_asked


def test_a_mean_leaves_out_what_another_teacher_was_not_tried_with(tmp_path: Path) -> None:
    run = a_run(tmp_path, {"from": ("large", "small"), "share": ("0", "0.5")}, "teacher: $from")
    fewer = replace(
        run, cells=tuple(c for c in run.cells if (c.labels.get("from"), c.labels.get("share")) != ("small", "0.5"))
    )
    alone = replace(run, cells=tuple(c for c in run.cells if c.labels.get("share") in (None, "0")))
    best = [said(of).given[0].sentences[0].partition(")")[0] for of in (run, fewer, alone)]
    assert best[1] == best[2] != best[0]


def test_the_best_teacher_is_shown_where_the_tests_of_all_pairs_show_it(tmp_path: Path) -> None:
    run = a_run(tmp_path, {"from": ("large", "small")}, "teacher: $from")
    assert "shown better than small in 1 of 1" in said(run).given[0].sentences[0]
    (tested,) = (c for c in axis_comparisons(run, Measures(run))["from"] if c.metric.benchmark == "mt_bench")
    assert tested.verdict == "worse", "with two labels it is the test of the table: small against large"
    alike = a_run(tmp_path / "alike", {"from": ("one", "other")}, "teacher: $from")
    assert "no test shows it better than another, of 1" in said(alike).given[0].sentences[0]


def test_the_knee_of_a_sweep_where_the_domain_gains_with_its_data(tmp_path: Path) -> None:
    axes = {"domain_ratio": (0, 0.05, 0.1, 0.25, 0.5)}
    run = a_run(tmp_path, axes, "train: [{dae: {ratio: $domain_ratio}}]")
    (knee, *prices), _ = (answer.sentences for answer in said(run).given)
    assert "at 0.5) is reached at 0.5 (95 % over questions: 0.25 to 0.5)" in knee
    assert [price.partition(" at ")[0] for price in prices] == ["MT-Bench", "pocket general"]


def test_what_was_not_asked_is_said(tmp_path: Path) -> None:
    found = said(a_run(tmp_path, {"method": ("sft", "kd")}, "train: $method"))
    assert [answer.question for answer in found.given] == ["Is a difference real?"]
    assert len(found.not_asked) == 3


def test_many_labels_are_left_to_the_table(tmp_path: Path) -> None:
    names = tuple(f"t{k}" for k in range(9))
    sentences = said(a_run(tmp_path, {"from": names}, "teacher: $from")).given[0].sentences
    assert all("too many to test all against each other" in sentence for sentence in sentences)


def test_the_knee_is_the_first_share_with_most_of_the_gain() -> None:
    gains = np.array([[0, 5, 9, 10], [0, 9.5, 9, 10], [0, -1, -2, -3], [0, 0, 0, 0], [0, 1, 0.5, 0]])
    assert knees(gains).tolist() == [2, 1, 0, 0, 1]


def test_both_pages_say_it_first_and_link_to_the_tables(tmp_path: Path) -> None:
    folder = Fake(axes=AXES, seeds=2).write(tmp_path / "<b>run")
    (folder / "recipe.yaml").write_text(RECIPE)
    page = render(folder, tmp_path / "out").read_text()
    assert page.index('id="answers"') < page.index('id="scores"')
    assert '<a href="#axes" aria-label="The table: What from changes, against large">table</a>' in page
    text = (tmp_path / "out/report.md").read_text()
    assert text.index("## In words") < text.index("## Scores")
    assert f"([table](#{anchor('What from changes, against large')}))" in text
    assert "## What from changes, against large" in text


@pytest.mark.parametrize(
    ("title", "id_"), [("What a b changes, against 0.1", "what-a-b-changes-against-01"), ("Every cell", "every-cell")]
)
def test_a_headings_id(title: str, id_: str) -> None:
    assert anchor(title) == id_
