"""A model answers a benchmark's questions, turn by turn, all conversations at once."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.bench.api import Answer, Question
from harness.core.lines import Journal, read_lines, write_lines
from harness.core.seeds import derive_seed
from harness.core.settings import identity
from harness.generate.api import Completion, Engine, GenerateSettings, Request
from harness.stages import benchmark as glue
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import Weights


def stage(bench: glue.Asked, model: Weights, settings: GenerateSettings, eval_seed: int, gpus: int) -> Stage:
    """The stage in which `model` answers one benchmark."""
    params = {**bench.params, "generate": identity(settings), "eval_seed": eval_seed, "part": model.part}
    execution = {**bench.execution, "batch_size": settings.batch_size}
    session = f"{model.stage.id}/{model.part}/{settings.engine}/{settings.dtype}"
    title = f"{bench.name} answers of {model.name}"
    inputs = {"model": model.stage, **bench.files}
    return Stage(KIND.name, KIND.version, params, inputs, execution, session, gpus, title=title)


def read(folder: Path) -> list[Answer]:
    """The answers of a finished answer stage."""
    rows = read_lines(folder / "answers.jsonl")
    return [Answer(r["id"], tuple(r["turns"]), tuple(r["finish"]), tuple(r["tokens"])) for r in rows]


def _run(ctx: Context) -> None:
    questions = glue.questions(ctx)
    settings = GenerateSettings.model_validate_json(json.dumps({**ctx.params["generate"], "batch_size": ctx.execution["batch_size"]}))
    turns = max(len(q.turns) for q in questions)
    total = sum(len(q.turns) for q in questions)
    with Journal(ctx.work / "answers.jsonl") as journal:
        done = {(r["id"], r["turn"]): r for r in journal.records}
        ctx.progress(len(done), total, "answers")

        def keep(batch: list[Completion]) -> None:
            records = [_record(completion) for completion in batch]
            journal.append(*records)
            done.update({(r["id"], r["turn"]): r for r in records})
            ctx.progress(len(done), total, "answers", tokens=sum(r["tokens"] for r in done.values()))

        for turn in range(1, turns + 1):
            requests = _requests(questions, turn, done, ctx.params["eval_seed"])
            if requests:
                _engine(ctx, settings).complete(requests, keep)
    write_lines(ctx.out / "answers.jsonl", [_answer(q, done) for q in questions])


def _engine(ctx: Context, settings: GenerateSettings) -> Engine:
    folder = ctx.inputs["model"] / ctx.params["part"]

    @contextlib.contextmanager
    def loaded() -> Iterator[Engine]:
        from harness.generate.transformers_engine import load

        yield load(folder, settings)

    return ctx.session.get(f"{folder}/{settings.engine}/{settings.dtype}", loaded)


Done = Mapping[tuple[str, int], Mapping[str, object]]


def _requests(questions: list[Question], turn: int, done: Done, seed: int) -> list[Request]:
    """The conversations whose `turn` is due: not answered yet, and all earlier turns answered."""
    due = []
    for question in questions:
        if turn > len(question.turns) or (question.id, turn) in done:
            continue
        messages = []
        for earlier in range(1, turn):
            messages.append({"role": "user", "content": question.turns[earlier - 1]})
            messages.append({"role": "assistant", "content": done[question.id, earlier]["text"]})
        if any(m["content"] is None for m in messages):
            continue
        messages.append({"role": "user", "content": question.turns[turn - 1]})
        key = json.dumps([question.id, turn])
        each = derive_seed(seed, "answer", question.id, turn)
        due.append(Request(key, tuple(messages), question.temperature, question.max_new_tokens, each))  # type: ignore[arg-type]
    return due


def _record(completion: Completion) -> dict[str, object]:
    item, turn = json.loads(completion.key)
    return {
        "id": item,
        "turn": turn,
        "text": completion.text,
        "finish": completion.finish,
        "tokens": completion.tokens,
    }


def _answer(question: Question, done: Done) -> dict[str, object]:
    blank = {"text": None, "finish": "error: an earlier turn has no answer", "tokens": 0}
    rows = [done.get((question.id, turn), blank) for turn in range(1, len(question.turns) + 1)]
    return {
        "id": question.id,
        "turns": [r["text"] for r in rows],
        "finish": [r["finish"] for r in rows],
        "tokens": [r["tokens"] for r in rows],
    }


KIND = Kind("answer", 1, _run)
