"""`harness judge calibrate` for judges of pairs: Arena-Hard and MT-Bench in pairs made up, AlpacaEval in whole."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.core.errors import HarnessError
from tests.cli import judged
from tests.cli.test_judge_calibrate import PAD, lines, measures
from tests.judge.stand_in import CANARY, Judge, reply
from tests.worlds import alpaca_eval as worlds
from tests.worlds.alpaca_eval import World

ITEMS = 24
WINS = {k: (k * 7) % 10 >= 4 for k in range(ITEMS)}
"""Whose answer is better: the model's, or the baseline's."""

RECIPE = """\
name: pairs
student: pocket:llama?layers=1&width=16&heads=2&seed=1
evaluate: [{{{benchmark}: {settings}}}]
judge: {{model: gpt-4, base_url: "{url}", api_key_env: TEST_JUDGE_KEY, retries: 0, protocol: {protocol}}}
"""


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    monkeypatch.setenv(judged.KEY, CANARY)
    with judged.judge(tmp_path / "unused.sqlite") as stand_in:
        yield stand_in


def calibrate(folder: Path, judge: Judge, benchmark: str, settings: dict[str, Any], *words: str, **more: str) -> Result:
    protocol = more.get("protocol", "text")
    text = RECIPE.format(benchmark=benchmark, settings=json.dumps(settings), url=judge.url, protocol=protocol)
    (folder / "pairs.yaml").write_text(text)
    given = ["judge", "calibrate", str(folder / "pairs.yaml"), "--results", str(folder / "results")]
    return CliRunner().invoke(app, [*given, "--format", "json", *words])


def arena(folder: Path) -> dict[str, Any]:
    """Arena-Hard's files: `good` against `base`, with recorded games in both orders."""
    data = folder / "arena"
    (data / "model_answer").mkdir(parents=True)
    judgments = data / "model_judgment/gpt-4-1106-preview"
    judgments.mkdir(parents=True)
    lines(data / "question.jsonl", [{"question_id": f"q{k}", "category": "c", "prompt": f"Ask {k}?"} for k in WINS])
    for model in ("base", "good"):
        rows = [{"question_id": f"q{k}", "choices": [{"turns": [{"content": said(model, k)}]}]} for k in WINS]
        lines(data / f"model_answer/{model}.jsonl", rows)
    games = {k: [{"score": s} for s in (("B>A", "A>>B") if win else ("A>B", "B>A"))] for k, win in WINS.items()}
    rows = [{"question_id": f"q{k}", "model": "good", "judge": "gpt-4", "games": g} for k, g in games.items()]
    lines(judgments / "good.jsonl", rows)
    return {"data": str(data), "baseline": "base"}


def said(model: str, item: int) -> str:
    return f"The {model} answer to {item}. It is short."


def shown(body: dict[str, Any]) -> tuple[str, str]:
    """The two answers in the order shown."""
    text = body["messages"][-1]["content"]
    places = sorted((text.index(f"The {model} answer"), model) for model in ("base", "good"))
    return text[places[0][0] : places[1][0]], text[places[1][0] :]


def item_of(body: dict[str, Any]) -> int:
    return int(shown(body)[0].split()[4].rstrip("."))


def copies(body: dict[str, Any], _: int) -> Any:
    good_first = shown(body)[0].startswith("The good")
    return reply("[[A>B]]" if good_first == WINS[item_of(body)] else "[[B>A]]")


def first_place(_body: dict[str, Any], _: int) -> Any:
    return reply("[[A>>B]]")


def longest(body: dict[str, Any], n: int) -> Any:
    a, b = (PAD in answer for answer in shown(body))
    return reply("[[A>B]]" if a else "[[B>A]]") if a or b else copies(body, n)


def same(_body: dict[str, Any], _: int) -> Any:
    return reply("[[A=B]]")


