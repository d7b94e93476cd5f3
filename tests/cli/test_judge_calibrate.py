"""`harness judge calibrate` against stand-ins for judges of known faults, on made-up and on published verdicts."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.calibration import measures as calibration
from harness.calibration.cases import pad
from harness.cli import app
from harness.core.errors import HarnessError
from harness.plan.build import build
from harness.recipe.load import load
from harness.record.folder import RunFolder
from harness.record.judges import judges
from harness.record.run import read_run
from harness.record.summary import says_of_judges
from harness.stats.bootstrap import bootstrap_ci
from harness.store.ledger import Ledger
from harness.store.store import Store
from tests.cli import judged
from tests.judge.stand_in import CANARY, Judge, reply
from tests.worlds import mt_bench

MODELS = ("strong", "weak")
ITEMS = 12
PAD = "In other words, to say it once more:"


def text(item: int, model: str, turn: int) -> str:
    return f"Answer {item}.{turn} of {model}. It has a second sentence! " + "Much is said here. " * (item % 4)


def rating(item: int, model: str, turn: int) -> int:
    return 1 + (3 * item + 2 * turn) % 7 + 2 * (model == "strong")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the bootstrap: how good its intervals are is tested where it is."""
    monkeypatch.setattr(calibration, "bootstrap_ci", partial(bootstrap_ci, resamples=200))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe with MT-Bench files of our own, and answers and verdicts of two models beside them."""
    monkeypatch.setenv(judged.KEY, CANARY)
    data = judged.write_benchmark(tmp_path / "mt_bench")
    questions = [{"question_id": k, "category": "writing", "turns": [f"Q{k}", "And?"]} for k in range(ITEMS)]
    lines(data / "question.jsonl", questions)
    for name in ("model_answer", "model_judgment"):
        (data / name).mkdir()
    for model in MODELS:
        rows = [(k, [text(k, model, t) for t in (1, 2)]) for k in range(ITEMS)]
        lines(data / f"model_answer/{model}.jsonl", [answer_line(*row) for row in rows])
    lines(data / "model_judgment/gpt-4_single.jsonl", [verdict_line(k, m, t) for k, m, t in reversed(units())])
    return tmp_path


def units() -> list[tuple[int, str, int]]:
    return [(k, m, t) for k in range(ITEMS) for m in MODELS for t in (1, 2)]


def answer_line(item: int, turns: list[str]) -> dict[str, Any]:
    return {"question_id": item, "choices": [{"index": 0, "turns": turns}]}


def verdict_line(item: int, model: str, turn: int, **changed: Any) -> dict[str, Any]:
    line = {"question_id": item, "model": model, "judge": ["gpt-4", "p"], "judgment": "ok", "turn": turn}
    return line | {"score": rating(item, model, turn)} | changed


def lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def calibrate(folder: Path, url: str, *words: str) -> Result:
    judged.words(folder, url)  # writes the recipe
    given = ["judge", "calibrate", str(folder / "judged.yaml"), "--results", str(folder / "results"), *words]
    return CliRunner().invoke(app, given)


def measures(result: Result) -> dict[tuple[str, str], dict[str, Any]]:
    assert result.exit_code == 0, (result.output, result.exception)
    return {(row["measure"], row["part"]): row for row in json.loads(result.stdout)}


def resolved(body: dict[str, Any]) -> tuple[str, int]:
    """The answer that is to be rated, and its turn."""
    said = body["messages"][-1]["content"]
    return said.split("A: ")[-1], said.count("A: ")


def recorded_as(body: dict[str, Any]) -> int:
    answer, turn = resolved(body)
    item, model = answer.split()[1].split(".")[0], answer.split()[3].rstrip(".")
    return rating(int(item), model, turn)


def says(rate: Callable[[dict[str, Any]], float]) -> Callable[[dict[str, Any], int], Any]:
    return lambda body, _: reply(f"Rating: [[{rate(body)}]]")


@pytest.fixture
def judge(tmp_path: Path) -> Any:
    with judged.judge(tmp_path / "unused.sqlite") as stand_in:
        yield stand_in


def test_a_judge_that_copies_agrees_in_everything(folder: Path, judge: Judge) -> None:
    judge.answer = says(recorded_as)
    result = calibrate(folder, judge.url, "--format", "json")
    found = measures(result)
    for name in ("spearman", "pearson", "kappa", "exact_agreement", "pair_agreement", "model_order"):
        assert found[name, "all"]["value"] == pytest.approx(1), name
    assert found["spearman", "turn 1"]["n"] == found["spearman", "turn 2"]["n"] == len(units()) / 2
    assert found["mean_absolute_difference", "all"]["value"] == 0
    assert found["failed_verdicts", "all"]["value"] == 0
    assert found["padding_gain", "all"]["value"] == found["padding_wins", "all"]["value"] == 0
    assert found["usd_per_1000_verdicts", "all"]["value"] == pytest.approx(1000 * (100 * 30 + 10 * 60) / 1e6)
    assert "judged.yaml" not in result.stdout
    assert "calibrated. Spearman 1.00 with gpt-4 on 48 verdicts" in result.stderr
    assert len(judge.asked) == 2 * len(units())


def test_a_judge_of_one_word_is_uninformative(folder: Path, judge: Judge) -> None:
    judge.answer = says(lambda _: 5)
    result = calibrate(folder, judge.url)
    assert result.exit_code == 0, result.exception
    assert "nan" not in result.stdout.lower()
    assert "UNINFORMATIVE. Spearman undefined (one of them gives the same verdict to all)" in result.stderr
    row = next(line.split() for line in result.stdout.splitlines() if "spearman" in line and " all " in line)
    assert row[-5:] == ["-", "-", "-", "48", "48"]
    record = next((folder / "results/store/calibrations").glob("*.json"))
    assert json.loads(record.read_text())["informative"] is False


def test_a_judge_that_loves_length_is_found(folder: Path, judge: Judge) -> None:
    judge.answer = says(lambda body: min(10, recorded_as(body) + PADDED_GAIN * (PAD in resolved(body)[0])))
    result = calibrate(folder, judge.url, "--format", "json")
    found = measures(result)
    assert found["padding_wins", "all"]["value"] > 0.9
    assert found["padding_gain", "all"]["low"] > 1
    assert "padding an answer gains" in result.stderr


PADDED_GAIN = 2


def test_a_verdict_that_fails_is_counted_and_is_no_number(folder: Path, judge: Judge) -> None:
    judge.answer = lambda body, n: reply("Hm." if recorded_as(body) == 9 else f"[[{recorded_as(body)}]]")
    found = measures(calibrate(folder, judge.url, "--format", "json"))
    lost = sum(rating(*unit) == 9 for unit in units())
    assert lost > 0
    assert found["failed_verdicts", "all"]["value"] == pytest.approx(lost / len(units()))
    assert (found["spearman", "all"]["n"], found["spearman", "all"]["total"]) == (len(units()) - lost, len(units()))
    assert found["spearman", "all"]["value"] == pytest.approx(1)


def test_nothing_is_asked_twice_and_the_copy_is_the_record(folder: Path, judge: Judge) -> None:
    judge.answer = says(recorded_as)
    first = calibrate(folder, judge.url, "--format", "csv", "--no-padding")
    assert len(judge.asked) == len(units())
    again = calibrate(folder, judge.url, "--format", "csv", "--no-padding", "--out", str(folder / "copy"))
    assert len(judge.asked) == len(units())
    assert first.stdout == again.stdout
    copy = next((folder / "copy").glob("*.json"))
    assert copy.read_text() == (folder / "results/store/calibrations" / copy.name).read_text()
    with Ledger(folder / "results/store/ledger.sqlite") as ledger:
        assert [cost.judge for cost in ledger.costs()] == [copy.stem], "the record is under the ledger's judge"


def test_what_a_run_says_of_its_judge(folder: Path, judge: Judge) -> None:
    """The record is found by a run of the same recipe, and only by one with the same judge."""
    judge.answer = says(recorded_as)
    assert calibrate(folder, judge.url).exit_code == 0
    store = Store(folder / "results/store")
    (known,) = judges(build(load(folder / "judged.yaml", [])), store)
    assert known.calibrated is True
    assert known.uninformative is False
    assert known.note.startswith("Spearman 1.00 with gpt-4 on 48 verdicts, 20")
    (other,) = judges(build(load(folder / "judged.yaml", ["judge.temperature=0.5"])), store)
    assert other.calibrated is False
    assert "no calibration on record" in other.note


@pytest.mark.slow
def test_a_calibration_comes_into_a_report_that_is_there(folder: Path, judge: Judge) -> None:
    judge.answer = says(lambda body: recorded_as(body) if " of " in resolved(body)[0] else 5)
    run, report = folder / "results/runs/judged", folder / "results/runs/judged/report.md"
    assert judged.run(folder, judge.url).returncode == 0
    assert "is not calibrated" in report.read_text()
    assert calibrate(folder, judge.url, "--no-padding").exit_code == 0
    again = judged.run(folder, judge.url)
    assert "executed 0 of" in again.stderr
    assert "is not calibrated" not in report.read_text()
    assert "Spearman 1.00 with gpt-4 on 48 verdicts" in report.read_text()
    known = judges(build(load(folder / "judged.yaml", [])), Store(folder / "results/store"))
    assert known[0].uninformative is False
    assert says_of_judges(RunFolder(run), known), "the next run has nothing to write"


def test_scores_of_a_run_are_transferred(folder: Path, judge: Judge) -> None:
    """A judge that is a point too kind to all: the reference's labels of two models take it from the run's score."""

    def kind(body: dict[str, Any]) -> float:
        answer, turn = resolved(body)
        question = int(body["messages"][-1]["content"].split("\n")[0].removeprefix("Q: Q"))
        return 1 + (recorded_as(body) if "Answer" in answer else 2 + turn + question % 3)

    judge.answer = says(kind)
    result = calibrate(folder, judge.url, "--no-padding", "--format", "json")
    found = measures(result)
    assert [found["transfer_held_ppi", "all"][key] for key in ("n", "total")] == [2, 2]
    assert found["transferred_ppi", "weak"]["value"] == pytest.approx(found["reference_score", "weak"]["value"])
    assert "transferred: of 2 models left out, intervals held ppi 2" in result.stderr
    run = judged.run(folder, judge.url)
    assert run.returncode == 0, run.stderr
    (made,) = read_run(folder / "results/runs/judged/run.json").transfers
    assert (made.metric, made.judge, made.reference, made.models) == ("score", "gpt-4", "gpt-4", MODELS)
    assert made.scores["ppi"].value == pytest.approx(made.live - 1)
    assert made.scores["ppi"].held == 2
    report = (folder / "results/runs/judged/report.md").read_text()
    assert "Transferred scores" in report
    assert "not ranked" in report, "two recorded models prove nothing"


def test_fewer_questions_are_spread_over_the_benchmark(folder: Path, judge: Judge) -> None:
    judge.answer = says(recorded_as)
    result = calibrate(folder, judge.url, "--questions", "3", "--no-padding", "--format", "json")
    assert measures(result)["spearman", "all"]["total"] == 3 * len(MODELS) * 2
    assert {resolved(body)[0].split()[1].split(".")[0] for body in judge.asked} == {"0", "4", "8"}
    assert "UNINFORMATIVE" in result.stderr
    assert "too few questions to tell (3)" in result.stderr


def test_a_judge_that_is_gone_leaves_no_record(folder: Path) -> None:
    result = calibrate(folder, "http://127.0.0.1:9/v1")
    assert isinstance(result.exception, HarnessError)
    assert "unreachable" in result.stderr
    assert not list((folder / "results/store/calibrations").glob("*.json"))


def drop(folder: Path, name: str) -> None:
    for path in (folder / "mt_bench" / name).glob("*.jsonl"):
        path.unlink()


def other_question(folder: Path) -> None:
    lines(folder / "mt_bench/model_judgment/gpt-4_single.jsonl", [verdict_line(99, "strong", 1)])


def other_model(folder: Path) -> None:
    lines(folder / "mt_bench/model_judgment/gpt-4_single.jsonl", [verdict_line(1, "third", 1)])


FAULTS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "other question": (other_question, (), "gpt-4_single.jsonl:1: judges question 99, turn 1, which is not in"),
    "no overlap": (other_model, (), "holds verdicts on third and answers of strong, weak"),
    "no verdicts": (lambda f: drop(f, "model_judgment"), (), "gpt-4_single.jsonl: no such file"),
    "no answers": (lambda f: drop(f, "model_answer"), (), "answers of no model"),
    "reference": (lambda _: None, ("--reference", "human"), "human_single.jsonl: no such file"),
    "unknown benchmark": (lambda _: None, ("--benchmark", "mt-bench"), "no recorded verdicts for 'mt-bench'"),
    "format": (lambda _: None, ("--format", "xml"), "no such format"),
    "protocol": (lambda _: None, ("--set", "judge.protocol=guess"), "judge.protocol"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(folder: Path, judge: Judge, name: str) -> None:
    spoil, words, message = FAULTS[name]
    spoil(folder)
    result = calibrate(folder, judge.url, *words)
    assert result.exit_code != 0
    assert isinstance(result.exception, HarnessError), result.exception
    assert message in str(result.exception)
    assert result.stdout == ""
    assert judge.asked == []


@pytest.mark.parametrize(("words", "message"), [((), "no judge that could be"), (("--benchmark", "mt_bench"), "does")])
def test_a_recipe_without_a_judge(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "name: r\nstudent: pocket:llama?layers=1&width=16&heads=2&seed=1\nevaluate: [{pocket: {questions: 8}}]\n"
    )
    given = ["judge", "calibrate", str(recipe), "--results", str(tmp_path / "results"), *words]
    result = CliRunner().invoke(app, given)
    assert isinstance(result.exception, HarnessError)
    assert message in str(result.exception)


def test_padding_says_nothing_new() -> None:
    padded = pad("One thing. Another thing! A third?")
    assert padded == f"One thing. Another thing! A third?\n\n{PAD} One thing. Another thing!"
    assert pad("") == ""


@pytest.mark.parametrize("kind", ["made up", "published"])
def test_gpt_4_against_itself(folder: Path, judge: Judge, kind: str) -> None:
    """Two models' stored answers and verdicts, judged by a stand-in that replies as was replied to each prompt."""
    if kind == "published" and not mt_bench.PUBLISHED.is_dir():
        pytest.skip("the published MT-Bench files are not beside the project (../shared/data)")
    world = mt_bench.published() if kind == "published" else mt_bench.made_up(folder / "small", per_category=2)
    stored = [json.loads(line) for line in world.judgments.read_text(encoding="utf-8").splitlines()]
    replies = {line["user_prompt"]: line["judgment"] for line in stored}
    judge.answer = lambda body, _: reply(replies[body["messages"][-1]["content"]])
    (folder / "mt_bench").rename(folder / "before")
    (folder / "mt_bench").symlink_to(world.data)
    more = ["--set", "judge.concurrency=8", "--no-padding", "--format", "json"]
    found = measures(calibrate(folder, judge.url, *more))
    assert found["spearman", "all"]["value"] == pytest.approx(1, abs=0.02), "equal answers have one recorded verdict"
    assert (found["kappa", "all"]["n"], found["kappa", "all"]["total"]) == (len(stored), len(stored))
    record = json.loads(next((folder / "results/store/calibrations").glob("*.json")).read_text())
    known = {model: whole for model, (whole, _, _) in world.averages.items()}
    assert {model: row["reference"] for model, row in record["models"].items()} == known
