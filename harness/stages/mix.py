"""General conversations and those of the recipe's domains in one dataset, by ratio."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from harness.core.lines import write_json
from harness.data.mixing import shares
from harness.stages.api import Context, Kind, Stage
from harness.train.settings import StepData

_DOMAIN = "domain:"
ROWS = "rows.npy"
"""The file of an artifact that says which rows of the datasets make the mix: (rows, 2), the dataset (0 the general one,
k the k-th domain's) and the row in it."""


def stage(settings: StepData, general: Stage, domains: Mapping[str, Stage], data_seed: int) -> Stage:
    """The stage that mixes `general` and `domains` (in the recipe's order) for a step."""
    share = shares(settings.ratio, list(domains))
    params = {"shares": [[name, share[name]] for name in domains], "examples": settings.examples}
    inputs = {"general": general} | {_DOMAIN + name: data for name, data in domains.items()}
    shown = " + ".join(f"{share[name]:.4g} {name}" for name in domains)
    title = f"data mix, {shown}"
    return Stage(KIND.name, KIND.version, params | {"data_seed": data_seed}, inputs, title=title)


def _run(ctx: Context) -> None:
    import numpy as np

    from harness.data.conversations import ConversationFile, write_conversations
    from harness.data.mixing import mix

    share: dict[str, float] = dict(ctx.params["shares"])
    with contextlib.ExitStack() as stack:
        parts = {
            domain: stack.enter_context(ConversationFile(ctx.inputs[name] / "conversations.jsonl"))
            for domain, name in [(None, "general"), *((domain, _DOMAIN + domain) for domain in share)]
        }
        of_domains = {domain: parts[domain].ids for domain in share}
        rows = mix(parts[None].ids, of_domains, share, ctx.params["examples"], ctx.params["data_seed"])
        mixed = (replace(parts[r.domain][r.row], id=r.id, domain=r.domain, source=r.source) for r in rows)
        write_conversations(ctx.out / "conversations.jsonl", mixed)
    (ctx.out / "skipped.jsonl").touch()
    numbers = {domain: number for number, domain in enumerate(parts)}
    np.save(ctx.out / ROWS, np.array([(numbers[row.domain], row.row) for row in rows], np.int32).reshape(-1, 2))
    count = Counter(row.domain for row in rows)
    facts = [
        {"domain": name, "rows": count[name], "share": count[name] / max(len(rows), 1), "available": len(part.ids)}
        for name, part in parts.items()
    ]
    write_json(ctx.out / "mix.json", {"examples": len(rows), "parts": facts}, sort_keys=False)


KIND = Kind("mix", 2, _run)
