"""Whether the prompts of a benchmark occur in a dataset that somebody trains on."""

import json
from pathlib import Path

from harness.core.canonical import Json
from harness.core.lines import write_json
from harness.data.contamination import NGRAM, overlaps
from harness.data.conversations import read_conversations
from harness.stages import benchmarks
from harness.stages.api import Context, Kind, Stage

_EXAMPLES = 5


def stage(dataset: Stage, bench: benchmarks.PinnedBenchmark, ngram: int = NGRAM) -> Stage:
    """The stage that looks for the prompts of a judged benchmark."""
    title = f"{bench.name}: prompts in {dataset.title}"
    return Stage(
        KIND.name,
        KIND.version,
        {**bench.params, "ngram": ngram},
        {"dataset": dataset, **bench.files},
        bench.execution,
        place="driver",
        light=True,
        plugins=bench.plugins,
        title=title,
    )


def read(folder: Path) -> dict[str, Json]:
    """What a finished stage found.

    `prompts`, of which `exact` occur word for word, `ngram` by enough of their n-grams and `shared` by any; the words
    `n` of an n-gram; `examples`, the first of those that count as exact or ngram: prompt, row, exact, share.
    """
    found: dict[str, Json] = json.loads((folder / "contamination.json").read_text())
    return found


def _run(ctx: Context) -> None:
    prompts = {question.id: question.turns for question in benchmarks.open_judged(ctx).questions}
    conversations = read_conversations(ctx.inputs["dataset"] / "conversations.jsonl")
    found = overlaps(prompts, conversations, ctx.params["ngram"])
    leaks = [overlap for overlap in found if overlap.exact or overlap.leaked]
    counts: dict[str, Json] = {
        "benchmark": ctx.params["benchmark"],
        "n": ctx.params["ngram"],
        "prompts": len(found),
        "exact": sum(overlap.exact for overlap in found),
        "ngram": sum(overlap.leaked for overlap in found),
        "shared": sum(bool(overlap.share) for overlap in found),
        "examples": [vars(overlap) for overlap in leaks[:_EXAMPLES]],
    }
    write_json(ctx.out / "contamination.json", counts, sort_keys=False, ensure_ascii=False)


KIND = Kind("contamination", 1, _run)
