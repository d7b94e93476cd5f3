"""AlpacaEval's win rates against the package and the leaderboard it carries."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from typer.testing import CliRunner

from harness.bench.alpaca_eval import files, package
from harness.bench.alpaca_eval.length_control import GAMED_WEIGHT, STAND_IN, contributions, read_reference, refit
from harness.bench.alpaca_eval.scores import controlled_samples, pair_samples, score_files, scores, second_annotations
from harness.bench.api import samples_frame
from harness.cli.score import app
from harness.core.errors import HarnessError
from harness.record.run import CellRecord
from harness.report.groups import single
from harness.report.measure import Measures
from harness.stats.intervals import mean_interval
from harness.stats.spread import Rows
from tests.report.fake_run import PROGRAM_METRIC, a_run
from tests.worlds import alpaca_eval as worlds

pytestmark = pytest.mark.usefixtures("one_package_process")
BOARD = "leaderboards/data_AlpacaEval_2/weighted_alpaca_eval_gpt4_turbo_leaderboard.csv"
Row = dict[str, Any]


def leaderboard() -> dict[str, dict[str, str]]:
    with package.package_file(BOARD).open(encoding="utf-8") as file:
        return {row[""]: row for row in csv.DictReader(file)}


def scored(*paths: Path, reference: Path | None = None) -> dict[tuple[str, str], Row]:
    table = score_files(paths, reference)
    overall = table[table["category"] == "overall"]
    return {(row["model"], row["metric"]): row for row in overall.to_dict("records")}  # type: ignore[misc]


@pytest.fixture(scope="module")
def published() -> dict[tuple[str, str], Row]:
    if not worlds.PUBLISHED.is_dir():
        pytest.skip("the published verdicts are not beside the project (../shared/data); made-up ones stand for them")
    world = worlds.published()
    return scored(world.compact, world.annotations)


def test_win_rates_are_the_leaderboards(published: dict[tuple[str, str], Row]) -> None:
    board = leaderboard()
    models = {model for model, _ in published}
    assert len(models) == 27
    for model in models:
        row, theirs = published[model, "win_rate"], board[model]
        assert row["value"] == pytest.approx(float(theirs["win_rate"]), abs=1e-6), model
        assert row["stderr"] == pytest.approx(float(theirs["standard_error"]), abs=1e-6), model
        assert (row["n"], row["total"]) == (int(theirs["n_total"]), 805)
        assert not row["approximate"]


def test_the_stand_in_is_near_the_leaderboard_and_says_that_it_is_one(published: dict[tuple[str, str], Row]) -> None:
    board = leaderboard()
    models = sorted({model for model, _ in published})
    ours = [published[m, "length_controlled_win_rate"] for m in models]
    theirs = [float(board[m]["length_controlled_winrate"]) for m in models]
    values = [row["value"] for row in ours]
    assert np.abs(np.subtract(values, theirs)).mean() <= 1.0
    assert spearmanr(values, theirs).statistic >= 0.995
    assert all(row["approximate"] for row in ours)
    assert all(0.5 < row["stderr"] < 2.5 for row in ours if row["model"] != "gpt4_1106_preview")


def test_a_table_of_many_models_is_scored_as_the_package_scores_their_annotations(tmp_path: Path) -> None:
    """The made-up leaderboard: from lengths and from texts, and by hand the mean and error of `preference - 1`."""
    world = worlds.made_up(tmp_path / "data")
    compact, texts = scored(world.compact), scored(world.annotations)
    assert {model for model, _ in compact} == set(worlds.MODELS)
    for model in worlds.MODELS:
        annotations = [worlds.annotation(model, k) for k in range(80)]
        theirs = package.metrics(annotations, STAND_IN)
        won = pd.Series([row["preference"] - 1 for row in annotations])
        wins, controlled = compact[model, "win_rate"], compact[model, "length_controlled_win_rate"]
        assert wins["value"] == pytest.approx(100 * won.mean(), abs=1e-9)
        assert wins["value"] == pytest.approx(theirs["win_rate"], abs=1e-6)
        assert wins["stderr"] == pytest.approx(100 * won.std() / 80**0.5, abs=1e-9)
        assert wins["stderr"] == pytest.approx(theirs["standard_error"], abs=1e-6)
        assert (wins["n"], wins["total"], bool(wins["approximate"])) == (80, 805, False)
        assert controlled["value"] == pytest.approx(theirs["length_controlled_winrate"], abs=1e-6)
        assert controlled["approximate"]
    for metric in ("win_rate", "length_controlled_win_rate"):
        for number in ("value", "stderr"):
            assert compact["kestrel", metric][number] == pytest.approx(texts["kestrel", metric][number])


def rows(n: int = 300, seed: int = 0, baseline: str = "gpt4_1106_preview") -> list[Row]:
    """Annotations in the package's format, the longer answer somewhat better."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 3000, size=(n, 2))
    chance = 1 / (1 + np.exp(-(lengths[:, 1] - lengths[:, 0]) / 1500 + 1 + random.normal(size=n)))
    return [
        {
            "instruction": f"instruction {k}",
            "output_1": "a" * int(one),
            "output_2": "b" * int(two),
            "generator_1": baseline,
            "generator_2": "student",
            "annotator": "judge",
            "preference": 1 + float(p),
        }
        for k, ((one, two), p) in enumerate(zip(lengths, chance, strict=True))
    ]


