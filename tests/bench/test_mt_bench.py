"""MT-Bench as a benchmark: questions, judge tasks, samples and FastChat's files."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bench.api import OpenJudged
from harness.bench.mt_bench import BENCHMARK, MTBenchSettings
from harness.bench.mt_bench.benchmark import REFERENCE_CATEGORIES, TEMPERATURES
from harness.bench.mt_bench.files import read_answers, read_judgments, write_answers, write_judgments
from harness.core.errors import HarnessError
from harness.core.settings import identity
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict
from harness.store.ledger import Reply
from tests.worlds import mt_bench
from tests.worlds.mt_bench import World

FIRST, SECOND = "Q: {question}\nA: {answer}", "1 {question_1} {answer_1} 2 {question_2} {answer_2}"
PROMPTS = {
    "single-v1": FIRST,
    "single-math-v1": FIRST + "\nR: {ref_answer_1}",
    "single-v1-multi-turn": SECOND,
    "single-math-v1-multi-turn": SECOND + " R {ref_answer_1} {ref_answer_2}",
}


def lines(path: Path, *records: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small MT-Bench folder of our own."""
    folder = tmp_path / "mt_bench"
    lines(
        folder / "question.jsonl",
        {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]},
        {"question_id": 111, "category": "math", "turns": ["1+1?", "2+2?"]},
        {"question_id": "x7", "category": "trivia", "turns": ["Why?"]},
    )
    prompts = ({"name": n, "system_prompt": "Judge.", "prompt_template": t} for n, t in PROMPTS.items())
    lines(folder / "judge_prompts.jsonl", {"name": "pair-v2", "prompt_template": "{answer_a}"}, *prompts)
    reference = {"question_id": 111, "choices": [{"index": 0, "turns": ["two", "four"]}]}
    lines(folder / "reference_answer/gpt-4.jsonl", reference)
    return folder


def load(data: Path, **settings: object) -> OpenJudged[MTBenchSettings]:
    own = MTBenchSettings.model_validate_json(json.dumps({"data": str(data), **settings}))
    return BENCHMARK.open(own, BENCHMARK.files(own))


def judge_tasks(data: Path, *answers: Answer) -> list[JudgeTask]:
    return load(data).tasks(answers)


def test_questions_have_fastchats_temperatures_and_references(data: Path) -> None:
    writing, math, trivia = load(data, max_new_tokens=64).questions
    assert (writing.id, writing.temperature, writing.turns) == ("81", 0.7, ("Write.", "Again."))
    assert (math.id, math.temperature, math.extra["references"]) == ("111", 0.0, ["two", "four"])
    assert (trivia.id, trivia.temperature, trivia.max_new_tokens) == ("x7", 0.7, 64)
    assert "references" not in writing.extra


def test_a_choice_of_questions(data: Path) -> None:
    assert [q.id for q in load(data, questions=1).questions] == ["81"]
    assert [q.id for q in load(data, categories=["math", "trivia"]).questions] == ["111", "x7"]
    with pytest.raises(HarnessError, match="no category art") as caught:
        assert load(data, categories=["art"]).questions
    assert "writing, math, trivia" in caught.value.fix


def test_where_the_files_lie_is_no_identity(data: Path) -> None:
    bench = load(data)
    assert "data" not in identity(bench.settings)
    assert set(bench.files) == {"questions", "prompts", "references"}


def test_temperatures_and_references_are_fastchats() -> None:
    from fastchat.llm_judge import common

    theirs = {k: v for k, v in common.temperature_config.items() if k != "arena-hard-200"}
    assert theirs == TEMPERATURES
    assert set(common.NEED_REF_CATS) - {"arena-hard-200"} == REFERENCE_CATEGORIES


def test_each_turn_has_its_prompt(data: Path) -> None:
    found = judge_tasks(data, Answer("81", ("a", "b")), Answer("111", ("c", "d")), Answer("x7", ("e",)))
    assert [(t.item, t.turn, t.prompt) for t in found] == [
        ("81", 1, "single-v1"),
        ("81", 2, "single-v1-multi-turn"),
        ("111", 1, "single-math-v1"),
        ("111", 2, "single-math-v1-multi-turn"),
        ("x7", 1, "single-v1"),
    ]
    assert found[0].messages == (
        {"role": "system", "content": "Judge."},
        {"role": "user", "content": "Q: Write.\nA: a"},
    )
    assert found[3].messages[1]["content"] == "1 1+1? c 2 2+2? d R two four"
    assert found[3].evidence == {
        "category": "math",
        "questions": ["1+1?", "2+2?"],
        "answers": ["c", "d"],
        "references": ["two", "four"],
    }


@pytest.mark.parametrize(
    "text",
    ["{", "}", "{}", "{0}", "{question}", "{answer.__class__}", "{{ 7*7 }}", "%s $x {% raw %}", "\\u007b", "😀\n"],
)
def test_an_answer_cannot_break_its_prompt(data: Path, text: str) -> None:
    (first, second, *_) = judge_tasks(data, Answer("81", (text, text)))
    assert first.messages[1]["content"] == f"Q: Write.\nA: {text}"
    assert second.messages[1]["content"] == f"1 Write. {text} 2 Again. {text}"


