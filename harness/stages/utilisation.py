"""Which experts a benchmark's questions are routed to: per category and layer, over the tokens of their prompts."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from harness.core.canonical import Json
from harness.core.lines import write_json
from harness.generate.api import GenerateSettings
from harness.stages import benchmarks
from harness.stages.api import Context, Kind, Stage
from harness.stages.model import PlannedModel

if TYPE_CHECKING:
    from harness.models.routing import Load

COLUMNS = ("category", "layer", "expert", "share", "entropy", "tokens")
"""Layers and experts count from 0. `share` is the expert's part of the layer's routed tokens (each counts once for
every expert that it visits); `entropy`, in nats, is that of the layer's mean router distribution, the same for all its
experts; `tokens` is what both are over. The category `overall` is all of them."""
OVERALL = "overall"


def stage(bench: benchmarks.PinnedBenchmark, model: PlannedModel, settings: GenerateSettings, gpus: int) -> Stage:
    """The stage that reads `model`'s routers over the first turns of a benchmark's questions."""
    own = {"dtype": settings.dtype, "max_length": settings.max_length, "part": model.part}
    return Stage(
        kind=KIND.name,
        version=KIND.version,
        params={**bench.params, **own},
        inputs={"model": model.stage, **bench.files},
        execution=bench.execution,
        gpus=gpus,
        plugins=bench.plugins,
        title=f"{bench.name}: experts of {model.name}",
    )


def read(folder: Path) -> pd.DataFrame:
    """The rows of a finished stage, with COLUMNS."""
    return pd.read_parquet(folder / "experts.parquet")


def _run(ctx: Context) -> None:
    from harness.models.chat import encode_prompt
    from harness.models.load import available, load_model, load_tokenizer
    from harness.models.routing import measure_load

    folder = ctx.inputs["model"] / ctx.params["part"]
    tokenizer = load_tokenizer(folder)
    model = load_model(folder, ctx.params["dtype"], available())
    limit = min(ctx.params["max_length"], model.config.max_position_embeddings)
    questions, loads, too_long = benchmarks.open_judged(ctx).questions, dict[str, "Load"](), list[str]()
    for done, question in enumerate(questions, 1):
        ids = encode_prompt(tokenizer, [{"role": "user", "content": question.turns[0]}])
        if len(ids) >= limit:  # the model could not answer it either
            too_long.append(question.id)
            continue
        load = measure_load(model, ids)
        for category in (question.category, OVERALL):
            loads[category] = loads[category] + load if category in loads else load
        ctx.progress(done, len(questions), "prompts")
    rows = [row for category, load in loads.items() for row in _rows(category, load)]
    pd.DataFrame(rows, columns=list(COLUMNS)).to_parquet(ctx.out / "experts.parquet", index=False)
    counts = {"prompts": len(questions), "too_long": too_long}
    write_json(ctx.out / "utilisation.json", counts, sort_keys=False)


def _rows(category: str, load: "Load") -> Iterator[dict[str, Json]]:
    from harness.models.routing import entropy

    shares = load.visits / load.visits.sum(dim=-1, keepdim=True)
    spreads = entropy(load.mass / load.tokens)
    for layer, (of_layer, spread) in enumerate(zip(shares.tolist(), spreads.tolist(), strict=True)):
        for expert, share in enumerate(of_layer):
            values = (category, layer, expert, share, spread, load.tokens)
            yield dict(zip(COLUMNS, values, strict=True))


KIND = Kind("utilisation", 2, _run)
