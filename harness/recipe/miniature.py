"""A recipe in miniature: the same cells, steps, benchmarks and teachers, with little of each.

Only numbers and model references change, so that the miniature's plan has the stages of the recipe's plan. Of what a
small number would hide (a length beyond a model's positions, a batch that processes cannot share) the recipe itself is
asked (`plan.fits`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from annotated_types import Ge
from pydantic import BaseModel

from harness.bench.pocket import PocketSettings
from harness.core.settings import Named, Settings
from harness.data.settings import DatasetSettings, PocketData
from harness.generate.api import GenerateSettings, ResponseSettings
from harness.judge.profiles import profile_of
from harness.judge.settings import JudgeSettings
from harness.models.refs import SCHEMES
from harness.recipe.load import Cell, Recipe
from harness.recipe.rewriting import Rewriting, fields, texts
from harness.recipe.schema import CellRecipe, ResourceSettings
from harness.teachers.settings import CARSettings, TeachersSettings
from harness.train.settings import OptimSettings, StepData, StepSettings
from harness.train.steps.kd import KDSettings
from harness.train.steps.on_policy import OnPolicySettings

ROWS, PROMPTS, QUESTIONS, STEPS, TOKENS, BATCH = 32, 8, 4, 3, 16, 4
"""Of a dataset, a teacher's scores, a benchmark, a training, an answer, a training's batch; a lower number stays."""
_NEVER = 1 << 30
"""Steps between the checkpoints of a training that saves none before its end."""
_SEEDS = ("seed", "data_seed", "sample_seed", "eval_seed")
_COUNTS = ("questions", "prompts", "limit")
"""Settings of benchmarks that say how many questions they ask."""


@dataclass(frozen=True)
class StandIns:
    """What a miniature has in place of the recipe's own."""

    models: Mapping[str, str]
    """Model reference of the recipe -> that of its miniature."""
    judge_url: str
    """The endpoint that stands in for judges."""
    gpus: int
    """Of this machine: a stage asks for no more."""
    engines: Mapping[str, str]
    """Engine that cannot run here -> the engine in its place."""
    serves: bool
    """A judge that the recipe serves can be served here."""


def references(cell: CellRecipe) -> set[str]:
    """The references in a cell's settings of models that have weights outside of the recipe."""
    return {text for text in texts(cell) if text.partition(":")[0] in _OUTSIDE and ":" in text}


_OUTSIDE = SCHEMES.keys() & {"hf", "path", "pypi", "gguf"}


def one_seed(cells: list[Cell]) -> list[Cell]:
    """The first of the cells that differ in seeds alone."""
    kept: dict[str, Cell] = {}
    for cell in cells:
        settings = _with(cell.settings, **dict.fromkeys(_SEEDS, 0)).model_dump_json()
        kept.setdefault(f"{cell.baseline} {cell.checkpoint} {settings}", cell)
    return list(kept.values())


def miniature(recipe: Recipe, cells: list[Cell], stand_ins: StandIns) -> Recipe:
    """The recipe with these of its cells in miniature."""
    small = _Small(stand_ins)
    return replace(recipe, cells=[replace(cell, settings=small(cell.settings)) for cell in cells])


