"""A model answers a benchmark's questions."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from harness.core.canonical import Json
from harness.core.discover import used
from harness.core.lines import read_lines, write_lines
from harness.core.seeds import derive_seed
from harness.core.settings import identity
from harness.generate.api import Answer, GenerateSettings
from harness.generate.engines import settled
from harness.stages import benchmarks
from harness.stages.api import Context, Kind, Stage
from harness.stages.conversing import converse, execution_of, generation, session_key
from harness.stages.model import PlannedModel


def stage(
    bench: benchmarks.PinnedBenchmark, model: PlannedModel, settings: GenerateSettings, eval_seed: int, gpus: int
) -> Stage:
    """The stage in which `model` answers one benchmark."""
    settings = settled(settings, gpus)
    params, execution, engine = _of_all_models(bench, settings, eval_seed, model.part)
    return Stage(
        kind=KIND.name,
        version=KIND.version,
        params=params,
        inputs={"model": model.stage, **bench.files},
        execution=execution,
        session=session_key(model.stage.id, model.part, engine),
        gpus=gpus,
        plugins={**bench.plugins, **used("ENGINE", [settings.engine])},
        title=f"{bench.name}: answers of {model.name}",
    )


@lru_cache(maxsize=256)
def _of_all_models(
    bench: benchmarks.PinnedBenchmark, settings: GenerateSettings, eval_seed: int, part: str
) -> tuple[dict[str, Json], dict[str, Json], str]:
    """Parameters, execution and the engine's settings: equal for all models, so that a large plan holds them once."""
    params = {**bench.params, "generate": identity(settings), "eval_seed": eval_seed, "part": part}
    return params, {**bench.execution, "generate": execution_of(settings)}, settings.model_dump_json()


def read(folder: Path) -> list[Answer]:
    """The answers of a finished answer stage."""
    rows = read_lines(folder / "answers.jsonl")
    parts = ("turns", "finish", "tokens", "thoughts")
    return [Answer(row["id"], *(tuple(row.get(part, ())) for part in parts)) for row in rows]


def rows_of(answers: Iterable[Answer]) -> Iterator[dict[str, Json]]:
    """The answers as `read` reads them; `thoughts` stands where a model's thinking was looked for."""
    for answer in answers:
        row = asdict(answer)
        yield row if answer.thoughts else {name: row[name] for name in row if name != "thoughts"}


def _run(ctx: Context) -> None:
    questions = benchmarks.open_judged(ctx).questions
    seed = derive_seed(ctx.params["eval_seed"], "answer", ctx.params["benchmark"])
    answers = converse(ctx, questions, ctx.inputs["model"] / ctx.params["part"], generation(ctx), seed)
    write_lines(ctx.out / "answers.jsonl", rows_of(answers))


KIND = Kind("answer", 2, _run)
