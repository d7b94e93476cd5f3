"""Arena-Hard on disk: arena-hard-auto's question, answer and judgment files, read with errors that name the line.

Two layouts are about: v0.1's own (`question_id`, `turns`, `choices`) and the later one in which v0.1 is still shared
(`uid`, `prompt`, `messages`). Both are read; v0.1's own is written.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from harness.bench.api import Question
from harness.bench.mt_bench.files import API_ERROR, NO_TIME
from harness.core.canonical import Json, digest
from harness.core.errors import HarnessError
from harness.core.lines import numbered_lines, write_lines
from harness.generate.api import Answer
from harness.judge.api import JudgeTask, Verdict
from harness.judge.forms.arena import TURNED, VALUES, label
from harness.store.ledger import Reply

LATER_VALUES = VALUES | {turned: VALUES[same] for turned, same in TURNED.items()}
"""Labels that v2.0 counts, whose files name the baseline."""
STYLE = ("token_len", "header_count", "list_count", "bold_count")
"""What v2.0's answer files count in an answer."""
VARIANTS = ("ba", "ab")
"""The games in their order: the baseline's answer is shown first in game 1, the model's in game 2."""


@dataclass(frozen=True)
class QuestionLine:
    """One line of question.jsonl."""

    id: str
    category: str
    prompt: str
    where: str
    """file:line."""


@dataclass(frozen=True)
class JudgedGame:
    """One game of a model_judgment line; its verdict is from the first shown answer's point of view."""

    model: str
    baseline: str
    """Whom the model met; empty where the file does not say, as v0.1's does not."""
    judge: str
    verdict: Verdict
    where: str
    """file:line."""


class _Line(BaseModel):
    id: str | int = Field(validation_alias=AliasChoices("question_id", "uid"))


class _Content(BaseModel):
    content: str | None


class _Question(_Line):
    category: str
    prompt: str | None = None
    turns: tuple[_Content, ...] = ()


class _Choice(BaseModel):
    turns: tuple[_Content | str | None, ...] = Field(min_length=1)


class _Said(BaseModel):
    answer: str | None


class _Message(BaseModel):
    content: _Said | str | None


class _Answer(_Line):
    choices: tuple[_Choice, ...] = ()
    messages: tuple[_Message, ...] = ()


class _Styled(_Line):
    model: str
    metadata: dict[str, int | dict[str, int]]


class _Game(BaseModel):
    score: str | None
    judgment: _Said | str | None = None


class _Judgment(_Line):
    model: str
    baseline: str | None = None
    judge: str
    games: tuple[_Game | None, ...] = Field(max_length=len(VARIANTS))


_Any = TypeVar("_Any", bound=_Line)


def read_questions(path: Path) -> list[QuestionLine]:
    """The questions in the order of the file.

    Raises:
        HarnessError: a broken line, a missing or wrong field, an id that comes twice, an empty file.
    """
    questions: dict[str, QuestionLine] = {}
    for where, line in _records(path, _Question):
        turns = [line.prompt] if line.prompt is not None else [turn.content for turn in line.turns]
        if len(turns) != 1 or turns[0] is None:
            raise HarnessError("an Arena-Hard question has one turn (`turns`, or `prompt`)", where=where)
        _once(str(line.id), questions, where, "is there already")
        questions[str(line.id)] = QuestionLine(str(line.id), line.category, turns[0], where)
    if not questions:
        raise HarnessError("holds no questions", where=str(path))
    return list(questions.values())


def read_answers(path: Path) -> dict[str, str | None]:
    """Question id -> the answer; None where there is none (null, or upstream's `$ERROR$`).

    Raises:
        HarnessError: a broken line, a missing or wrong field, a question answered twice.
    """
    answers: dict[str, str | None] = {}
    for where, line in _records(path, _Answer):
        if not line.choices and not line.messages:
            raise HarnessError("has no answer (`choices`, or `messages`)", where=where)
        _once(str(line.id), answers, where, "is answered already")
        said = line.choices[0].turns[0] if line.choices else line.messages[-1]
        text = _text(said)
        answers[str(line.id)] = None if text == API_ERROR else text
    return answers