def test_a_question_cannot_break_its_prompt(data: Path) -> None:
    path = data / "question.jsonl"
    path.write_text(path.read_text().replace("Write.", "{answer} {0} {{"))
    assert judge_tasks(data, Answer("81", ("a", "b")))[0].messages[1]["content"] == "Q: {answer} {0} {{\nA: a"


def test_only_what_was_answered_is_judged(data: Path) -> None:
    found = judge_tasks(data, Answer("81", ("a", None)), Answer("111", (None, "d")))
    assert [(t.item, t.turn) for t in found] == [("81", 1)]


def test_samples_say_what_happened_to_each_turn(data: Path) -> None:
    answers = [Answer("81", ("four", "answer")), Answer("111", ("c", None))]
    verdicts = [
        Verdict(JudgeTask("81", 1), Reply("ok", 7.0)),
        Verdict(JudgeTask("81", 1, repeat=1), Reply("ok", 8.0)),
        Verdict(JudgeTask("81", 2), Reply("unparseable")),
        Verdict(JudgeTask("111", 1), Reply("refused")),
    ]
    found = load(data).samples(answers, verdicts)
    assert [(s.item, s.turn, s.repeat, s.value, s.status, s.length) for s in found] == [
        ("81", 1, 0, 7.0, "ok", 4),
        ("81", 1, 1, 8.0, "ok", 4),
        ("81", 2, 0, None, "unparseable", 6),
        ("111", 1, 0, None, "refused", 1),
        ("111", 2, 0, None, "missing", 0),
        ("x7", 1, 0, None, "missing", 0),
    ]
    assert all(s.cluster == s.item for s in found)


def test_a_missing_reference_names_the_question(data: Path) -> None:
    lines(data / "reference_answer/gpt-4.jsonl", {"question_id": 111, "choices": [{"index": 0, "turns": ["two"]}]})
    with pytest.raises(HarnessError, match="question 111") as caught:
        assert load(data).questions
    assert caught.value.where == f"{data / 'question.jsonl'}:2"
    assert load(data, categories=["writing"]).questions[0].id == "81"


def test_a_missing_file_is_named(data: Path) -> None:
    with pytest.raises(HarnessError, match="no such file") as caught:
        assert load(data, references="claude").questions
    assert caught.value.where.endswith("reference_answer/claude.jsonl")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"question_id": 81, "category": "writing", "turns": ["a"]}', "question 81 is there already"),
        ('{"question_id": 82, "category": "writing", "turns": []}', "one or two turns"),
        ('{"question_id": 82, "category": "writing", "turns": [1]}', "turns"),
        ('{"question_id": 82, "turns": ["a"]}', "category"),
        ('{"question_id": 82,', "broken JSON line"),
        ("7", "must be a JSON object"),
    ],
)
def test_a_bad_question_is_named_by_file_and_line(data: Path, line: str, says: str) -> None:
    path = data / "question.jsonl"
    path.write_text(path.read_text() + "\n" + line + "\n")  # the blank line counts
    with pytest.raises(HarnessError, match=re.escape(says)) as caught:
        assert load(data).questions
    assert caught.value.where == f"{path}:5"


@pytest.mark.parametrize(
    "template", ["{question}", FIRST + "{x}", "{question} {answer.__class__}", "{question} {answer", "}"]
)
def test_a_template_with_other_placeholders_is_refused(data: Path, template: str) -> None:
    prompt = {"name": "single-v1", "system_prompt": "", "prompt_template": template}
    lines(data / "judge_prompts.jsonl", prompt)
    with pytest.raises(HarnessError, match="prompt_template") as caught:
        judge_tasks(data, Answer("81", ("a", "b")))
    assert caught.value.where == f"{data / 'judge_prompts.jsonl'}:1"


def test_a_missing_prompt_is_named(data: Path) -> None:
    lines(data / "judge_prompts.jsonl", {"name": "single-v1", "system_prompt": "", "prompt_template": FIRST})
    with pytest.raises(HarnessError, match="no judge prompt single-math-v1, "):
        judge_tasks(data, Answer("81", ("a", "b")))


def test_answers_come_back_and_fastchat_reads_them(tmp_path: Path) -> None:
    from fastchat.llm_judge import common

    answers = [Answer("81", ("eins\n{}", "zwei ü")), Answer("x7", ("a", None))]
    path = tmp_path / "model_answer" / "m.jsonl"
    path.parent.mkdir()
    write_answers(path, "m", answers)
    first = path.read_bytes()
    write_answers(path, "m", answers)
    assert path.read_bytes() == first
    assert read_answers(path) == answers
    theirs = common.load_model_answers(str(path.parent))["m"]
    assert theirs[81]["choices"][0]["turns"] == ["eins\n{}", "zwei ü"]
    assert theirs[81]["answer_id"] != theirs["x7"]["answer_id"]


