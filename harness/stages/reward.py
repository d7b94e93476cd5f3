"""A number for each of a teacher's responses: by a reward model, a judge, a program, a file, or the teacher's name."""

from pathlib import Path

import pandas as pd

from harness.core.canonical import Json
from harness.core.lines import read_lines
from harness.core.settings import identity, restore
from harness.judge.settings import JudgeSettings
from harness.stages import judge
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel
from harness.stages.pinned import pinned_file
from harness.teachers import judged
from harness.teachers.settings import RewardSettings


def stage(
    responses: Stage,
    settings: RewardSettings,
    *,
    model: PlannedModel | None = None,
    strength: float | None = None,
    gpus: int = 0,
    title: str,
) -> Stage:
    """The stage that values responses, but by a judge; `model` is a reward model's weights."""
    params: dict[str, Json] = {"reward": identity(settings)}
    inputs = {"responses": responses}
    execution: dict[str, Json] = {"batch_size": settings.batch_size}
    if model is not None:
        params["part"] = model.part
        inputs["model"] = model.stage
        return Stage(KIND.name, KIND.version, params, inputs, execution, gpus=gpus, title=title)
    if settings.recorded is not None:
        inputs["file"] = pinned_file(settings.recorded.path)
    if settings.strength:
        params["strength"] = strength
    return Stage(KIND.name, KIND.version, params, inputs, execution, place="driver", light=True, title=title)


def judged_stage(
    responses: Stage, settings: JudgeSettings, served: PlannedModel | None, gpus: int, title: str
) -> Stage:
    """The stage in which a model judge rates each response from 1 to 10."""
    fields = judge.judge_fields(settings, "rating", judged.PROMPTS, served)
    return Stage(
        KIND.name,
        KIND.version,
        {"judge": fields.params},
        {"responses": responses, **fields.inputs},
        fields.execution,
        session=fields.session,
        gpus=gpus if served is not None else 0,
        place="driver",
        light=fields.light,
        title=title,
    )


def read(folder: Path) -> pd.DataFrame:
    """The rewards: id, reward (null where there is none)."""
    return pd.read_parquet(folder / "rewards.parquet")


def write(folder: Path, ids: list[str], rewards: list[float | None]) -> None:
    """Write what `read` reads."""
    frame = pd.DataFrame({"id": ids, "reward": pd.array(rewards, dtype="Float64")})
    frame.to_parquet(folder / "rewards.parquet", index=False)


def _run(ctx: Context) -> None:
    rows = list(read_lines(ctx.inputs["responses"] / "conversations.jsonl"))
    ids = [str(row["id"]) for row in rows]
    write(ctx.out, ids, _judged(ctx, rows) if "judge" in ctx.params else _rewards(ctx, rows, ids))


def _judged(ctx: Context, rows: list[dict[str, Json]]) -> list[float | None]:
    """The judge's mean rating of each response; None where no verdict could be read."""
    asked = judge.resolved(ctx.params, ctx.execution)
    tasks = judge.repeated(judged.reward_tasks(rows), asked.settings)
    return judged.mean_ratings(rows, judge.ask(ctx, tasks, asked))


def _rewards(ctx: Context, rows: list[dict[str, Json]], ids: list[str]) -> list[float | None]:
    from harness.teachers.rewards import model_rewards, program_rewards, recorded_rewards

    asked = ctx.params["reward"] | ctx.execution
    if asked["recorded"] is not None:
        asked = asked | {"recorded": asked["recorded"] | {"path": str(ctx.inputs["file"])}}
    settings = restore(RewardSettings, asked)
    if settings.strength:
        return [ctx.params["strength"]] * len(ids)
    if settings.recorded is not None:
        return recorded_rewards(ids, settings.recorded)
    if settings.program:
        return program_rewards(rows)
    return model_rewards(ctx.inputs["model"] / ctx.params["part"], rows, settings, ctx.progress)


KIND = Kind("reward", 2, _run)