def write(path: Path, content: list[Row]) -> Path:
    path.write_text(json.dumps(content))
    return path


def complete(some: list[Row]) -> list[Row]:
    return some


def with_nulls(some: list[Row]) -> list[Row]:
    return [row | {"preference": None} if k % 7 == 0 else row for k, row in enumerate(some)]


def with_draws(some: list[Row]) -> list[Row]:
    return [row | {"preference": (0, 1.5)[k % 2]} if k % 5 == 0 else row for k, row in enumerate(some)]


def with_binary(some: list[Row]) -> list[Row]:
    return [row | {"preference": round(row["preference"])} for row in some]


def with_gaps(some: list[Row]) -> list[Row]:
    return [row | {"index": k} for k, row in enumerate(some) if k % 3]


def shuffled(some: list[Row]) -> list[Row]:
    order = np.random.default_rng(1).permutation(len(some))
    return [some[k] | {"index": int(k)} for k in order]


def few(some: list[Row]) -> list[Row]:
    return some[:12]


KINDS = (complete, with_nulls, with_draws, with_binary, with_gaps, shuffled, few)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_the_packages(kind: Any, tmp_path: Path) -> None:
    baseline = "text_davinci_003" if kind is with_draws else "gpt4_1106_preview"
    annotations = kind(rows(baseline=baseline))
    theirs = package.metrics(annotations, STAND_IN)
    ours = scored(write(tmp_path / "annotations.json", annotations))
    wins, controlled = ours["student", "win_rate"], ours["student", "length_controlled_win_rate"]
    assert wins["value"] == pytest.approx(theirs["win_rate"], abs=1e-6)
    assert wins["stderr"] == pytest.approx(theirs["standard_error"], abs=1e-6)
    assert wins["n"] == theirs["n_total"] == sum(row["preference"] is not None for row in annotations)
    assert wins["total"] == 805
    assert controlled["value"] == pytest.approx(theirs["length_controlled_winrate"], abs=1e-6)


def test_another_reference_is_taken_for_the_packages_own(tmp_path: Path) -> None:
    table = pd.read_csv(STAND_IN)
    table["instruction_difficulty"] *= 0.8
    table.to_csv(reference := tmp_path / "df_gamed.csv", index=False)
    path = write(tmp_path / "annotations.json", annotations := rows())
    row = scored(path, reference=reference)["student", "length_controlled_win_rate"]
    assert row["value"] == pytest.approx(package.metrics(annotations, reference)["length_controlled_winrate"], abs=1e-6)
    assert not row["approximate"]


