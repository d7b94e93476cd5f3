"""A reasoning model in a benchmark: judged and continued without its thinking, and by how its answers ended."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from harness.bench.pocket import BENCHMARK, PocketSettings
from harness.core.lines import Journal
from harness.generate.api import Answer, Engine, GenerateSettings, Request, ResponseSettings
from harness.models.settings import ModelSettings
from harness.stages import answer, benchmarks, conversing, judge, respond, score
from harness.stages.api import Stage
from harness.stages.model import weights
from harness.stages.pinned import leaf
from harness.store.store import Store
from tests.stages.running import run

MODEL = weights(ModelSettings(model="pocket:llama?layers=1&width=16&heads=2&seed=1"), {})
SETTINGS = PocketSettings(questions=8)
QUESTIONS = {q.id: q for q in BENCHMARK.open(SETTINGS, {}).questions}
ENDLESS, EMPTY, CUT, *PLAIN = QUESTIONS
"""Questions about which the model thinks for ever, says nothing, is cut in its answer; and all others."""
MARKS = GenerateSettings(think_start="<think>", think_end="</think>")


class Reasoning(Engine):
    """Knows every answer, thinks before it, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def complete(self, requests: Sequence[Request], on_done: Callable[[list[Answer]], None]) -> None:
        self.asked += requests
        on_done([self._answer(request) for request in requests])

    def _answer(self, request: Request) -> Answer:
        turn = sum(m["role"] == "user" for m in request.messages) - 1
        right = QUESTIONS[request.id].extra["references"][turn]
        said = "" if request.id == EMPTY else right
        text = f"<think>\nIs it [[10]]? Wait{'' if request.id == ENDLESS else f'.{chr(10)}</think>{chr(10)}{said}'}"
        return Answer(request.id, (text,), ("length" if request.id in (ENDLESS, CUT) else "stop",), (9,))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Reasoning:
    reasoning = Reasoning()

    @contextlib.contextmanager
    def loaded(*_: object) -> Iterator[Engine]:
        yield reasoning

    monkeypatch.setattr(conversing, "loaded", loaded)
    return reasoning


def stages(marks: GenerateSettings) -> tuple[Stage, Stage, Stage]:
    bench = benchmarks.pin("pocket", SETTINGS)
    answers = answer.stage(bench, MODEL, marks, 11, 0)
    verdicts = judge.program_stage(bench, answers)
    return answers, verdicts, score.stage(bench, answers, {"": verdicts})


def test_no_thinking_is_judged_or_told_and_unfinished_thinking_is_no_answer(tmp_path: Path, engine: Reasoning) -> None:
    answered, verdicts, scored = stages(MARKS)
    samples, _ = score.read(run(scored, tmp_path))
    status = samples.groupby("item")["status"].agg(list)
    assert status[ENDLESS] == ["unfinished", "missing"], "its second turn was never asked"
    assert {tuple(status[item]) for item in (EMPTY, CUT, *PLAIN)} == {("ok", "ok")}
    values = samples.set_index("item")["value"]
    assert values[[CUT, *PLAIN]].tolist() == [100.0] * 2 * (1 + len(PLAIN)), "judged by the answer alone"
    assert values[EMPTY].tolist() == [0.0, 0.0]
    assert values[ENDLESS].isna().all()

    store = tmp_path / "store" / "artifacts"
    shown = (store / verdicts.id / "tasks.jsonl").read_text() + str([request.messages for request in engine.asked])
    assert not [thought for thought in ("think>", "[[10]]", "Wait") if thought in shown]
    ends = {a.id: a.endings for a in answer.read(store / answered.id)}
    assert ends[ENDLESS] == ("unfinished", "failed")
    assert ends[EMPTY] == ("empty", "empty")
    assert ends[CUT] == ("cut", "cut")
    assert {ends[item] for item in PLAIN} == {("complete", "complete")}
    (plain,) = (a for a in answer.read(store / answered.id) if a.id == PLAIN[0])
    assert plain.thoughts == ("<think>\nIs it [[10]]? Wait.\n</think>",) * 2, "kept for who wants to read it"


def test_without_marks_a_text_is_the_answer(tmp_path: Path, engine: Reasoning) -> None:
    answered, *_ = stages(GenerateSettings())
    texts = [text for a in answer.read(run(answered, tmp_path)) for text in a.turns]
    assert texts
    assert all(text and text.startswith("<think>") for text in texts)
    assert {request.thinking for request in engine.asked} == {None}


def test_a_killed_stage_reads_its_journal_as_it_reads_the_engine(tmp_path: Path, engine: Reasoning) -> None:
    answered, *_ = stages(MARKS)
    whole = (run(answered, tmp_path / "whole") / "answers.jsonl").read_bytes()
    first = [Reasoning()._answer(Request(i, ({"role": "user", "content": ""},), 0.0, 9, 1)) for i in QUESTIONS]
    with Journal(Store(tmp_path / "killed" / "store").work(answered.id) / "turns.jsonl") as journal:
        journal.append(*(conversing._line(given, turn=1) for given in first))
    engine.asked.clear()
    assert (run(answered, tmp_path / "killed") / "answers.jsonl").read_bytes() == whole
    assert len(engine.asked) == len(QUESTIONS) - 1, "second turns alone, and not after unfinished thinking"


def test_a_teachers_responses_keep_their_thinking() -> None:
    prompts = leaf("0", Path(), "prompts")
    plain, marked = (respond.stage(MODEL, prompts, ResponseSettings(), s, 1, 0) for s in (GenerateSettings(), MARKS))
    assert plain.id == marked.id
