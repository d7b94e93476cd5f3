"""Arena-Hard v2.0: a baseline, a score and a prompt per category, its reading of replies, its style control."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.bench.api import OpenJudged, samples_frame
from harness.bench.arena_hard import BENCHMARK, ArenaHardSettings, score_files
from harness.bench.arena_hard.files import read_answers, read_games
from harness.bench.arena_hard.prompts import CREATIVE_SYSTEM, SYSTEM
from harness.cli.score import app
from harness.core.canonical import digest
from harness.core.errors import HarnessError
from harness.core.settings import identity
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict
from harness.judge.forms.arena import VALUES, read_last_verdict, read_verdict
from harness.stats.style_control import controlled_win_rates, standardised, style_differences
from harness.store.ledger import Reply

HARD, CREATIVE = "hard_prompt", "creative_writing"
BASELINES = {HARD: "o3-mini-2025-01-31", CREATIVE: "gemini-2.0-flash-001"}


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def question(item: str, category: str) -> dict[str, Any]:
    return {"uid": item, "category": category, "subcategory": "s", "prompt": f"Ask {item}?"}


def answer(item: str, model: str, text: str = "", style: tuple[int, int, int, int] = (10, 0, 0, 0)) -> dict[str, Any]:
    said = [{"role": "user", "content": f"Ask {item}?"}, {"role": "assistant", "content": {"answer": text or model}}]
    tokens, headers, listed, bold = style
    metadata = {
        "token_len": tokens,
        "header_count": {"h1": headers, "h2": 0},
        "list_count": {"ordered": listed, "unordered": 0},
        "bold_count": {"**": 0, "__": bold},
    }
    return {"uid": item, "ans_id": "x", "model": model, "messages": said, "tstamp": 0.0, "metadata": metadata}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of our own in v2.0's layout."""
    folder = tmp_path / "arena"
    lines(folder / "question.jsonl", question("a", HARD), question("b", HARD), question("c", CREATIVE))
    for category, items in ((HARD, "ab"), (CREATIVE, "c")):
        lines(folder / f"model_answer/{BASELINES[category]}.jsonl", *(answer(i, BASELINES[category]) for i in items))
    return folder


def load(data: Path, **settings: object) -> OpenJudged[ArenaHardSettings]:
    own = ArenaHardSettings.model_validate_json(json.dumps({"data": str(data), "version": "2.0", **settings}))
    return BENCHMARK.open(own, BENCHMARK.files(own))


def test_the_creative_prompt_is_word_for_word() -> None:
    assert digest(CREATIVE_SYSTEM) == "bcf99064b978e35e2878b0ff6d6f323045d9b7d60952fe3dfe282d6d01767483"


def test_each_category_meets_its_baseline_under_its_prompt_and_has_a_score(data: Path) -> None:
    bench = load(data)
    tasks = bench.tasks([Answer(q.id, ("mine",)) for q in bench.questions])
    assert [(t.item, t.variant, t.evidence["baseline"]) for t in tasks] == [
        (item, variant, BASELINES[category])
        for item, category in (("a", HARD), ("b", HARD), ("c", CREATIVE))
        for variant in ("ba", "ab")
    ]
    assert [t.messages[0]["content"] for t in tasks] == [SYSTEM] * 4 + [CREATIVE_SYSTEM] * 2
    values = {("a", "ba"): "B>>A", ("a", "ab"): "A=B", ("b", "ba"): "A>B", ("b", "ab"): "A>B", ("c", "ba"): "A>>B"}
    verdicts = [Verdict(JudgeTask(i, 1, variant=v), Reply("ok", VALUES[label])) for (i, v), label in values.items()]
    scores = bench.aggregate(samples_frame(bench.samples([Answer(i, ("mine",)) for i in "abc"], verdicts)))
    found = {row["metric"]: (row["value"], row["n"], row["total"]) for _, row in scores.iterrows()}
    assert found == {
        "win_rate_hard_prompt": (pytest.approx(100 * (3 + 0.5 + 0 + 1) / 6), 4, 4),
        "win_rate_creative_writing": (0.0, 1, 2),
    }
    assert [m.name for m in bench.metrics] == list(found)


def test_one_category_alone_needs_one_baseline_alone(data: Path) -> None:
    bench = load(data, baselines={CREATIVE: BASELINES[CREATIVE]})
    assert [q.id for q in bench.questions] == ["c"]
    assert [role for role in bench.files if role != "questions"] == [f"baseline:{BASELINES[CREATIVE]}"]