def test_scoring_leaves_scikit_learn_as_it_was(tmp_path: Path) -> None:
    import sklearn  # type: ignore[import-untyped]

    before = sklearn.get_config()
    scored(write(tmp_path / "annotations.json", rows(40)))
    assert sklearn.get_config() == before


def test_what_it_imports_is_light() -> None:
    code = "import sys, harness.bench.alpaca_eval; print({'sklearn', 'alpaca_eval', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_the_baseline_against_itself_is_even(tmp_path: Path) -> None:
    same = [row | {"output_2": row["output_1"], "preference": 1.5} for row in rows(30)]
    ours = scored(write(tmp_path / "annotations.json", same))
    for metric in ("win_rate", "length_controlled_win_rate"):
        assert (ours["student", metric]["value"], ours["student", metric]["stderr"]) == (50.0, 0.0)


def test_without_a_single_verdict_there_is_no_number(tmp_path: Path) -> None:
    ours = scored(write(tmp_path / "annotations.json", [row | {"preference": None} for row in rows(30)]))
    for metric in ("win_rate", "length_controlled_win_rate"):
        row = ours["student", metric]
        assert all(map(pd.isna, (row["value"], row["stderr"])))
        assert (row["n"], row["total"]) == (0, 805)


def test_rows_on_one_instruction_are_repeats(tmp_path: Path) -> None:
    once = [row | {"index": k} for k, row in enumerate(rows(50))]
    one = scored(write(tmp_path / "one.json", once))["student", "win_rate"]
    two = scored(write(tmp_path / "two.json", once + once))["student", "win_rate"]
    assert two["value"] == pytest.approx(one["value"])
    assert two["stderr"] == pytest.approx(one["stderr"]), "a repeat is no new instruction"
    assert (two["n"], two["total"]) == (100, 855)


def test_other_instructions_have_a_win_rate_only(tmp_path: Path) -> None:
    other = [row | {"index": 1000 + k} for k, row in enumerate(rows(20))]
    ours = scored(write(tmp_path / "annotations.json", other))
    assert (ours["student", "win_rate"]["n"], ours["student", "win_rate"]["total"]) == (20, 20)
    assert pd.isna(ours["student", "length_controlled_win_rate"]["value"])


def test_models_and_data_sets_are_told_apart(tmp_path: Path) -> None:
    mine = [row | {"dataset": ("koala", "vicuna")[k % 2]} for k, row in enumerate(rows(20))]
    other = [row | {"generator_2": "other", "preference": 2} for row in rows(20)]
    table = score_files([write(tmp_path / "annotations.json", mine + other)])
    assert set(table["model"]) == {"student", "other"}
    by_set = table[(table["model"] == "student") & table["category"].isin(["koala", "vicuna"])]
    assert by_set["n"].tolist() == [10, 10]
    assert by_set["value"].mean() == pytest.approx(
        scored(tmp_path / "annotations.json")["student", "win_rate"]["value"]
    )


def test_a_second_annotation_by_one_judge_counts_and_is_said(tmp_path: Path) -> None:
    own = rows(20)
    other_judge = [row | {"annotator": "another"} for row in own[:3]]
    again = [own[0] | {"preference": 1}, own[7] | {"preference": 2}]
    assert second_annotations([write(tmp_path / "once.json", own + other_judge)]) == []
    paths = [write(tmp_path / "again.json", own + other_judge + again)]
    (line,) = second_annotations(paths)
    assert "2 of 20 instructions are annotated more than once (index 0, 7); each of the 22 annotations counts" in line
    assert line.startswith("student against ")
    table = score_files(paths)
    counted = table[(table["metric"] == "win_rate") & (table["category"] == "overall")]
    assert sorted(counted["n"]) == [3, 22]
    result = CliRunner().invoke(app, ["alpaca-eval", *map(str, paths)])
    assert "note: student against" in result.stderr