def test_a_judge_that_copies(tmp_path: Path, judge: Judge) -> None:
    judge.answer = copies
    result = calibrate(tmp_path, judge, "arena_hard", arena(tmp_path))
    found = measures(result)
    assert found["kappa", "all"]["value"] == pytest.approx(1)
    assert found["exact_agreement", "all"]["value"] == 1
    assert found["order_flips", "all"]["value"] == 0
    assert found["first_shown_wins", "all"]["value"] == 0.5
    assert found["padding_gain", "all"]["value"] == 0
    assert "calibrated. kappa 1.00 with gpt-4-1106-preview on 24 verdicts" in result.stderr
    assert len(judge.asked) == 2 * 2 * ITEMS


def test_a_judge_that_loves_the_first_place_is_found(tmp_path: Path, judge: Judge) -> None:
    judge.answer = first_place
    result = calibrate(tmp_path, judge, "arena_hard", arena(tmp_path), "--no-padding")
    found = measures(result)
    assert found["order_flips", "all"]["value"] == 1
    assert found["first_shown_wins", "all"]["value"] == 1
    assert found["kappa", "all"]["value"] == 0, "both orders together say nothing"
    assert "UNINFORMATIVE" in result.stderr
    assert "prefers the answer shown first (100%)" in result.stderr


def test_a_judge_that_loves_length_is_found(tmp_path: Path, judge: Judge) -> None:
    judge.answer = longest
    result = calibrate(tmp_path, judge, "arena_hard", arena(tmp_path))
    found = measures(result)
    lost = sum(not win for win in WINS.values()) / ITEMS
    assert found["padding_gain", "all"]["value"] == pytest.approx(lost), "each lost pair is won by padding"
    assert "padding an answer gains" in result.stderr


def test_a_judge_of_ties_has_no_kappa(tmp_path: Path, judge: Judge) -> None:
    judge.answer = same
    result = calibrate(tmp_path, judge, "arena_hard", arena(tmp_path), "--no-padding")
    found = measures(result)
    assert found["kappa", "all"]["value"] == 0
    assert (found["first_shown_wins", "all"]["value"], found["first_shown_wins", "all"]["n"]) == (None, 0)
    assert "UNINFORMATIVE" in result.stderr


def test_half_a_pair_is_no_verdict(tmp_path: Path, judge: Judge) -> None:
    """Where the reply in one order failed, the other alone would bring its position bias in."""

    def one_fails(body: dict[str, Any], n: int) -> Any:
        fails = item_of(body) == 3 and shown(body)[0].startswith("The good")
        return reply("Hm.") if fails else copies(body, n)

    judge.answer = one_fails
    found = measures(calibrate(tmp_path, judge, "arena_hard", arena(tmp_path), "--no-padding"))
    assert (found["kappa", "all"]["n"], found["kappa", "all"]["total"]) == (ITEMS - 1, ITEMS)
    assert found["failed_verdicts", "all"]["value"] == pytest.approx(1 / (2 * ITEMS))


def other_question(folder: Path) -> None:
    path = folder / "arena/model_judgment/gpt-4-1106-preview/good.jsonl"
    path.write_text(path.read_text().replace('"q7"', '"q99"'))


def no_judgments(folder: Path) -> None:
    (folder / "arena/model_judgment/gpt-4-1106-preview/good.jsonl").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(other_question, "judges question q99, which is not in"), (no_judgments, "holds verdicts on no model")],
)
def test_faults(tmp_path: Path, judge: Judge, spoil: Callable[[Path], None], message: str) -> None:
    settings = arena(tmp_path)
    spoil(tmp_path)
    result = calibrate(tmp_path, judge, "arena_hard", settings)
    assert isinstance(result.exception, HarnessError)
    assert message in str(result.exception)
    assert judge.asked == []