def test_a_category_that_the_file_does_not_have_is_refused(data: Path) -> None:
    with pytest.raises(HarnessError, match="has no question of the category math") as caught:
        _ = load(data, baselines={"math": BASELINES[HARD]}).questions
    assert "creative_writing, hard_prompt" in str(caught.value.fix)


def test_a_question_that_its_baseline_has_not_answered_is_refused(data: Path) -> None:
    lines(data / f"model_answer/{BASELINES[HARD]}.jsonl", answer("a", BASELINES[HARD]))
    with pytest.raises(HarnessError, match="o3-mini-2025-01-31 has no answer to question b"):
        _ = load(data).questions


def test_v01_keeps_its_identity(data: Path) -> None:
    assert identity(ArenaHardSettings(data=data)) == {
        "baseline": "gpt-4-0314",
        "questions": None,
        "max_new_tokens": 4096,
    }
    assert identity(load(data).settings)["version"] == "2.0"


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("[[A>B]] no, rather [[B>>A]]", -1.0),
        ("My final verdict is [[a=b]]", 0.5),
        ("My final verdict is [A>B]", 1.0),
        ("[A>B] and then [[B>A]]", 0.0),
        ("[[A<<B]]", -1.0),
        ("[[B<A]]", 1.0),
        ("[[B=A]]", 0.5),
    ],
)
def test_the_last_label_of_a_reply_counts(reply: str, value: float) -> None:
    assert read_last_verdict(reply) == value


@pytest.mark.parametrize("reply", ["I cannot say.", "[[A<>B]]", "[[A]]"])
def test_a_reply_without_a_verdict(reply: str) -> None:
    with pytest.raises(ValueError, match="verdict"):
        read_last_verdict(reply)


def test_v01_reads_replies_as_before() -> None:
    with pytest.raises(ValueError, match="different verdicts"):
        read_verdict("[[A>B]] no, rather [[B>>A]]")


def test_what_is_exported_is_read_again_as_v2_has_it(data: Path, tmp_path: Path) -> None:
    bench = load(data)
    answers = [Answer(q.id, ("mine",), ("stop",), (1,)) for q in bench.questions]
    verdicts = [Verdict(task, Reply("ok", VALUES["A>>B"], "[[A>>B]]")) for task in bench.tasks(answers)]
    bench.export(tmp_path / "out", "m", "j", answers, verdicts)
    assert read_answers(tmp_path / "out/model_answer/m.jsonl") == dict.fromkeys("abc", "mine")
    judgments = tmp_path / "out/model_judgment/j/m.jsonl"
    games = read_games([judgments])
    assert {(g.verdict.task.item, g.baseline) for g in games} == {(i, BASELINES[HARD]) for i in "ab"} | {
        ("c", BASELINES[CREATIVE])
    }
    assert {g.verdict.reply.value for g in games} == {VALUES["A>>B"]}
    first = json.loads(judgments.read_text().splitlines()[0])
    assert (first["uid"], first["category"], first["games"][0]["judgment"]) == ("a", HARD, {"answer": "[[A>>B]]"})


def test_labels_turned_round_count_in_files_that_name_a_baseline(tmp_path: Path) -> None:
    row = {"uid": "a", "model": "m", "judge": "j", "games": [{"score": "A<<B"}, {"score": "B<A"}]}
    later = read_games([lines(tmp_path / "later.jsonl", {**row, "baseline": "b"})])
    assert [game.verdict.reply.value for game in later] == [VALUES["B>>A"], VALUES["A>B"]]
    assert [game.verdict.reply.value for game in read_games([lines(tmp_path / "v01.jsonl", row)])] == [None, None]


def test_differences_in_style_by_hand() -> None:
    found = style_differences(np.array([[99.0, 5, 0, 10]]), np.array([[49.0, 0, 0, 10]]))
    assert found.tolist() == [[50 / 148, 0.05 / 1.05, 0.0, pytest.approx((0.1 - 0.2) / (0.1 + 0.2 + 1))]]
    assert style_differences(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0.0] * 4], "two empty answers"
    assert np.std(standardised(np.array([[1.0, 7], [2, 7], [4, 7]])), axis=0, ddof=1).tolist() == [1.0, 0.0]


