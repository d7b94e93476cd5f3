"""Conversations held with a model, turn by turn, all at once: what `answer` and `respond` have in common."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.bench.api import Answer, Question
from harness.core.canonical import Json
from harness.core.lines import Journal
from harness.core.seeds import derive_seed
from harness.core.settings import identity
from harness.generate.api import Completion, Engine, GenerateSettings, Request
from harness.generate.engines import loaded
from harness.stages.api import Context

Turns = Mapping[tuple[str, int], Json]
"""(question's id, 1-based turn) -> the journal's line of a finished turn: id, turn, text, finish, tokens."""


def converse(
    ctx: Context, questions: Sequence[Question], folder: Path, settings: GenerateSettings, seed: int
) -> list[Answer]:
    """Hold every conversation; finished turns are kept in the work folder and not asked for again.

    Returns:
        The answers, in the order of the questions. A turn after a failed one fails with it.
    """
    total = sum(len(question.turns) for question in questions)
    with Journal(ctx.work / "turns.jsonl") as journal:
        done: dict[tuple[str, int], Json] = {(line["id"], line["turn"]): line for line in journal.records}
        ctx.progress(len(done), total, "answers")

        def keep(batch: list[Completion]) -> None:
            lines = [_line(completion) for completion in batch]
            journal.append(*lines)
            done.update({(line["id"], line["turn"]): line for line in lines})
            ctx.progress(len(done), total, "answers", tokens=sum(int(line["tokens"]) for line in done.values()))

        for turn in range(1, max((len(q.turns) for q in questions), default=0) + 1):
            due = [q for q in questions if len(q.turns) >= turn and (q.id, turn) not in done]
            requests = [_request(q, turn, done, seed) for q in due if _answered(q, turn, done)]
            if requests:
                _engine(ctx, folder, settings).complete(requests, keep)
    return [_answer(question, done) for question in questions]


def _answered(question: Question, turn: int, done: Turns) -> bool:
    """Whether every turn before this one has a text."""
    return all((question.id, t) in done and done[question.id, t]["text"] is not None for t in range(1, turn))


def _request(question: Question, turn: int, done: Turns, seed: int) -> Request:
    messages = [{"role": "system", "content": question.system}] if question.system is not None else []
    for earlier in range(1, turn):
        messages.append({"role": "user", "content": question.turns[earlier - 1]})
        messages.append({"role": "assistant", "content": done[question.id, earlier]["text"]})
    messages.append({"role": "user", "content": question.turns[turn - 1]})
    return Request(
        key=json.dumps([question.id, turn]),
        messages=tuple(messages),
        temperature=question.temperature,
        max_new_tokens=question.max_new_tokens,
        seed=derive_seed(seed, question.id, turn),
        top_p=question.top_p,
    )


def _line(completion: Completion) -> Json:
    item, turn = json.loads(completion.key)
    result = {"text": completion.text, "finish": completion.finish, "tokens": completion.tokens}
    return {"id": item, "turn": turn, **result}


def _answer(question: Question, done: Turns) -> Answer:
    blank = {"text": None, "finish": "error: an earlier turn has no answer", "tokens": 0}
    turns = [done.get((question.id, turn), blank) for turn in range(1, len(question.turns) + 1)]
    texts, finish, tokens = (tuple(turn[name] for turn in turns) for name in ("text", "finish", "tokens"))
    return Answer(question.id, texts, finish, tokens)


def _engine(ctx: Context, folder: Path, settings: GenerateSettings) -> Engine:
    """The engine, loaded once for all stages of the session."""
    log = ctx.store.root / "logs" / f"engine-{ctx.id[:12]}.log"
    return ctx.session.get(f"{folder}/{settings.model_dump_json()}", lambda: loaded(folder, settings, log))


def generation(ctx: Context) -> GenerateSettings:
    """The generation settings of a running stage."""
    return settings_of(ctx.params, ctx.execution)


def settings_of(params: Mapping[str, Json], execution: Mapping[str, Json]) -> GenerateSettings:
    """The generation settings of a stage, planned or running: those that are identity, and those that are not."""
    return GenerateSettings.model_validate_json(json.dumps({**params["generate"], **execution["generate"]}))


def execution_of(settings: GenerateSettings) -> dict[str, Json]:
    """The generation settings that change no answer."""
    kept = identity(settings)
    return {name: value for name, value in settings.model_dump(mode="json").items() if name not in kept}


def session_key(model_id: str, part: str, settings: GenerateSettings) -> str:
    """Stages with the same key load the same model in the same way."""
    return f"{model_id}/{part}/{settings.model_dump_json()}"
