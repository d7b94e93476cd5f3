"""MT-Bench's single-answer judge prompts: which prompt judges which answer, and the tasks that they make."""

from collections.abc import Mapping, Sequence

from harness.bench.api import Question
from harness.bench.mt_bench.files import JudgePrompt
from harness.generate.api import Answer
from harness.judge.api import JudgeTask

_FIRST = frozenset({"question", "answer"})
_SECOND = frozenset({"question_1", "question_2", "answer_1", "answer_2"})
PLACEHOLDERS = {
    "single-v1": _FIRST,
    "single-math-v1": _FIRST | {"ref_answer_1"},
    "single-v1-multi-turn": _SECOND,
    "single-math-v1-multi-turn": _SECOND | {"ref_answer_1", "ref_answer_2"},
}
"""The placeholders that each prompt's template must have, no more and no less."""


def judge_tasks(
    prompts: Mapping[str, JudgePrompt], questions: Sequence[Question], answers: Sequence[Answer]
) -> list[JudgeTask]:
    """One task per answered turn; the second turn is judged when both turns have answers."""
    given = {a.id: a for a in answers}
    return [
        _task(prompts, question, given[question.id], turn)
        for question in questions
        if question.id in given
        for turn in range(1, len(question.turns) + 1)
        if _answered(given[question.id], turn)
    ]


def _answered(answer: Answer, turn: int) -> bool:
    return len(answer.turns) >= turn and all(t is not None for t in answer.turns[:turn])


def _task(prompts: Mapping[str, JudgePrompt], question: Question, answer: Answer, turn: int) -> JudgeTask:
    references: Sequence[str] = question.extra.get("references", [])[:turn]
    name = ("single-math-v1" if references else "single-v1") + ("-multi-turn" if turn == 2 else "")
    texts = [text or "" for text in answer.turns[:turn]]
    values = {f"ref_answer_{k}": text for k, text in enumerate(references, 1)}
    if turn == 1:
        values |= {"question": question.turns[0], "answer": texts[0]}
    else:
        values |= {f"question_{k}": text for k, text in enumerate(question.turns, 1)}
        values |= {f"answer_{k}": text for k, text in enumerate(texts, 1)}
    messages = (
        {"role": "system", "content": prompts[name].system},
        {"role": "user", "content": prompts[name].render(**values)},
    )
    evidence = {
        "category": question.category,
        "questions": list(question.turns[:turn]),
        "answers": texts,
        "references": list(references),
    }
    return JudgeTask(question.id, turn, name, messages, evidence)
