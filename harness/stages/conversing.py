"""Conversations held with a model, turn by turn, all at once: the common part of `answer` and `respond`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.bench.api import Question
from harness.core.canonical import Json
from harness.core.lines import Journal
from harness.core.seeds import derive_seed
from harness.core.settings import identity, restore
from harness.generate.api import Answer, Engine, GenerateSettings, Request, Thinking
from harness.generate.engines import loaded
from harness.generate.thinking import without_thinking
from harness.stages.api import Context


def converse(
    ctx: Context, questions: Sequence[Question], folder: Path, settings: GenerateSettings, seed: int
) -> list[Answer]:
    """Hold every conversation; finished turns are kept in the work folder and not asked for again.

    Returns:
        The answers without thinking, in the order of the questions. A turn after a failed one fails with it.
    """
    marks = settings.thinking

    def read(answer: Answer) -> Answer:
        return without_thinking(answer, marks) if marks else answer

    total = sum(len(question.turns) for question in questions)
    given = {question.id: Answer(question.id) for question in questions}
    with Journal(ctx.work / "turns.jsonl") as journal:
        for line in journal.records:
            given[line["id"]] += read(Answer(line["id"], (line["text"],), (line["finish"],), (line["tokens"],)))
        ctx.progress(sum(len(answer.turns) for answer in given.values()), total, "answers")

        def keep(answers: list[Answer]) -> None:
            journal.append(*(_line(answer, len(given[answer.id].turns) + 1) for answer in answers))
            given.update({answer.id: given[answer.id] + read(answer) for answer in answers})
            tokens = [count for answer in given.values() for count in answer.tokens]
            ctx.progress(len(tokens), total, "answers", tokens=sum(tokens))

        for turn in range(1, max((len(q.turns) for q in questions), default=0) + 1):
            due = [q for q in questions if len(q.turns) >= turn and _is_due(given[q.id], turn)]
            if due:
                requests = [_request(question, given[question.id], seed, marks) for question in due]
                _engine(ctx, folder, settings).complete(requests, keep)
    return [_whole(question, given[question.id]) for question in questions]


def _is_due(answer: Answer, turn: int) -> bool:
    """Whether this turn is the next, and every turn before it has a text."""
    return len(answer.turns) == turn - 1 and None not in answer.turns


def _request(question: Question, answer: Answer, seed: int, marks: Thinking | None) -> Request:
    """The question's next turn, after those that are answered."""
    messages = [{"role": "system", "content": question.system}] if question.system is not None else []
    for asked, text in zip(question.turns, answer.turns, strict=False):
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": str(text)}]
    turn = len(answer.turns) + 1
    messages.append({"role": "user", "content": question.turns[turn - 1]})
    return Request(
        id=question.id,
        messages=tuple(messages),
        temperature=question.temperature,
        max_new_tokens=question.max_new_tokens,
        seed=derive_seed(seed, question.id, turn),
        top_p=question.top_p,
        thinking=marks,
    )


def _line(answer: Answer, turn: int) -> dict[str, Json]:
    """A finished turn in the journal, as the engine gave it."""
    (text,), (finish,), (tokens,) = answer.turns, answer.finish, answer.tokens
    return {"id": answer.id, "turn": turn, "text": text, "finish": finish, "tokens": tokens}


def _whole(question: Question, answer: Answer) -> Answer:
    """The answer with its turns after a failed one, which fail with it."""
    rest = len(question.turns) - len(answer.turns)
    thoughts = ("",) * rest if answer.thoughts else ()
    failed = ("error: an earlier turn has no answer",) * rest
    return answer + Answer(question.id, (None,) * rest, failed, (0,) * rest, thoughts)


def _engine(ctx: Context, folder: Path, settings: GenerateSettings) -> Engine:
    """The engine, loaded once for all stages of the session."""
    log = ctx.store.root / "logs" / f"engine-{ctx.id[:12]}.log"
    return ctx.session.get(f"{folder}/{settings.model_dump_json()}", lambda: loaded(folder, settings, log))


def generation(ctx: Context) -> GenerateSettings:
    """The generation settings of a running stage."""
    return settings_of(ctx.params, ctx.execution)


def settings_of(params: Mapping[str, Json], execution: Mapping[str, Json]) -> GenerateSettings:
    """The generation settings of a stage, planned or running: those that are identity, and those that are not."""
    return restore(GenerateSettings, params["generate"] | execution["generate"])


def execution_of(settings: GenerateSettings) -> dict[str, Json]:
    """The generation settings that change no answer."""
    kept = identity(settings)
    return {name: value for name, value in settings.model_dump(mode="json").items() if name not in kept}


def session_key(model_id: str, part: str, engine: str) -> str:
    """Stages with the same key load the same model in the same way; `engine` is its settings as JSON."""
    return f"{model_id}/{part}/{engine}"
