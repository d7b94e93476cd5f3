"""Token numbers and rewards to the ingredients of every teacher score, one row per response."""

from pathlib import Path

import pandas as pd

from harness.core.discover import used
from harness.core.lines import read_lines
from harness.stages import reward
from harness.stages.api import Context, Kind, Stage
from harness.teachers.api import all_scores
from harness.teachers.refusals import is_refusal
from harness.teachers.settings import TeachersSettings


def stage(tokens: Stage, responses: Stage, rewards: Stage | None, settings: TeachersSettings, title: str) -> Stage:
    """The stage that scores one teacher for one student base."""
    inputs = {"tokens": tokens, "responses": responses} | ({"rewards": rewards} if rewards is not None else {})
    params = {"scores": list(settings.scores)}  # the rest of the settings is in the inputs, or only combines
    plugins = used("SCORE", settings.scores or all_scores())
    return Stage(KIND.name, KIND.version, params, inputs, place="driver", light=True, plugins=plugins, title=title)


def read(folder: Path) -> pd.DataFrame:
    """The ingredients: id, status, cut, refusal, and columns `SCORE.K`."""
    return pd.read_parquet(folder / "parts.parquet")


def _run(ctx: Context) -> None:
    from harness.teachers.evidence import load
    from harness.teachers.parts import score_parts

    settings = TeachersSettings(scores=tuple(ctx.params["scores"]))
    rewards = reward.read(ctx.inputs["rewards"]) if "rewards" in ctx.inputs else None
    parts = score_parts(load(ctx.inputs["tokens"]), rewards, settings)
    rows = read_lines(ctx.inputs["responses"] / "conversations.jsonl")
    refused = {row["id"] for row in rows if is_refusal(row["messages"][-1]["content"])}
    parts.insert(3, "refusal", parts["id"].isin(refused))
    parts.to_parquet(ctx.out / "parts.parquet", index=False)


KIND = Kind("score_teacher", 2, _run)
