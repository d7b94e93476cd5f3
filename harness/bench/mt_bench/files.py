"""MT-Bench on disk: FastChat's question, prompt, answer and judgment files, read with errors that name the line."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from harness.core.canonical import Json, digest
from harness.core.errors import HarnessError
from harness.core.lines import append_lines, numbered_lines, write_lines
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict
from harness.store.ledger import Reply

NO_TIME = 0.0
"""`tstamp` of every line that we write: the same content gives the same bytes. The ledger has a verdict's time."""
API_ERROR = "$ERROR$"
"""The answer that FastChat stores for a model whose endpoint failed."""


@dataclass(frozen=True)
class QuestionLine:
    """One line of question.jsonl."""

    id: str
    category: str
    turns: tuple[str, ...]
    where: str
    """file:line."""


@dataclass(frozen=True)
class JudgePrompt:
    """One prompt of judge_prompts.jsonl."""

    name: str
    system: str
    template: str

    def render(self, **values: str) -> str:
        """Fill in the template. Values are put in as they are: braces in an answer are text."""
        return self.template.format(**values)


@dataclass(frozen=True)
class Judgment:
    """One line of a model_judgment file."""

    model: str
    judge: str
    verdict: Verdict
    where: str
    """file:line."""


def read_questions(path: Path) -> list[QuestionLine]:
    """The questions in the order of the file.

    Raises:
        HarnessError: a broken line, a missing or wrong field, an id that comes twice, an empty file.
    """
    questions: dict[str, QuestionLine] = {}
    for where, line in _records(path):
        turns = _texts(line, "turns", where)
        if not 1 <= len(turns) <= 2:
            raise HarnessError(f"an MT-Bench question has one or two turns, not {len(turns)}", where=where)
        question = QuestionLine(_id(line, where), _text(line, "category", where), turns, where)
        if question.id in questions:
            raise HarnessError(
                f"question {question.id} is there already ({questions[question.id].where})",
                where=where,
                fix="Remove one of the two lines.",
            )
        questions[question.id] = question
    if not questions:
        raise HarnessError("holds no questions", where=str(path))
    return list(questions.values())


def read_prompts(path: Path, fields: Mapping[str, frozenset[str]]) -> dict[str, JudgePrompt]:
    """The prompts named in `fields`, each checked to use exactly the placeholders listed there.

    Raises:
        HarnessError: a prompt is missing, or its template has other placeholders.
    """
    prompts = {}
    for where, line in _records(path):
        name = _text(line, "name", where)
        if name in fields:
            template = _text(line, "prompt_template", where)
            _check_template(template, fields[name], where)
            prompts[name] = JudgePrompt(name, _text(line, "system_prompt", where), template)
    if missing := sorted(fields.keys() - prompts.keys()):
        raise HarnessError(
            f"has no judge prompt {', '.join(missing)}",
            where=str(path),
            fix="Take judge_prompts.jsonl from FastChat (fastchat/llm_judge/data).",
        )
    return prompts


def _check_template(template: str, fields: frozenset[str], where: str) -> None:
    try:
        used = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise HarnessError(f"prompt_template is no format string ({error})", where=where) from None
    if used != fields:
        raise HarnessError(
            f"prompt_template has the placeholders {_braced(used)}, expected {_braced(fields)}", where=where
        )


def _braced(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))


def read_answers(path: Path) -> list[Answer]:
    """A model's answers (the first choice of each line). A null turn or FastChat's `$ERROR$` is a failed answer.

    Raises:
        HarnessError: a broken line, a missing or wrong field, a question answered twice.
    """
    answers: dict[str, Answer] = {}
    for where, line in _records(path):
        item = _id(line, where)
        if item in answers:
            raise HarnessError(f"question {item} is answered twice", where=where, fix="Remove one of the two lines.")
        try:
            turns = line["choices"][0]["turns"]
        except (KeyError, IndexError, TypeError):
            raise HarnessError("has no choices[0].turns", where=where) from None
        if not isinstance(turns, list) or not all(isinstance(t, str | None) for t in turns):
            raise HarnessError("choices[0].turns must be a list of texts", where=where)
        answers[item] = Answer(item, tuple(None if t == API_ERROR else t for t in turns))
    return list(answers.values())