def read_styles(paths: Iterable[Path]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Model -> question id -> the counts of STYLE in its answer, of answer files as v2.0 shares them.

    Raises:
        HarnessError: a broken line, or one without these counts.
    """
    styles: dict[str, dict[str, tuple[int, ...]]] = {}
    for path in paths:
        for where, line in _records(path, _Styled):
            if missing := [name for name in STYLE if name not in line.metadata]:
                fix = "arena-hard-auto's utils/add_markdown_info.py adds them."
                raise HarnessError(f"`metadata` has no {', '.join(missing)}", where=where, fix=fix)
            counts = (line.metadata[name] for name in STYLE)
            summed = tuple(sum(count.values()) if isinstance(count, dict) else count for count in counts)
            styles.setdefault(line.model, {})[str(line.id)] = summed
    return styles


def read_games(paths: Iterable[Path]) -> list[JudgedGame]:
    """Every game of model_judgment files. A score that is no label has no value; a game that is not there is `missing`.

    Lines for the same (model, baseline, judge, question), in whichever file, are repeats, numbered in their order.

    Raises:
        HarnessError: a broken line, a missing or wrong field, more than two games.
    """
    judged: list[JudgedGame] = []
    repeats: Counter[tuple[str, str, str, str]] = Counter()
    for path in paths:
        for where, line in _records(path, _Judgment):
            baseline = line.baseline or ""
            key = (line.model, baseline, line.judge, str(line.id))
            games = (*line.games, None, None)[: len(VARIANTS)]
            for variant, game in zip(VARIANTS, games, strict=True):
                labels = LATER_VALUES if line.baseline else VALUES
                verdict = _verdict(str(line.id), repeats[key], variant, game, labels)
                judged.append(JudgedGame(line.model, baseline, line.judge, verdict, where))
            repeats[key] += 1
    return judged


def _verdict(item: str, repeat: int, variant: str, game: _Game | None, labels: Mapping[str, float]) -> Verdict:
    task = JudgeTask(item, 1, repeat=repeat, variant=variant)
    if game is None:
        return Verdict(task, Reply("missing"))
    value = labels.get(game.score or "")
    return Verdict(task, Reply("unparseable" if value is None else "ok", value, _text(game.judgment) or ""))


def write_model(
    folder: Path,
    model: str,
    judge: str,
    answers: Sequence[Answer],
    verdicts: Sequence[Verdict],
    questions: Sequence[Question] | None = None,
) -> None:
    """Write one model's model_answer/MODEL.jsonl and model_judgment/JUDGE/MODEL.jsonl: as v0.1 has them, or with
    `questions` as v2.0 has them.

    A game without a verdict is null, a verdict without a value has a null score. A share of the win (a judge's
    probabilities) is written as the slight win that it leans to, for the format has no other words.
    """
    for name in ("model_answer", f"model_judgment/{judge}"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    asked = {question.id: question for question in questions or ()}
    lines = (_later_answer_line(model, a, asked[a.id]) if asked else _answer_line(model, a) for a in answers)
    write_lines(folder / "model_answer" / f"{model}.jsonl", lines)
    games: dict[tuple[str, int], dict[str, Json]] = {}
    met = {v.task.item: v.task.evidence.get("baseline") for v in verdicts}
    for v in verdicts:
        games.setdefault((v.task.item, v.task.repeat), {})[v.task.variant] = {
            "user_prompt": v.task.messages[-1]["content"],
            "judgment": {"answer": v.reply.text} if asked else v.reply.text,
            "score": None if v.reply.value is None else label(v.reply.value),
        }
    rows = (
        ({"uid": item, "category": asked[item].category} if asked else {"question_id": item})
        | {"model": model, "baseline": met[item], "judge": judge}
        | {"games": [by_variant.get(variant) for variant in VARIANTS]}
        for (item, _), by_variant in games.items()
    )
    write_lines(folder / "model_judgment" / judge / f"{model}.jsonl", rows)


def _answer_line(model: str, answer: Answer) -> Json:
    tokens = answer.tokens or (None,) * len(answer.turns)
    turns = [{"content": text, "token_len": count} for text, count in zip(answer.turns, tokens, strict=True)]
    return {
        "question_id": answer.id,
        "answer_id": digest([model, answer.id, list(answer.turns)])[:22],
        "model_id": model,
        "choices": [{"index": 0, "turns": turns}],
        "tstamp": NO_TIME,
    }


def _later_answer_line(model: str, answer: Answer, question: Question) -> Json:
    said: list[Json] = [{"role": "user", "content": question.turns[0]}]
    said += [{"role": "assistant", "content": {"answer": text}} for text in answer.turns]
    key = digest([model, answer.id, list(answer.turns)])[:22]
    return {"uid": answer.id, "ans_id": key, "model": model, "messages": said, "tstamp": NO_TIME}


def _records(path: Path, kind: type[_Any]) -> Iterator[tuple[str, _Any]]:
    for number, record in numbered_lines(path):
        where = f"{path}:{number}"
        try:
            yield where, kind.model_validate(record)
        except ValidationError as error:
            first: Any = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise HarnessError(f"`{place}`: {first['msg']}" if place else first["msg"], where=where) from None


def _text(said: _Content | _Message | _Said | str | None) -> str | None:
    """The text of a turn, a message or a judgment, however it is wrapped."""
    if isinstance(said, _Content | _Message):
        return _text(said.content)
    return said.answer if isinstance(said, _Said) else said


def _once(item: str, seen: Mapping[str, object], where: str, already: str) -> None:
    if item in seen:
        raise HarnessError(f"question {item} {already}", where=where, fix="Remove one of the two lines.")