@pytest.mark.parametrize("kind", ["json", "jsonl", "parquet", "json.xz"])
def test_every_kind_of_file_gives_the_same(kind: str, tmp_path: Path) -> None:
    import lzma

    content, path = rows(25), tmp_path / f"annotations.{kind}"
    if kind == "parquet":
        pd.DataFrame(content).to_parquet(path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        text = json.dumps(content).encode()
        path.write_bytes(lzma.compress(text) if kind == "json.xz" else text)
    assert files.read_annotations(path) == files.read_annotations(write(tmp_path / "plain.json", content))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "[{", "a.json:1: broken JSON"),
        ("a.json", "{}", "must be a list of objects"),
        ("a.json", "[1]", "must be a list of objects"),
        ("a.json", "[]", "holds no annotations"),
        ("a.json", '[{"model": "m"}]', "row 1: has no `preference`"),
        ("a.json", '[{"preference": 1}]', "row 1: has no `model`"),
        ("a.json", '[{"model": "m", "preference": 3}]', "row 1: `preference` must be 1 to 2"),
        ("a.json", '[{"model": "m", "preference": "2"}]', "row 1: `preference` must be 1 to 2"),
        ("a.json", '[{"model": "m", "preference": 1, "index": -1}]', "row 1: `index` must be a number"),
        ("a.json", '[{"model": "m", "preference": 1, "output_1": 5}]', "row 1: `output_1` must be a text"),
        ("a.json", '[{"model": "m", "preference": 1, "len_1": "5"}]', "row 1: `len_1` must be a number"),
        ("a.jsonl", '{"model": "m", "preference": 1}\n{"mod', "a.jsonl:2: broken JSON line"),
        ("a.json.xz", "no xz", "cannot be read"),
        ("a.parquet", "no parquet", "cannot be read"),
        ("a.yaml", "", "cannot read '.yaml' files"),
    ],
)
def test_a_broken_file_is_named(name: str, content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(HarnessError) as error:
        score_files([tmp_path / name])
    assert words in str(error.value)


def test_a_missing_file_and_a_broken_reference_are_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no such file"):
        score_files([tmp_path / "none.json"])
    path = write(tmp_path / "annotations.json", rows(20))
    (tmp_path / "gamed.csv").write_text("index,model\n1,a\n")
    with pytest.raises(HarnessError, match="lacks preference, std_delta_len"):
        score_files([path], tmp_path / "gamed.csv")
    with pytest.raises(HarnessError, match="cannot be read as CSV"):
        score_files([path], tmp_path / "none.csv")


def verdicts(n: int, seed: int = 0) -> tuple[Any, Any]:
    """Preferences (0..1) and length differences."""
    annotations = rows(n, seed)
    preference = np.array([row["preference"] for row in annotations]) - 1
    return preference, np.array([float(len(row["output_1"]) - len(row["output_2"])) for row in annotations])


def told(preference: Any, delta: Any) -> Rows:
    found = contributions(preference, delta, range(len(delta)), read_reference(STAND_IN))
    assert found is not None
    places = np.arange(len(delta))
    return Rows(np.array([found[k] for k in range(len(delta))]), places, places)


def test_the_error_is_that_of_a_bootstrap_which_refits() -> None:
    (preference, delta), reference, random = verdicts(300), read_reference(STAND_IN), np.random.default_rng(1)
    found = mean_interval([told(preference, delta)])
    rates = []
    for _ in range(200):
        k = random.integers(0, 300, 300)
        difficulty = np.array([reference.difficulty[int(i)] for i in k])
        x = np.stack([np.tanh(delta[k] / delta[k].std(ddof=1)), difficulty, np.ones(300)], 1)
        y = np.concatenate([reference.preference, preference[k]])
        weight = np.repeat([GAMED_WEIGHT, 1.0], [len(reference.preference), 300])
        fitted = refit(np.concatenate([reference.features, x]), y, weight, 1e4, np.zeros(3))
        rates.append(100 * float(np.mean(1 / (1 + np.exp(-fitted[1] * difficulty - fitted[2])))))
    assert found is not None
    assert found.stderr == pytest.approx(np.std(rates, ddof=1), rel=0.15)


def test_a_report_compares_two_models_over_instructions() -> None:
    """They differ on one verdict in ten: pairs know that, two errors side by side do not."""
    preference, delta = verdicts(200)
    changed = np.where(np.arange(200) % 10, preference, 1 - preference)
    samples, table = [], []
    for cell, won in (("one", preference), ("other", changed)):
        pairs = [
            one
            for k, (p, d) in enumerate(zip(won, delta, strict=True))
            for one in pair_samples(str(k), "", 0, float(p), "ok", int(d), 1)
        ]
        frame = samples_frame([*pairs, *controlled_samples(pairs, STAND_IN)])
        table.append(scores(frame, approximate=True).assign(cell=cell).astype({"value": float, "stderr": float}))
        samples.append(frame.assign(cell=cell).astype({"value": float}))
    metric = replace(PROGRAM_METRIC, benchmark="alpaca_eval", metric="length_controlled_win_rate", binary=False)
    cells = tuple(CellRecord(name, {}, baseline=False, failed=None) for name in ("one", "other"))
    run = a_run(pd.concat(samples), pd.concat(table), metrics=(metric,), cells=cells)
    first, second = map(single, cells)
    measures = Measures(run)
    found, alone = measures.difference(first, second, metric), measures.estimate(first, metric)
    assert found is not None
    assert alone is not None
    assert found.clusters == 200
    values = [float(t["value"].iloc[-1]) for t in table]
    assert found.value == pytest.approx(values[0] - values[1])
    assert alone.stderr == pytest.approx(float(table[0]["stderr"].iloc[-1]))
    assert alone.stderr is not None
    assert found.stderr is not None
    assert 0 < found.stderr < 0.7 * alone.stderr * 2**0.5


@given(
    n=st.integers(2, 12),
    kind=st.sampled_from(["any", "all lost", "all won", "one verdict"]),
    seed=st.integers(0, 10**6),
    longest=st.sampled_from([1, 40, 100_000]),
)
@settings(max_examples=25, deadline=None)
def test_contributions_are_finite_and_their_mean_is_the_rate(n: int, kind: str, seed: int, longest: int) -> None:
    random = np.random.default_rng(seed)
    delta = random.integers(-longest, longest, n).astype(float)
    preference = {"all lost": np.full(n, 1e-9), "all won": np.full(n, 1 - 1e-9)}.get(kind, random.random(n))
    if kind == "one verdict":
        preference[1:] = np.nan
    found = contributions(preference, delta, range(n), read_reference(STAND_IN))
    if np.ptp(delta) == 0:
        assert found is None
        return
    assert found is not None
    assert np.isfinite(list(found.values())).all()
    assert 0 <= np.mean(list(found.values())) <= 100


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0, 1e4])
def test_the_refit_is_the_minimum(penalty: float) -> None:
    """No step in any direction makes the penalised loss smaller."""
    random = np.random.default_rng(3)
    x, y = random.normal(size=(200, 3)), random.random(200)
    weight = random.random(200)

    def loss(b: Any) -> float:
        z = x @ b
        return float(penalty * (weight * (np.logaddexp(0, z) - y * z)).sum() + np.abs(b).sum())

    best = refit(x, y, weight, penalty, np.zeros(3))
    for step in np.concatenate([np.eye(3), -np.eye(3), random.normal(size=(20, 3))]) * 1e-3:
        assert loss(best) <= loss(best + step) + 1e-12