class _Small(Rewriting):
    """Makes settings small, and puts stand-ins in the place of models."""

    def __init__(self, stand_ins: StandIns) -> None:
        super().__init__(stand_ins.models)
        self._stand_ins = stand_ins
        self._benchmarks: dict[int, tuple[Settings, Settings]] = {}

    def settings(self, value: BaseModel) -> Any:
        """Settings with every setting in them made small."""
        inner = _with(value, **{name: self(old) for name, old in fields(value)})
        return _with(inner, **self._changes(inner))

    def _changes(self, value: Any) -> dict[str, Any]:
        """What of settings becomes small, by their class."""
        changes: dict[str, Any] = {}
        if isinstance(value, DatasetSettings):
            changes |= {"limit": _least(value.limit, ROWS)}
        if isinstance(value, PocketData):
            changes |= {"examples": min(value.examples, ROWS)}
        if isinstance(value, StepData) and value.examples is not None:
            changes |= {"examples": min(value.examples, ROWS)}
        if isinstance(value, OptimSettings):
            rows = min(value.batch_size, BATCH)
            changes |= {
                "max_steps": _least(value.max_steps, STEPS),
                "save_every": _NEVER if value.save_every == _NEVER else 1,
                "report_to": [],
            }
            changes |= {"batch_size": rows, "micro_batch_size": min(value.micro_batch_size, max(1, rows // 2))}
        if isinstance(value, StepSettings):
            changes |= {"budget_flops": None}
        if isinstance(value, KDSettings):
            changes |= {"attention_layers": None}
        if isinstance(value, OnPolicySettings):
            changes |= {"max_new_tokens": min(value.max_new_tokens, TOKENS)}
        if isinstance(value, ResponseSettings):
            changes |= {"max_new_tokens": min(value.max_new_tokens, TOKENS)}
        if isinstance(value, TeachersSettings):
            # So few rows of each teacher's need not be answers to the same prompts.
            changes |= {"prompts": _least(value.prompts, PROMPTS), "common": False}
        if isinstance(value, CARSettings):  # random rewards may be negative on the mean, which CAR refuses
            changes |= {"shift": 100.0 if value.shift is None else value.shift}
        if isinstance(value, GenerateSettings):
            changes |= {"engine": self._stand_ins.engines.get(value.engine, value.engine)}
            changes |= {"tensor_parallel": min(value.tensor_parallel, max(1, self._stand_ins.gpus))}
        if isinstance(value, ResourceSettings):
            processes = min(value.processes, most_processes(self._stand_ins.gpus))
            changes |= {"gpus": min(value.gpus, self._stand_ins.gpus), "processes": processes}
        if isinstance(value, JudgeSettings) and value.model:  # a panel has none: its judges have
            changes |= self._judge(value)
        if isinstance(value, CellRecipe):
            changes |= {"evaluate": [Named(one.name, self._few(one.settings)) for one in value.evaluate]}
        return changes

    def _few(self, benchmark: Settings) -> Settings:
        if id(benchmark) not in self._benchmarks:
            self._benchmarks[id(benchmark)] = benchmark, few_questions(benchmark)
        return self._benchmarks[id(benchmark)][1]

    def _judge(self, judge: JudgeSettings) -> dict[str, Any]:
        if judge.serve is not None and self._stand_ins.serves:
            return {"max_cost_usd": None}
        stand_in = {"base_url": self._stand_ins.judge_url, "serve": None, "profile": profile_of(judge).name}
        return stand_in | {"api_key_env": "HARNESS_REHEARSAL", "batch": False, "max_cost_usd": None}


def most_processes(gpus: int) -> int:
    """In how many processes a training runs on a machine with so many GPUs: two show what several do."""
    return max(2, gpus)


def in_one_process(settings: CellRecipe) -> CellRecipe:
    """A cell whose trainings run in a single process, where others show that several work."""
    alone = _with(settings.resources, processes=1, sharding="none", offload_teachers=False)
    return settings.model_copy(update={"resources": alone})


def without_checkpoints(settings: CellRecipe) -> CellRecipe:
    """A cell whose trainings save no steps, where others show that such a training goes on from one: a checkpoint of a
    miniature is as large as its vocabulary, and takes longer than a step."""
    steps = [
        Named(step.name, _with(step.settings, save_every=_NEVER)) if _saves(step.settings) else step
        for step in settings.train
    ]
    return settings.model_copy(update={"train": steps})


def _saves(step: Settings) -> bool:
    """Whether a step saves checkpoints: a command sees to that by itself."""
    return "save_every" in type(step).model_fields


def few_questions(benchmark: Settings) -> Settings:
    """A benchmark's settings with few questions and short answers."""
    changes: dict[str, Any] = {}
    for name in _COUNTS:
        if (field := type(benchmark).model_fields.get(name)) is not None:
            fewest = next((int(str(bound.ge)) for bound in field.metadata if isinstance(bound, Ge)), 1)
            changes[name] = _least(getattr(benchmark, name), max(fewest, QUESTIONS))
    if "max_new_tokens" in type(benchmark).model_fields:
        changes["max_new_tokens"] = min(benchmark.max_new_tokens, TOKENS)  # type: ignore[attr-defined]
    small: Settings = _with(benchmark, **changes)
    return small


def stand_in_benchmark() -> Named[Settings]:
    """A benchmark that needs no files: where all of a cell's are at fault, its trainings are still rehearsed."""
    return Named("pocket", few_questions(PocketSettings()))


def _least(number: int | None, most: int) -> int:
    return most if number is None else min(number, most)


def _with(value: Any, **changes: Any) -> Any:
    """The settings with these fields changed; what was computed from the old ones is not taken along."""
    fields = {name: getattr(value, name) for name in type(value).model_fields} | changes
    return type(value).model_construct(_fields_set=set(value.model_fields_set), **fields)
