"""General conversations and those of the recipe's domains in one dataset, by ratio."""

from collections import Counter
from collections.abc import Mapping

from harness.core.lines import write_json
from harness.data.mixing import shares
from harness.stages.api import Context, Kind, Stage
from harness.train.settings import StepData

_DOMAIN = "domain:"


def stage(settings: StepData, general: Stage, domains: Mapping[str, Stage], data_seed: int) -> Stage:
    """The stage that mixes `general` and `domains` (in the recipe's order) for a step."""
    share = shares(settings.ratio, list(domains))
    params = {"shares": [[name, share[name]] for name in domains], "examples": settings.examples}
    inputs = {"general": general} | {_DOMAIN + name: data for name, data in domains.items()}
    shown = " + ".join(f"{share[name]:.4g} {name}" for name in domains)
    title = f"data mix, {shown}"
    return Stage(KIND.name, KIND.version, params | {"data_seed": data_seed}, inputs, title=title)


def _run(ctx: Context) -> None:
    from harness.data.mixing import mix
    from harness.data.readers import read_conversations, write_conversations

    share: dict[str, float] = dict(ctx.params["shares"])
    read = {name: read_conversations(folder / "conversations.jsonl") for name, folder in ctx.inputs.items()}
    of_domains = {name: read[_DOMAIN + name] for name in share}
    rows = mix(read["general"], of_domains, share, ctx.params["examples"], ctx.params["data_seed"])
    write_conversations(ctx.out / "conversations.jsonl", rows)
    (ctx.out / "skipped.jsonl").touch()
    number = Counter(row.domain for row in rows)
    parts = [
        {"domain": name, "rows": number[name], "share": number[name] / max(len(rows), 1), "available": len(there)}
        for name, there in [(None, read["general"]), *of_domains.items()]
    ]
    write_json(ctx.out / "mix.json", {"examples": len(rows), "parts": parts}, sort_keys=False)


KIND = Kind("mix", 1, _run)