def mt_bench(folder: Path) -> dict[str, Any]:
    """MT-Bench's files with answers and ratings of `base` and `good`."""
    data = judged.write_benchmark(folder / "mt_bench")
    prompt = {"name": "", "system_prompt": "Which is better?"}
    first, second = "{question}\n{answer_a}\n{answer_b}", "{question_1}{question_2}{answer_a_1}\n{answer_b_1}\n"
    second += "{answer_a_2}\n{answer_b_2}"
    templates = {"pair-v2": first, "pair-math-v1": first + "{ref_answer_1}", "pair-v2-multi-turn": second}
    templates["pair-math-v1-multi-turn"] = second + "{ref_answer_1}{ref_answer_2}"
    lines(data / "judge_prompts.jsonl", [prompt | {"name": n, "prompt_template": t} for n, t in templates.items()])
    lines(data / "question.jsonl", [{"question_id": k, "category": "writing", "turns": ["Q"]} for k in WINS])
    (data / "model_answer").mkdir()
    (data / "model_judgment").mkdir()
    ratings = []
    for model in ("base", "good"):
        rows = [{"question_id": k, "model_id": model, "choices": [{"turns": [said(model, k)]}]} for k in WINS]
        lines(data / f"model_answer/{model}.jsonl", rows)
        for k, win in WINS.items():
            score = 5 if model == "base" else 8 if win else 2
            row = {"question_id": k, "model": model, "judge": ["gpt-4", "p"], "judgment": "", "turn": 1}
            ratings.append(row | {"score": score})
    lines(data / "model_judgment/gpt-4_single.jsonl", ratings)
    return {"data": str(data), "baseline": str(data / "model_answer/base.jsonl")}


def letters(body: dict[str, Any], _: int) -> Any:
    good_first = shown(body)[0].startswith("The good")
    return reply("[[A]]" if good_first == WINS[item_of(body)] else "[[B]]")


def test_mt_bench_in_pairs_against_recorded_ratings(tmp_path: Path, judge: Judge) -> None:
    judge.answer = letters
    result = calibrate(tmp_path, judge, "mt_bench_pairwise", mt_bench(tmp_path), "--no-padding")
    found = measures(result)
    assert found["kappa", "all"]["value"] == pytest.approx(1)
    assert (found["kappa", "all"]["n"], found["kappa", "all"]["reference"]) == (ITEMS, "gpt-4's ratings")
    (record,) = (tmp_path / "results/store/calibrations").glob("*.json")
    assert set(json.loads(record.read_text())["models"]) == {"good"}, "the baseline is the other side of every pair"


def test_a_baseline_without_ratings(tmp_path: Path, judge: Judge) -> None:
    settings = mt_bench(tmp_path)
    path = tmp_path / "mt_bench/model_judgment/gpt-4_single.jsonl"
    path.write_text(path.read_text().replace('"base"', '"other"'))
    result = calibrate(tmp_path, judge, "mt_bench_pairwise", settings)
    assert "holds no ratings of the baseline base" in str(result.exception)
    assert "other, good" in str(result.exception)


def test_alpaca_eval_on_stored_annotations(tmp_path: Path, judge: Judge, alpaca_world: World) -> None:
    """A stand-in that remembers the stored preferences, asked for both orders of the pairs."""
    rows = [row for row in worlds.annotated(alpaca_world) if row["output_1"] != row["output_2"]]

    def remembers(body: dict[str, Any], _: int) -> Any:
        text = "".join(message["content"] for message in body["messages"])
        row = next(r for r in rows if all(r[k] in text for k in ("instruction", "output_1", "output_2")))
        model_first = text.index(row["output_2"]) < text.index(row["output_1"])
        return reply("m" if model_first == (row["preference"] > 1.5) else "M")

    judge.answer = remembers
    settings = {"data": str(alpaca_world.data)}
    words = ("--questions", "20", "--no-padding")
    result = calibrate(tmp_path, judge, "alpaca_eval", settings, *words, protocol="choice")
    found = measures(result)
    assert found["kappa", "all"]["value"] == pytest.approx(1)
    assert (found["kappa", "all"]["n"], found["order_flips", "all"]["value"]) == (20, 0)
    assert found["first_shown_wins", "all"]["value"] == 0.5
    assert found["kappa", "all"]["reference"] == "weighted_alpaca_eval_gpt4_turbo"
    assert len(judge.asked) == 40