def write_model(folder: Path, model: str, judge: str, answers: Sequence[Answer], verdicts: Sequence[Verdict]) -> None:
    """Write one model's `model_answer/MODEL.jsonl`, and its lines of `model_judgment/JUDGE_single.jsonl`."""
    for name in ("model_answer", "model_judgment"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_answers(folder / "model_answer" / f"{model}.jsonl", model, answers)
    write_judgments(folder / "model_judgment" / f"{judge}_single.jsonl", model, judge, verdicts)


def write_answers(path: Path, model_id: str, answers: Sequence[Answer]) -> None:
    """Write model_answer/MODEL.jsonl as FastChat reads it; an answer that failed is null."""
    write_lines(path, (_answer_line(model_id, answer) for answer in answers))


def _answer_line(model_id: str, answer: Answer) -> Json:
    turns = list(answer.turns)
    return {
        "question_id": fastchat_id(answer.id),
        "answer_id": digest([model_id, answer.id, turns])[:22],
        "model_id": model_id,
        "choices": [{"index": 0, "turns": turns}],
        "tstamp": NO_TIME,
    }


def read_judgments(paths: Iterable[Path]) -> list[Judgment]:
    """Single-answer verdicts. A score of -1, FastChat's mark of an unparsed reply, or outside 0..10 has no value.

    Lines for the same (model, judge, question, turn), in whichever file, are repeats, numbered in their order.

    Raises:
        HarnessError: a broken line, a missing or wrong field.
    """
    judgments: list[Judgment] = []
    repeats: Counter[tuple[str, str, str, int]] = Counter()
    for path in paths:
        for where, line in _records(path):
            judge, turn = _texts(line, "judge", where), line.get("turn")
            if len(judge) != 2:
                raise HarnessError("`judge` must be [judge, prompt]", where=where)
            if turn not in (1, 2):
                raise HarnessError(f"`turn` must be 1 or 2, not {turn!r}", where=where)
            model, item = _text(line, "model", where), _id(line, where)
            key = (model, judge[0], item, turn)
            value, text = _score(line, where), _text(line, "judgment", where)
            task = JudgeTask(item, turn, judge[1], repeat=repeats[key])
            reply = Reply("unparseable" if value is None else "ok", value, text)
            judgments.append(Judgment(model, judge[0], Verdict(task, reply), where))
            repeats[key] += 1
    return judgments


def _score(line: Mapping[str, Json], where: str) -> float | None:
    score = line.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise HarnessError(f"`score` must be a number, not {score!r}", where=where)
    return float(score) if 0 <= score <= 10 else None


def write_judgments(path: Path, model: str, judge: str, verdicts: Sequence[Verdict]) -> None:
    """Append model_judgment lines as FastChat reads them; a verdict without a value has score -1.

    Appended, as FastChat does, because one file holds a judge's verdicts on every model.
    """
    append_lines(path, (_judgment_line(model, judge, verdict) for verdict in verdicts))


def _judgment_line(model: str, judge: str, verdict: Verdict) -> Json:
    task, reply = verdict.task, verdict.reply
    return {
        "question_id": fastchat_id(task.item),
        "model": model,
        "judge": [judge, task.prompt],
        "user_prompt": task.messages[-1]["content"],
        "judgment": reply.text,
        "score": -1 if reply.value is None else _short(reply.value),
        "turn": task.turn,
        "tstamp": NO_TIME,
    }


def _short(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def fastchat_id(item: str) -> int | str:
    """FastChat's question ids are numbers; an id that would not come back the same stays text."""
    return int(item) if item.isascii() and item.isdigit() and str(int(item)) == item else item


def _records(path: Path) -> Iterator[tuple[str, dict[str, Json]]]:
    for number, line in numbered_lines(path):
        where = f"{path}:{number}"
        if not isinstance(line, dict):
            raise HarnessError("must be a JSON object", where=where)
        yield where, line


def _id(line: Mapping[str, Json], where: str) -> str:
    value = line.get("question_id")
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise HarnessError("has no question_id (a number or a text)", where=where)
    return str(value)


def _text(line: Mapping[str, Json], key: str, where: str) -> str:
    value = line.get(key)
    if not isinstance(value, str):
        raise HarnessError(f"has no `{key}` (a text)", where=where)
    return value


def _texts(line: Mapping[str, Json], key: str, where: str) -> tuple[str, ...]:
    value = line.get(key)
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise HarnessError(f"has no `{key}` (a list of texts)", where=where)
    return tuple(value)