def test_an_answer_that_fastchat_marks_as_failed_is_none(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    lines(path, {"question_id": 1, "choices": [{"index": 0, "turns": ["$ERROR$", "b"]}]})
    assert read_answers(path) == [Answer("1", (None, "b"))]


def test_judgments_come_back_and_fastchat_reads_them(data: Path, tmp_path: Path) -> None:
    from fastchat.llm_judge import common

    tasks = judge_tasks(data, Answer("81", ("a", "b")))
    replies = [Reply("ok", 8.5, "good [[8.5]]"), Reply("unparseable", None, "no idea")]
    verdicts = [Verdict(task, reply) for task, reply in zip(tasks, replies, strict=True)]
    path = tmp_path / "judge_single.jsonl"
    write_judgments(path, "m", "j", verdicts)
    shown = [replace(task, messages=(), evidence={}) for task in tasks]
    assert [(j.verdict.task, j.verdict.reply) for j in read_judgments([path])] == [*zip(shown, replies, strict=True)]
    theirs = common.load_single_model_judgments(str(path))
    assert theirs["j", "single-v1"][81, "m"] == {"score": 8.5, "judgment": "good [[8.5]]"}
    assert theirs["j", "single-v1-multi-turn"][81, "m"]["score"] == -1


def test_export_writes_both_files(data: Path, tmp_path: Path) -> None:
    answers = [Answer("81", ("a", "b"))]
    verdict = Verdict(judge_tasks(data, *answers)[0], Reply("ok", 8.0, "[[8]]"))
    load(data).export(tmp_path / "out", "m", "j", answers, [verdict])
    assert read_answers(tmp_path / "out/model_answer/m.jsonl") == answers
    (only,) = read_judgments([tmp_path / "out/model_judgment/j_single.jsonl"])
    assert (only.model, only.judge, only.verdict.reply.value, only.verdict.task.prompt) == ("m", "j", 8.0, "single-v1")


def test_the_made_up_verdicts_are_what_fastchat_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FastChat judges the made-up answers with the made-up replies: its lines are the made-up file's, but for times."""
    from fastchat.llm_judge import common, gen_judgment

    world = mt_bench.made_up(tmp_path / "data", per_category=2)
    expected = [json.loads(line) for line in world.judgments.read_text(encoding="utf-8").splitlines()]
    replies = {line["user_prompt"]: line["judgment"] for line in expected}
    monkeypatch.setattr(common, "chat_completion_openai", lambda _, asked, **__: replies[asked.messages[0][1]])
    judges = gen_judgment.make_judge_single("gpt-4", common.load_judge_prompts(str(world.data / "judge_prompts.jsonl")))
    questions = common.load_questions(str(world.questions), None, None)
    answers = common.load_model_answers(str(world.data / "model_answer"))
    references = common.load_model_answers(str(world.data / "reference_answer"))
    for name, judge in judges.items():
        of_kind = [q for q in questions if (q["category"] in common.NEED_REF_CATS) == judge.ref_based]
        known = references if judge.ref_based else None
        given = (of_kind, list(answers), answers, judge, None, known, judge.multi_turn)
        for match in gen_judgment.make_match_single(*given):
            common.play_a_match_single(match, str(tmp_path / f"{name}.jsonl"))
    lines = [line for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert sorted(map(timeless, map(json.loads, lines))) == sorted(map(timeless, expected))


def timeless(line: dict[str, Any]) -> str:
    return json.dumps({**line, "tstamp": 0.0}, sort_keys=True)


def test_our_prompts_are_what_fastchat_sent(mt_bench_world: World) -> None:
    """Stored judgments hold the prompt that the judge saw: ours must be the same, character for character."""
    bench = load(mt_bench_world.data)
    for model in mt_bench_world.averages:
        answers = read_answers(mt_bench_world.answers(model))
        ours = {(t.item, t.turn): t for t in bench.tasks(answers)}
        assert len(ours) == 160
        for number, line in enumerate(mt_bench_world.judgments.open(encoding="utf-8"), 1):
            theirs = json.loads(line)
            if theirs["model"] == model:
                task = ours.pop((str(theirs["question_id"]), theirs["turn"]))
                assert task.messages[-1]["content"] == theirs["user_prompt"], number
                assert task.prompt == theirs["judge"][1], number
        assert ours == {}


def test_stored_verdicts_survive_the_round_trip(mt_bench_world: World, tmp_path: Path) -> None:
    bench = load(mt_bench_world.data)
    model = next(iter(mt_bench_world.averages))
    answers = read_answers(mt_bench_world.answers(model))
    asked = {(task.item, task.turn): task for task in bench.tasks(answers)}
    given = [j.verdict for j in read_judgments([mt_bench_world.judgments]) if j.model == model]
    assert len(given) == 160
    whole = [Verdict(asked[v.task.item, v.task.turn], v.reply) for v in given]
    write_judgments(tmp_path / "j.jsonl", "m", "gpt-4", whole)
    assert [j.verdict for j in read_judgments([tmp_path / "j.jsonl"])] == given
    assert all(v.reply.value for v in given)


def test_a_copy_elsewhere_is_the_same_benchmark(mt_bench_world: World, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(mt_bench_world.data, copy)
    assert load(copy).questions == load(mt_bench_world.data).questions
