"""Of several answers to each prompt, keep the one with the highest or the lowest reward (best-of-N, worst-of-N)."""

from typing import Any

from harness.core.lines import read_lines, write_json, write_lines
from harness.stages import reward
from harness.stages.api import Context, Kind, Stage


def stage(candidates: Stage, rewards: Stage, which: str, name: str) -> Stage:
    """The stage that keeps the `best` or `worst` of each prompt's candidates; its output is a dataset."""
    inputs = {"candidates": candidates, "rewards": rewards}
    title = f"{which} responses of {name}"
    return Stage(KIND.name, KIND.version, {"pick": which}, inputs, place="driver", light=True, title=title)


def _run(ctx: Context) -> None:
    rewards = reward.read(ctx.inputs["rewards"]).set_index("id")["reward"]
    sign = 1 if ctx.params["pick"] == "best" else -1
    chosen: dict[str, tuple[float, dict[str, Any]]] = {}
    prompts: dict[str, None] = {}
    for row in read_lines(ctx.inputs["candidates"] / "conversations.jsonl"):
        prompt = row["id"].rpartition("#")[0]
        prompts.setdefault(prompt)
        value = rewards.get(row["id"])
        if value is not None and (prompt not in chosen or sign * float(value) > chosen[prompt][0]):
            chosen[prompt] = sign * float(value), {**row, "id": prompt}
    write_lines(ctx.out / "conversations.jsonl", (row for _, row in chosen.values()))
    unpicked = [{"id": prompt, "reason": "no candidate has a reward"} for prompt in prompts if prompt not in chosen]
    write_lines(ctx.out / "skipped.jsonl", unpicked)
    counts = {"rows": len(prompts), "kept": len(chosen), "failed": len(unpicked)}
    write_json(ctx.out / "data.json", counts)


KIND = Kind("pick", 1, _run)
