"""Conversations held with a model, turn by turn, all at once: what `answer` and `respond` have in common."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.canonical import Json
from harness.core.lines import Journal
from harness.core.seeds import derive_seed
from harness.core.settings import identity
from harness.generate.api import Completion, Engine, GenerateSettings, Request
from harness.generate.engines import loaded
from harness.stages.api import Context

Message = Mapping[str, str]
Record = Mapping[str, Json]
"""One finished turn: id, turn, text (None where generation failed), finish, tokens."""


@dataclass(frozen=True)
class Script:
    """What the user says to the model in one conversation, and how the model is to answer."""

    id: str
    turns: tuple[str, ...]
    temperature: float
    max_new_tokens: int
    system: str | None = None
    top_p: float = 1.0


def converse(
    ctx: Context, scripts: Sequence[Script], folder: Path, settings: GenerateSettings, seed: int
) -> list[list[Record]]:
    """Hold every conversation; finished turns are kept in the work folder and not asked for again.

    Returns:
        Per script, one record per turn. A turn after a failed one fails with it.
    """
    total = sum(len(script.turns) for script in scripts)
    with Journal(ctx.work / "turns.jsonl") as journal:
        done: dict[tuple[str, int], Record] = {(r["id"], r["turn"]): r for r in journal.records}
        ctx.progress(len(done), total, "answers")

        def keep(batch: list[Completion]) -> None:
            records = [_record(completion) for completion in batch]
            journal.append(*records)
            done.update({(r["id"], r["turn"]): r for r in records})
            ctx.progress(len(done), total, "answers", tokens=sum(int(r["tokens"]) for r in done.values()))

        for turn in range(1, max((len(s.turns) for s in scripts), default=0) + 1):
            due = [s for s in scripts if len(s.turns) >= turn and (s.id, turn) not in done]
            requests = [_request(s, turn, done, seed) for s in due if _answered(s, turn, done)]
            if requests:
                _engine(ctx, folder, settings).complete(requests, keep)
    return [[_turn(script, turn, done) for turn in range(1, len(script.turns) + 1)] for script in scripts]


Done = Mapping[tuple[str, int], Record]


def _answered(script: Script, turn: int, done: Done) -> bool:
    return all((script.id, t) in done and done[script.id, t]["text"] is not None for t in range(1, turn))


def _request(script: Script, turn: int, done: Done, seed: int) -> Request:
    messages = [{"role": "system", "content": script.system}] if script.system is not None else []
    for earlier in range(1, turn):
        messages.append({"role": "user", "content": script.turns[earlier - 1]})
        messages.append({"role": "assistant", "content": done[script.id, earlier]["text"]})
    messages.append({"role": "user", "content": script.turns[turn - 1]})
    return Request(
        key=json.dumps([script.id, turn]),
        messages=tuple(messages),
        temperature=script.temperature,
        max_new_tokens=script.max_new_tokens,
        seed=derive_seed(seed, script.id, turn),
        top_p=script.top_p,
    )


def _record(completion: Completion) -> Record:
    item, turn = json.loads(completion.key)
    result = {"text": completion.text, "finish": completion.finish, "tokens": completion.tokens}
    return {"id": item, "turn": turn, **result}


def _turn(script: Script, turn: int, done: Done) -> Record:
    blank = {"text": None, "finish": "error: an earlier turn has no answer", "tokens": 0}
    return done.get((script.id, turn), {"id": script.id, "turn": turn, **blank})


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
