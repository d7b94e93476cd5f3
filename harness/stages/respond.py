"""A teacher answers the prompts that a student is then trained on."""

from typing import Any

from harness.bench.api import Question
from harness.core.discover import used
from harness.core.lines import read_lines, write_json, write_lines
from harness.core.seeds import derive_seed
from harness.core.settings import identity, restore
from harness.generate.api import Answer, GenerateSettings, ResponseSettings
from harness.generate.engines import settled
from harness.stages.api import Context, Kind, Stage
from harness.stages.conversing import converse, execution_of, generation, session_key
from harness.stages.model import PlannedModel


def stage(
    teacher: PlannedModel,
    prompts: Stage,
    responses: ResponseSettings,
    settings: GenerateSettings,
    sample_seed: int,
    gpus: int,
) -> Stage:
    """The stage in which `teacher` answers a dataset's user turns; its output is a dataset."""
    # A student may learn the thinking, too.
    settings = settled(settings, gpus).model_copy(update={"think_end": None, "think_start": None})
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
        session=session_key(teacher.stage.id, teacher.part, settings.model_dump_json()),
        gpus=gpus,
        plugins=used("ENGINE", [settings.engine]),
        title=f"responses of {teacher.name}",
    )


def _run(ctx: Context) -> None:
    rows = list(read_lines(ctx.inputs["prompts"] / "conversations.jsonl"))
    how = restore(ResponseSettings, ctx.params["responses"] | {"pick": "first"})
    questions = [_question(row, how, number) for row in rows for number in range(how.candidates)]
    seed = derive_seed(ctx.params["sample_seed"], "respond")
    answers = converse(ctx, questions, ctx.inputs["model"] / ctx.params["part"], generation(ctx), seed)
    answered = [(q, answer) for q, answer in zip(questions, answers, strict=True) if _whole(answer)]
    failed = {question.id for question in questions} - {question.id for question, _ in answered}
    write_lines(ctx.out / "conversations.jsonl", (_conversation(*pair) for pair in answered))
    write_lines(ctx.out / "skipped.jsonl", ({"id": i, "reason": "empty response"} for i in sorted(failed)))
    cut = sum("length" in answer.finish for _, answer in answered)
    counts = {"rows": len(questions), "kept": len(answered), "failed": len(failed), "reached_limit": cut}
    write_json(ctx.out / "data.json", counts)


def _question(row: dict[str, Any], how: ResponseSettings, number: int) -> Question:
    said = {role: [m["content"] for m in row["messages"] if m["role"] == role] for role in ("system", "user")}
    return Question(
        id=candidate(str(row["id"]), number) if how.candidates > 1 else str(row["id"]),
        category="",
        turns=tuple(said["user"]),
        temperature=how.temperature,
        max_new_tokens=how.max_new_tokens,
        system="\n\n".join(said["system"]) if said["system"] else None,
        top_p=how.top_p,
    )


def candidate(prompt: str, number: int) -> str:
    """What a prompt's candidate answer is called: the prompt's id and a number."""
    return f"{prompt}#{number}"


def _whole(answer: Answer) -> bool:
    return bool(answer.turns) and all(text is not None and text.strip() for text in answer.turns)


def _conversation(question: Question, answer: Answer) -> dict[str, Any]:
    messages = [{"role": "system", "content": question.system}] if question.system is not None else []
    for said, text in zip(question.turns, answer.turns, strict=True):
        messages += [{"role": "user", "content": said}, {"role": "assistant", "content": str(text)}]
    return {"id": question.id, "messages": messages}


KIND = Kind("respond", 3, _run)
