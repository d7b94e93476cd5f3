"""One forward pass of a student base over a teacher's responses: what every likelihood-type score is made from."""

from typing import Any

from harness.core.lines import read_lines
from harness.core.seeds import derive_seed
from harness.core.settings import identity, restore
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel
from harness.teachers.settings import PassSettings


def stage(
    student: PlannedModel,
    responses: Stage,
    settings: PassSettings,
    passes: list[str],
    prompts: int | None,
    data_seed: int,
    gpus: int,
    title: str,
) -> Stage:
    """The stage that keeps a response's per-token numbers, for the first `prompts` prompts of a seeded order."""
    params = {
        "scoring": identity(settings),
        "passes": sorted(passes),
        "prompts": prompts,
        "data_seed": data_seed if prompts is not None else 0,
        "part": student.part,
    }
    return Stage(
        KIND.name,
        KIND.version,
        params,
        {"student": student.stage, "responses": responses},
        {"batch_tokens": settings.batch_tokens},
        gpus=gpus,
        title=title,
    )


def _run(ctx: Context) -> None:
    from harness.teachers.evidence import save
    from harness.teachers.measure import measure

    settings = restore(PassSettings, ctx.params["scoring"] | ctx.execution)
    table = measure(
        ctx.inputs["student"] / ctx.params["part"],
        conversations(ctx),
        settings,
        frozenset(ctx.params["passes"]),
        ctx.progress,
        work=ctx.work,
    )
    save(table, ctx.out)


def conversations(ctx: Context) -> list[dict[str, Any]]:
    """The responses that are scored, those without a text included.

    Every teacher's prompts are put in one seeded order and the first taken, so that two teachers with the same prompts
    are scored on the same.
    """
    rows = list(read_lines(ctx.inputs["responses"] / "conversations.jsonl"))
    rows += [{"id": row["id"], "messages": []} for row in read_lines(ctx.inputs["responses"] / "skipped.jsonl")]
    if ctx.params["prompts"] is None:
        return rows
    seed = ctx.params["data_seed"]
    rows.sort(key=lambda row: derive_seed(seed, "scored prompts", str(row["id"])))
    return rows[: ctx.params["prompts"]]


KIND = Kind("tokens", 2, _run)
