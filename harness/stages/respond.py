"""A teacher answers the prompts that a student is then trained on."""

import json
from typing import Any

from harness.core.lines import read_lines, write_lines
from harness.core.seeds import derive_seed
from harness.core.settings import identity
from harness.generate.api import GenerateSettings, ResponseSettings
from harness.generate.engines import settled
from harness.stages.api import Context, Kind, Stage
from harness.stages.conversing import Record, Script, converse, execution_of, generation, session_key
from harness.stages.model import Weights


def stage(
    teacher: Weights,
    prompts: Stage,
    responses: ResponseSettings,
    settings: GenerateSettings,
    sample_seed: int,
    gpus: int,
) -> Stage:
    """The stage in which `teacher` answers a dataset's user turns; its output is a dataset."""
    settings = settled(settings, gpus)
    return Stage(
        kind=KIND.name,
        version=KIND.version,
        params={
            "responses": {k: v for k, v in identity(responses).items() if k != "pick"},
            "generate": identity(settings),
            "sample_seed": sample_seed,
            "part": teacher.part,
        },
        inputs={"model": teacher.stage, "prompts": prompts},
        execution={"generate": execution_of(settings)},
        session=session_key(teacher.stage.id, teacher.part, settings),
        gpus=gpus,
        title=f"responses of {teacher.name}",
    )


def _run(ctx: Context) -> None:
    rows = list(read_lines(ctx.inputs["prompts"] / "conversations.jsonl"))
    how = ResponseSettings.model_validate_json(json.dumps(ctx.params["responses"] | {"pick": "first"}))
    scripts = [_script(row, how, number) for row in rows for number in range(how.candidates)]
    seed = derive_seed(ctx.params["sample_seed"], "respond")
    held = converse(ctx, scripts, ctx.inputs["model"] / ctx.params["part"], generation(ctx), seed)
    answered = [(script, turns) for script, turns in zip(scripts, held, strict=True) if turns and _whole(turns)]
    failed = {script.id for script in scripts} - {script.id for script, _ in answered}
    write_lines(ctx.out / "conversations.jsonl", (_conversation(script, turns) for script, turns in answered))
    write_lines(ctx.out / "skipped.jsonl", ({"id": i, "reason": "empty response"} for i in sorted(failed)))
    cut = sum(any(turn["finish"] == "length" for turn in turns) for _, turns in answered)
    counts = {"rows": len(scripts), "kept": len(answered), "failed": len(failed), "reached_limit": cut}
    (ctx.out / "data.json").write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")


def _script(row: dict[str, Any], how: ResponseSettings, number: int) -> Script:
    said = {role: [m["content"] for m in row["messages"] if m["role"] == role] for role in ("system", "user")}
    system = "\n\n".join(said["system"]) if said["system"] else None
    name = candidate(str(row["id"]), number) if how.candidates > 1 else str(row["id"])
    return Script(name, tuple(said["user"]), how.temperature, how.max_new_tokens, system, how.top_p)


def candidate(prompt: str, number: int) -> str:
    """What a prompt's candidate answer is called: the prompt's id and a number."""
    return f"{prompt}#{number}"


def _whole(turns: list[Record]) -> bool:
    return all(turn["text"] is not None and str(turn["text"]).strip() for turn in turns)


def _conversation(script: Script, turns: list[Record]) -> dict[str, Any]:
    messages = [{"role": "system", "content": script.system}] if script.system is not None else []
    for said, turn in zip(script.turns, turns, strict=True):
        messages.append({"role": "user", "content": said})
        messages.append({"role": "assistant", "content": turn["text"]})
    return {"id": script.id, "messages": messages}


KIND = Kind("respond", 3, _run)
