import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from harness.core.errors import HarnessError
from harness.record.run import as_json
from harness.record.teachers import TeacherRecord, TeachersRecord
from harness.report.render_table import to_csv, to_latex, to_markdown
from harness.report.teacher_facts import warnings
from harness.report.teacher_figures import drawings, short
from harness.report.teacher_page import is_trained, render
from harness.report.teacher_reversals import reversals_table
from harness.report.teacher_tables import _size, board_tables, counts_table, crossings_table, file_name, scores_table
from harness.report.teachers import TeacherData, load_teachers, validation
from harness.teachers.settings import TeachersSettings
from tests.report.fake_teachers import NAMES, teachers


@pytest.fixture(scope="module")
def data() -> TeacherData:
    return teachers()


@pytest.fixture(scope="module")
def out(data: TeacherData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(data, tmp_path_factory.mktemp("out")).parent


@pytest.fixture(scope="module")
def tiny() -> TeacherData:
    """Worked out by hand: on three prompts a has reward 2 and loss 1, b has 4 and 3; CAR 1 each at beta 1."""
    rows = [("a", 2.0, 1.0), ("b", 4.0, 3.0)]
    parts = pd.DataFrame(
        [
            {"student": "base", "teacher": t, "id": f"p{k}", "status": "ok", "cut": False, "refusal": False}
            | {"reward.0": r, "car.0": r, "car.1": loss, "loss.0": loss}
            for t, r, loss in rows
            for k in range(3)
        ]
    )
    about = pd.DataFrame(
        {"teacher": ["a", "b"], "family": "", "size_b": np.nan, "strength": np.nan, "cost_usd": np.nan}
    )
    settings = TeachersSettings.model_validate(
        {"reward": {"program": True}, "car": {"beta": 3.0, "sweep": (0.0, 1.0, 3.0)}}
    )
    return TeacherData("tiny", settings, parts, (), about.assign(response_seconds=np.nan), None)


def test_writes_page_markdown_tables_and_figures(out: Path) -> None:
    assert (out / "teachers.html").exists()
    tables = {p.name for p in (out / "tables").iterdir()}
    assert {"teachers_leaderboard.csv", "teachers_validation.csv", "teachers_counts.tex"} <= tables
    assert {"teachers_board_0_small.csv", "teachers_board_2_overall.tex", "teachers_sweep.csv"} <= tables
    assert {"teachers_validation_pocket.general_mean.csv", "teachers_paradox_pocket.general.tex"} <= tables
    figures = {p.name for p in (out / "figures").iterdir()}
    assert {"teachers_car_0.svg", "teachers_ranks_2.pdf", "teachers_beta_1.png"} <= figures
    assert {"teachers_validation_pocket.general.svg", "teachers_strength_pocket.general_1.svg"} <= figures
    assert "teachers_beta_2.svg" not in figures, "there is no CAR over all bases"


def test_a_leaderboard_is_the_leaderboard(data: TeacherData) -> None:
    for table in board_tables(data):
        shown = table.frame().set_index("teacher")
        student = list(dict.fromkeys(data.board["student"]))[int(table.name.split("_")[2])]
        car = data.board[(data.board["student"] == student) & (data.board["score"] == "car")].set_index("teacher")
        assert list(shown.index) == list(car.index)
        for column in ("rank", "first"):
            np.testing.assert_array_equal(shown[column], car[column])
        for column, part in (("car", "value"), ("car_low", "low"), ("car_high", "high"), ("car_n", "n")):
            np.testing.assert_array_equal(shown[column], car[part])
        loss = data.board[(data.board["student"] == student) & (data.board["score"] == "loss")].set_index("teacher")
        np.testing.assert_array_equal(shown["loss"], loss["value"].reindex(shown.index))


def test_resampled_prompts_reach_the_validation(data: TeacherData) -> None:
    found = validation(data)
    loss = found[(found["score"] == "loss") & (found["statistic"] == "spearman") & (found["student"] != "mean")]
    assert len(loss) == 2
    assert (loss["prompt_low"] < loss["prompt_high"]).all()
    assert loss["value"].between(loss["prompt_low"], loss["prompt_high"]).all()


def test_the_board_says_what_a_teachers_responses_took_and_cost(data: TeacherData) -> None:
    shown = board_tables(data)[0].frame().set_index("teacher")
    about = data.about.set_index("teacher").loc[list(shown.index)]
    np.testing.assert_allclose(shown["response_seconds"].astype(float), about["response_seconds"])
    costs = shown["cost_usd"].replace("–", np.nan).astype(float)
    np.testing.assert_allclose(costs, about["cost_usd"])


def test_the_first_leaderboard_as_text(tiny: TeacherData) -> None:
    text = to_markdown(board_tables(tiny)[0]).replace("\\", "").splitlines()[:4]
    assert text == [
        "| teacher | rank (95 % interval) | CAR (reward ↑) | P(CAR 1st) (of resamples) "
        "| Loss (nats/token ↓) | Reward (reward ↑) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| a | 1 [1, 1] | 0.50 [0.50, 0.50] 3/3 | 100 % | 1.00 (1) | 2.00 (2) |",
        "| b | 2 [2, 2] | 0.40 [0.40, 0.40] 3/3 | 0 % | 3.00 (2) | 4.00 (1) |",
    ]


def test_where_two_teachers_swap(tiny: TeacherData) -> None:
    assert tiny.sweep is not None
    assert crossings_table(tiny.sweep, (0.0, 3.0)).frame().to_dict("records") == [
        {"student": "base", "beta": pytest.approx(1.0), "before": "b", "after": "a", "swept": "yes"}
    ]
    assert crossings_table(tiny.sweep, (2.0, 3.0)).frame()["swept"].tolist() == ["no"]


def test_a_teacher_without_a_score_has_no_rank_and_no_zero(data: TeacherData, tmp_path: Path) -> None:
    parts = data.parts.copy()
    parts.loc[parts["teacher"] == NAMES[0], "status"] = "no room"
    lost = TeacherData(data.name, data.settings, parts, data.pairs, data.about, None)
    table = board_tables(lost)[0]
    row = dict(zip((c.key for c in table.columns), table.rows[-1], strict=True))
    assert (row["teacher"], row["rank"].text, row["rank"].value) == (NAMES[0], "–", None)  # type: ignore[union-attr]
    assert row["car"].value is None  # type: ignore[union-attr]
    assert f"small: no CAR, hence no rank, for {NAMES[0]}." in warnings(lost, trained=False)
    assert render(lost, tmp_path).exists()


def test_warnings_name_what_is_missing(data: TeacherData) -> None:
    said = " ".join(warnings(data, trained=True))
    assert "small, wide: teachers are compared on 57 of 60 prompts" in said
    for what in ("have no response: gemma-7b 2", "an empty response: gemma-7b 1", "refused, and count as any response"):
        assert what in said
    assert "cut short and is scored up to there: gemma-7b 1" in said
    assert "Nothing was trained" not in said
    assert "own strength" not in said


def test_strength_is_not_an_outcome_and_few_prompts_are_few() -> None:
    settings = TeachersSettings.model_validate({"reward": {"strength": True}})
    said = " ".join(warnings(teachers(trained=False, settings=settings, prompts=20), trained=False))
    assert "not an outcome" in said
    assert "Nothing was trained" in said
    assert "fewer than 50 prompts" in said


def test_counts_add_up(data: TeacherData) -> None:
    frame = counts_table(data).frame()
    assert (frame["prompts"] == frame[["scored", "missing", "empty", "other"]].sum(axis=1)).all()
    last = frame[frame["teacher"] == "gemma-7b"].iloc[0]
    assert (last["missing"], last["empty"], last["cut"], last["refused"], last["common"]) == (2, 1, 1, 1, 57)


def test_every_score_is_explained_with_its_source(data: TeacherData) -> None:
    frame = scores_table(data).frame()
    assert frame["score"].tolist() == ["CAR ↑", "Response length ↑", "Loss ↓", "Reward ↑"]
    assert (frame["source"].str.contains("arXiv 2411.07133")).all()
    assert (frame["what it is"].str.len() > 20).all()
    assert r"$\uparrow$" in to_latex(scores_table(data))


def test_validation_shows_what_validation_found(data: TeacherData, out: Path) -> None:
    found = validation(data)
    mean = found[(found["student"] == "mean") & (found["statistic"] == "spearman")].set_index("score")
    shown = pd.read_csv(out / "tables" / "teachers_validation_pocket.general_mean.csv")
    assert shown["kind"].tolist() == ["score"] * 2 + ["baseline"] * 6
    by_title = shown.set_index("score")
    for name, title in (("car", "CAR"), ("loss", "Loss"), ("strength", "Own strength")):
        assert by_title.loc[title, "spearman"] == pytest.approx(mean.loc[name, "value"])
        assert by_title.loc[title, "spearman_n"] == 8
    assert by_title.loc["Loss", "spearman_low"] == pytest.approx(mean.loc["loss", "low"])


def test_the_page_says_that_nothing_was_trained(tmp_path: Path) -> None:
    untrained = teachers(trained=False)
    assert not is_trained(untrained)
    page = render(untrained, tmp_path).read_text()
    assert "Nothing was trained on these responses" in page
    assert 'id="validation"' not in page
    assert not (tmp_path / "tables" / "teachers_validation.csv").exists()


def test_without_a_reward_there_is_no_car(tmp_path: Path) -> None:
    plain = teachers(trained=False, settings=TeachersSettings())
    parts = plain.parts.drop(columns=["car.0", "car.1", "reward.0"])
    page = render(TeacherData("plain", plain.settings, parts, (), plain.about, None), tmp_path).read_text()
    assert "There is no reward, so no CAR" in page
    assert 'id="beta"' not in page
    assert "by Response length" in page


@pytest.mark.parametrize(
    ("names", "prompts", "car"),
    [
        (NAMES[:1], 5, {}),
        (NAMES[:2], 4, {"beta": 0.0, "sweep": (0.0,)}),
        (NAMES[:3], 4, {"shift": 100.0, "beta": 1e6}),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")
def test_few_teachers_few_prompts_odd_betas(
    names: tuple[str, ...], prompts: int, car: dict[str, object], tmp_path: Path
) -> None:
    settings = TeachersSettings.model_validate({"reward": {"program": True}, "car": car})
    page = render(teachers(names=names, students=["s"], prompts=prompts, settings=settings), tmp_path).read_text()
    assert "fewer than 50 prompts" in page
    visible = re.sub(r"<(style|script|svg)[ >].*?</\1>", "", page, flags=re.DOTALL)
    assert not re.search(r"\bnan\b|\binf\b", visible, re.IGNORECASE)


def test_an_outcome_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    settings = TeachersSettings.model_validate({"reward": {"program": True}, "outcomes": ("pocket.nothing",)})
    with pytest.raises(HarnessError, match=r"no such metric: pocket\.nothing"):
        render(teachers(settings=settings), tmp_path)


@pytest.mark.usefixtures("every_format")
def test_figures_are_the_same_bytes_every_time_and_well_formed(data: TeacherData, out: Path, tmp_path: Path) -> None:
    again = render(data, tmp_path).parent
    for path in (out / "figures").iterdir():
        assert path.read_bytes() == (again / "figures" / path.name).read_bytes(), path.name
        if path.suffix == ".svg":
            ElementTree.parse(path)
    assert (out / "teachers.html").read_bytes() == (again / "teachers.html").read_bytes()


def test_every_teacher_is_named_in_the_scatter(data: TeacherData, out: Path) -> None:
    text = (out / "figures" / "teachers_car_0.svg").read_text()
    assert all(f">{name}</text>" in text for name in NAMES)
    assert ">CAR 1.25</text>" in text or ">CAR 1.5</text>" in text


def test_one_drawing_has_one_name(data: TeacherData) -> None:
    names = [d.name for d in drawings(data, validation(data))]
    assert len(names) == len(set(names)) > 8


def test_sizes_have_units_that_fit() -> None:
    texts = [_size(b).text for b in (405.0, 0.135, 0.0123, 0.0000065, None)]
    assert texts == ["405 B", "135 M", "12.3 M", "6.5 k", "–"]


def test_names_become_file_names_and_short_ones() -> None:
    assert file_name("a", "../../etc/pass wd") == "a_etc-pass-wd"
    assert len(short("x" * 900)) == 30
    assert short("one\ntwo\x00\u202ethree") == "one two three"


def test_a_run_folder_is_read_as_what_was_written(data: TeacherData, tmp_path: Path) -> None:
    run = tmp_path / "fake-teachers"
    run.mkdir()
    data.parts.to_parquet(run / "teacher_parts.parquet", index=False)
    about = data.about.assign(baseline=None).astype(object)
    about = about.where(about.notna(), None)
    known = tuple(TeacherRecord(**{str(key): value for key, value in row.items()}) for row in about.to_dict("records"))
    record = TeachersRecord(data.settings, data.pairs, known, ())
    (run / "teachers.json").write_text(json.dumps(as_json(record)))
    read = load_teachers(run)
    assert (read.name, read.settings, read.pairs, read.run) == (data.name, data.settings, data.pairs, None)
    pd.testing.assert_frame_equal(read.parts, data.parts)
    pd.testing.assert_frame_equal(read.about[list(data.about.columns)], data.about, check_dtype=False)


class _Tags(HTMLParser):
    """Which elements and handlers a page has."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.handlers, self.images = 0, 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.images += tag == "img"
        self.handlers += sum(name.startswith("on") for name, _ in attrs)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    bad = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>'
    page = render(teachers(names=[*NAMES[:3], f"evil{bad}"], students=[f"base{bad}", "b"], trained=False), tmp_path)
    tags = _Tags()
    tags.feed(page.read_text())
    assert (tags.scripts, tags.images, tags.handlers) == (2, 0, 0)
    assert "<script>alert" not in (tmp_path / "teachers.md").read_text()
    for path in (tmp_path / "figures").glob("*.svg"):
        ElementTree.parse(path)


def test_settings_are_there_to_read(data: TeacherData, out: Path) -> None:
    page = (out / "teachers.html").read_text()
    assert json.dumps("beta").replace('"', "&#34;") in page
    assert "torch 2.13.0" in page
    assert to_csv(counts_table(data)).startswith("student,teacher,prompts")


def test_a_stronger_teacher_with_worse_students_is_found_or_said_not_to_be() -> None:
    """Outcomes rise by 10 a teacher: with strength in the same order there is no such case, in the other there are."""
    data = teachers()
    assert data.run is not None
    ladder = [10.0 * k + 0.1 * seed for _ in range(2) for k in range(len(NAMES)) for seed in (0, 1)]
    data = replace(data, run=replace(data.run, scores=data.run.scores.assign(value=ladder)))
    table = reversals_table(data, ("pocket", "general"), "t")
    assert table.rows == ()
    assert "in none of them: no such case was found" in table.notes[0]
    turned = replace(data, about=data.about.assign(strength=data.about["strength"].to_numpy()[::-1]))
    table = reversals_table(turned, ("pocket", "general"), "t")
    assert f"in {len(table.rows)} of them" in table.notes[0]
    first = table.frame().iloc[0]
    assert (first["stronger"], first["weaker"]) == (NAMES[0], NAMES[-1])
    assert first["strength"] > first["weaker_strength"]
    assert first["difference"] == pytest.approx(10 * (len(NAMES) - 1))
    assert first["p_holm"] < 0.05