def battles(seed: int, n: int = 900) -> tuple[Any, ...]:
    random = np.random.default_rng(seed)
    player, style = random.integers(0, 3, n), standardised(random.normal(size=(n, 4)))
    logits = np.array([-0.5, 0.2, 1.0])[player] + style @ [0.9, 0.2, 0.0, -0.4]
    outcome = (random.random(n) < 1 / (1 + np.exp(-logits))).astype(float)
    outcome[random.random(n) < 0.1] = 0.5
    return player, style, outcome, random.integers(0, 4, n).astype(float)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_fit_is_a_logistic_regression_with_ties_as_half_a_win(seed: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    player, style, outcome, weight = battles(seed)
    x = np.vstack([np.hstack([np.eye(3)[player], style])] * 2)
    y = np.repeat([1, 0], len(outcome))
    twice = np.concatenate([weight * outcome, weight * (1 - outcome)])
    fit = linear_model.LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000).fit(
        x, y, sample_weight=twice
    )
    expected = 1 / (1 + np.exp(-fit.coef_[0][:3]))
    np.testing.assert_allclose(controlled_win_rates(player, style, outcome, weight), expected, atol=1e-5)


def test_without_differences_the_rate_is_the_share_and_who_always_won_has_none() -> None:
    player, outcome = np.array([0, 0, 0, 0, 1, 1]), np.array([1, 1, 0.5, 0, 1, 1])
    found = controlled_win_rates(player, np.zeros((6, 4)), outcome, np.ones(6))
    assert found[0] == pytest.approx(2.5 / 4)
    assert math.isnan(found[1])


@pytest.fixture
def judged(tmp_path: Path) -> dict[str, list[Path]]:
    """Two models whose every answer is as good; the judge likes long ones, and one model writes them."""
    random = np.random.default_rng(5)
    items = [f"q{k}" for k in range(300)]
    lines(tmp_path / "question.jsonl", *(question(i, HARD) for i in items))
    judgments, answers = [], [lines(tmp_path / "base.jsonl", *(answer(i, "base", style=(100, 1, 1, 1)) for i in items))]
    for model, typical in (("long", 250), ("short", 100)):
        lengths = random.integers(typical // 2, typical * 2, len(items))
        styles = [(int(length), 1, 1, 1) for length in lengths]
        answers.append(
            lines(tmp_path / f"{model}.jsonl", *(answer(i, model, style=s) for i, s in zip(items, styles, strict=True)))
        )
        rows = []
        for item, length in zip(items, lengths, strict=True):
            likes = random.random(2) < 1 / (1 + np.exp(-3 * (length - 100) / (length + 100)))
            scores = ["B>A" if likes[0] else "A>B", "A>B" if likes[1] else "B>A"]
            games = [{"score": score, "judgment": {"answer": ""}} for score in scores]
            rows.append(
                {"uid": item, "category": HARD, "model": model, "judge": "j", "baseline": "base", "games": games}
            )
        judgments.append(lines(tmp_path / f"{model}.judged.jsonl", *rows))
    return {"judgments": judgments, "answers": answers, "questions": [tmp_path / "question.jsonl"]}


def test_style_control_takes_a_planted_preference_for_length_away(judged: dict[str, list[Path]]) -> None:
    scores = score_files(judged["questions"][0], judged["judgments"], 0, judged["answers"])
    rows: dict[Any, Any] = {(row["metric"], row["model"]): row for row in scores.to_dict("records")}
    raw, controlled = (
        {model: rows[metric, model] for model in ("long", "short")}
        for metric in ("win_rate", "style_controlled_win_rate")
    )
    assert raw["long"]["value"] - raw["short"]["value"] > 15
    assert abs(controlled["long"]["value"] - controlled["short"]["value"]) < 8
    for row in controlled.values():
        assert row["low"] < row["value"] < row["high"]
        assert (row["n"], row["total"]) == (600, 600)


def test_an_answer_whose_style_is_not_known_is_named(judged: dict[str, list[Path]]) -> None:
    with pytest.raises(HarnessError, match="do not say how base wrote its answer to question q0"):
        score_files(judged["questions"][0], judged["judgments"], 0, judged["answers"][1:])
    bare = json.loads(judged["answers"][0].read_text().splitlines()[0]) | {"metadata": {"token_len": 3}}
    lines(judged["answers"][0], bare)
    with pytest.raises(HarnessError, match="`metadata` has no header_count, list_count, bold_count") as caught:
        score_files(judged["questions"][0], judged["judgments"], 0, judged["answers"])
    assert "add_markdown_info" in str(caught.value.fix)


def test_the_command(judged: dict[str, list[Path]]) -> None:
    words = ["arena-hard", "--questions", str(judged["questions"][0]), "--format", "json"]
    words += [str(word) for path in judged["answers"] for word in ("--answers", path)]
    done = CliRunner().invoke(app, [*words, *map(str, judged["judgments"])])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [(row["model"], row["metric"]) for row in rows] == [
        (model, metric) for metric in ("win_rate", "style_controlled_win_rate") for model in ("long", "short")
    ]
