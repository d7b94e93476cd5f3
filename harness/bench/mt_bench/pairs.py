"""MT-Bench's pairwise games: FastChat's prompts, how two games make a sample, and FastChat's pair judgment file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.bench.api import Question, Sample
from harness.bench.mt_bench.files import NO_TIME, JudgePrompt, fastchat_id, write_answers
from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import append_lines, numbered_lines
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict
from harness.judge.forms.pair import FIRST, SECOND, TIE
from harness.store.ledger import Status

VARIANTS = ("ab", "ba")
"""The games in FastChat's order: the model's answer is shown first in game 1, the baseline's in game 2."""

_FIRST = frozenset({"question", "answer_a", "answer_b"})
_SECOND = frozenset({"question_1", "question_2", "answer_a_1", "answer_a_2", "answer_b_1", "answer_b_2"})
PLACEHOLDERS = {
    "pair-v2": _FIRST,
    "pair-math-v1": _FIRST | {"ref_answer_1"},
    "pair-v2-multi-turn": _SECOND,
    "pair-math-v1-multi-turn": _SECOND | {"ref_answer_1", "ref_answer_2"},
}
"""The placeholders that each prompt's template must have, no more and no less."""

Game = tuple[str, int, int]
"""(item, turn, repeat): two verdicts, one per variant."""


def read_model(path: Path) -> str:
    """The model that a model_answer file is of: `model_id` of its first line.

    Raises:
        HarnessError: an empty file, or no model_id.
    """
    number, line = next(numbered_lines(path), (1, None))
    model = line.get("model_id") if isinstance(line, dict) else None
    if not isinstance(model, str):
        raise HarnessError("has no `model_id` (a text)", where=f"{path}:{number}")
    return model


def judge_tasks(
    prompts: Mapping[str, JudgePrompt], questions: Sequence[Question], answers: Sequence[Answer]
) -> list[JudgeTask]:
    """Two tasks per answered turn; the second turn is judged when both turns have answers."""
    given = {answer.id: answer.turns for answer in answers}
    return [
        _task(prompts, question, [text or "" for text in given[question.id][:turn]], variant)
        for question in questions
        for turn in range(1, len(question.turns) + 1)
        if _answered(given.get(question.id, ()), turn)
        for variant in VARIANTS
    ]


def _answered(turns: Sequence[str | None], turn: int) -> bool:
    return len(turns) >= turn and all(text is not None for text in turns[:turn])


def _task(prompts: Mapping[str, JudgePrompt], question: Question, texts: Sequence[str], variant: str) -> JudgeTask:
    turn = len(texts)
    references: Sequence[str] = question.extra.get("references", [])[:turn]
    baseline: Sequence[str] = question.extra["baseline_answers"][:turn]
    name = ("pair-math-v1" if references else "pair-v2") + ("-multi-turn" if turn == 2 else "")
    shown = {"a": texts, "b": baseline} if variant == "ab" else {"a": baseline, "b": texts}
    values = {f"ref_answer_{k}": text for k, text in enumerate(references, 1)}
    if turn == 1:
        values |= {"question": question.turns[0]} | {f"answer_{side}": answers[0] for side, answers in shown.items()}
    else:
        values |= {f"question_{k}": text for k, text in enumerate(question.turns, 1)}
        values |= {f"answer_{side}_{k}": text for side, answers in shown.items() for k, text in enumerate(answers, 1)}
    messages = (
        {"role": "system", "content": prompts[name].system},
        {"role": "user", "content": prompts[name].render(**values)},
    )
    evidence = {
        "category": question.category,
        "question": question.turns[turn - 1],
        "answer": texts[-1],
        "baseline": question.extra["baseline"],
        "baseline_answer": baseline[-1],
    } | ({"reference": references[-1]} if references else {})
    return JudgeTask(question.id, turn, name, messages, evidence, variant=variant)


def outcome(first: float, second: float) -> float:
    """The model's share of the win, from its share in each of the two orders.

    Verdicts count as in FastChat: a win in both orders is a win, anything that is not the same twice is a tie. Shares
    between (a judge's probabilities) are averaged, which takes out a preference for a place.
    """
    if {first, second} <= {FIRST, TIE, SECOND}:
        return first if first == second else TIE
    return (first + second) / 2


def pair_samples(
    benchmark: str, metric: str, questions: Sequence[Question], answers: Sequence[Answer], verdicts: Sequence[Verdict]
) -> list[Sample]:
    """One row per (question, turn) and repeat, with the outcome in %."""
    given = {answer.id: answer.turns for answer in answers}
    games = _games(verdicts)
    repeats: dict[tuple[str, int], set[int]] = {}
    for item, turn, repeat in games:
        repeats.setdefault((item, turn), set()).add(repeat)
    rows = []
    for q in questions:
        for turn in range(1, len(q.turns) + 1):
            texts = given.get(q.id, ())
            length = len(texts[turn - 1] or "") if len(texts) >= turn else 0
            for repeat in sorted(repeats.get((q.id, turn), {0})):
                value, status = _judged(games.get((q.id, turn, repeat), {}))
                rows.append(Sample(benchmark, metric, q.id, q.id, q.category, turn, repeat, value, status, length))
    return rows


def _games(verdicts: Sequence[Verdict]) -> dict[Game, dict[str, Verdict]]:
    games: dict[Game, dict[str, Verdict]] = {}
    for v in verdicts:
        games.setdefault((v.task.item, v.task.turn, v.task.repeat), {})[v.task.variant] = v
    return games


def _judged(games: Mapping[str, Verdict]) -> tuple[float | None, Status]:
    shares = []
    for variant in VARIANTS:
        verdict = games.get(variant)
        if verdict is None or verdict.reply.value is None:
            return None, verdict.reply.status if verdict else "missing"
        shares.append(_share(verdict, verdict.reply.value))
    return 100 * outcome(*shares), "ok"


def _share(verdict: Verdict, value: float) -> float:
    """The model's share: a verdict's value is that of the answer shown first."""
    return value if verdict.task.variant == "ab" else 1 - value


def write_model(folder: Path, model: str, judge: str, answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> None:
    """Write one model's `model_answer/MODEL.jsonl`, and its lines of `model_judgment/JUDGE_pair.jsonl`.

    Appended, as FastChat does, because one file holds a judge's verdicts on every model. A share between 0 and 1 is
    written as a win of the side that has more, for the format has no other words.
    """
    for name in ("model_answer", "model_judgment"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_answers(folder / "model_answer" / f"{model}.jsonl", model, answers)
    append_lines(folder / "model_judgment" / f"{judge}_pair.jsonl", _lines(model, judge, verdicts))


def _lines(model: str, judge: str, verdicts: Sequence[Verdict]) -> Iterator[Json]:
    for (item, turn, _), games in _games(verdicts).items():
        line: dict[str, Json] = {"question_id": fastchat_id(item), "model_1": model}
        for number, variant in enumerate(VARIANTS, 1):
            task = games[variant].task
            line |= {
                "model_2": task.evidence["baseline"],
                "judge": [judge, task.prompt],
                f"g{number}_winner": _winner(games[variant]),
                f"g{number}_user_prompt": task.messages[-1]["content"],
                f"g{number}_judgment": games[variant].reply.text,
            }
        yield line | {"turn": turn, "tstamp": NO_TIME}


def _winner(verdict: Verdict) -> str:
    """FastChat's words; `error` where there is no value, which its show_result leaves out."""
    if verdict.reply.value is None:
        return "error"
    share = _share(verdict, verdict.reply.value)
    return "tie" if share == TIE else "model_1" if share > TIE else "model_2"
