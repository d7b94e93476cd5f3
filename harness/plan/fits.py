"""What must fit together in a recipe at its real size, known from settings, configs and tokenizers alone.

Nothing here needs weights. A rehearsal asks it for what a miniature cannot show: real lengths, batches and shapes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.recipe.schema import CellRecipe, TrainStep
from harness.train.api import steps
from harness.train.settings import StepSettings
from harness.train.steps.kd import KDSettings

_EXPERT_SHAPE = ("num_hidden_layers", "hidden_size", "intermediate_size", "hidden_act")
"""What experts of one mixture have in common."""


@dataclass(frozen=True)
class Training:
    """A training step of a cell, with the references of the models in it as far as their folders are known."""

    step: TrainStep
    student: str
    teachers: Mapping[str, str]
    """By role."""


def trainings(cell: CellRecipe) -> Iterator[Training]:
    """The trainings of a cell and of the models that it makes, which are as large as what they start from."""

    def base(reference: str) -> str:
        name = reference.removeprefix("artifact:")
        return base(cell.models[name].base) if name != reference else reference

    pipelines = [(made.base, made.train) for made in cell.models.values()] + [(cell.student.model, cell.train)]
    for start, pipeline in pipelines:
        student = base(start)
        named = {"student": student, "teacher": (cell.teacher and cell.teacher.model) or ""}
        for step in pipeline:
            if isinstance(step.settings, StepSettings):
                roles = steps()[step.name].teachers(step.settings)
                yield Training(step, student, {role: base(named.get(of, of)) for role, of in roles.items()})


def misfits(cell: CellRecipe, folders: Mapping[str, Path]) -> Iterator[tuple[str, HarnessError]]:
    """What does not fit, each with the kind of the stage that would fail of it.

    `folders` are those of configs and tokenizers, by model reference.
    """
    for training in trainings(cell):
        for reference in dict.fromkeys([training.student, *training.teachers.values()]):
            if reference in folders:
                yield from _length(training.step, reference, folders[reference])
        yield from _shares(training.step, cell.resources.processes)
        yield from _layers(training, folders)
    yield from _experts(cell, folders)
    if (scoring := cell.teachers and cell.teachers.scoring) and cell.student.model in folders:
        limit = _positions(folders[cell.student.model])
        if limit is not None and "max_length" in scoring.model_fields_set and scoring.max_length > limit:
            yield "tokens", _too_long("teachers.scoring", scoring.max_length, cell.student.model, limit)
    parallel, student = cell.generate.tensor_parallel, folders.get(cell.student.model)
    if student is not None and (heads := _config(student).num_attention_heads) % parallel:
        what = f"the {heads} attention heads of {cell.student.model} do not divide among {parallel} GPUs"
        yield "answer", HarnessError(what, where="generate", fix="Set tensor_parallel to a divisor of the heads.")


def vocabularies(cell: CellRecipe, folders: Mapping[str, Path]) -> Iterator[tuple[str, HarnessError]]:
    """The teachers whose logits a step needs and whose vocabulary is not the student's."""
    for training in trainings(cell):
        for role, reference in training.teachers.items():
            pair = training.student, reference
            if reference != training.student and all(one in folders for one in pair):
                difference = _difference(folders[training.student], folders[reference])
                if difference:
                    what = f"the {role} {reference} has another vocabulary than {training.student}: {difference}"
                    fix = "Distillation on logits needs one vocabulary: choose a teacher of the student's family."
                    yield "train", HarnessError(what, where=training.step.name, fix=fix)


def _length(step: TrainStep, reference: str, folder: Path) -> Iterator[tuple[str, HarnessError]]:
    """A length that the recipe asks for, or that a model without rotary positions cannot even compute."""
    settings, limit = step.settings, _positions(folder)
    assert isinstance(settings, StepSettings), "trainings have steps of the harness alone"
    asked = "max_length" in settings.model_fields_set or not hasattr(_config(folder), "rope_parameters")
    if limit is not None and settings.max_length > limit and asked:
        yield "train", _too_long(step.name, settings.max_length, reference, limit)


def _too_long(where: str, length: int, reference: str, limit: int) -> HarnessError:
    what = f"max_length is {length:,}, and {reference} has {limit:,} positions"
    return HarnessError(what, where=where, fix=f"Set max_length to at most {limit}, or take a model of longer context.")


def _shares(step: TrainStep, processes: int) -> Iterator[tuple[str, HarnessError]]:
    settings = step.settings
    assert isinstance(settings, StepSettings), "trainings have steps of the harness alone"
    if settings.batch_size % processes:
        below = settings.batch_size // processes * processes
        sizes = f"{below} or {below + processes}" if below else f"{processes}"
        what = f"{processes} processes cannot share a batch of {settings.batch_size} evenly: some wait in every step"
        yield "train", HarnessError(what, where=step.name, fix=f"Set batch_size to {sizes}, or other processes.")


def _layers(training: Training, folders: Mapping[str, Path]) -> Iterator[tuple[str, HarnessError]]:
    settings, teacher = training.step.settings, training.teachers.get("teacher")
    if not isinstance(settings, KDSettings) or not settings.w_attn or teacher is None:
        return
    if training.student in folders and teacher in folders:
        from harness.train.attention import layer_pairs

        counts = (_config(folders[one]).num_hidden_layers for one in (training.student, teacher))
        try:
            layer_pairs(settings.attention_layers, *counts)
        except HarnessError as error:
            yield "train", error


def _experts(cell: CellRecipe, folders: Mapping[str, Path]) -> Iterator[tuple[str, HarnessError]]:
    mixture, base = cell.student.architecture, cell.student.model
    for reference in (mixture.from_ or ()) if mixture else ():
        if reference not in folders or base not in folders:
            continue
        for name in _EXPERT_SHAPE:
            values = [getattr(_config(folders[one]), name, None) for one in (base, reference)]
            if values[0] != values[1]:
                what = f"experts of different shapes: {name} is {values[0]} in {base} and {values[1]} in {reference}"
                yield "upcycle", HarnessError(what, fix="Choose experts that are checkpoints of one model.")


def _positions(folder: Path) -> int | None:
    limit: int | None = getattr(_config(folder), "max_position_embeddings", None)
    return limit


@cache
def _config(folder: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).get_text_config()


@cache
def _difference(student: Path, teacher: Path) -> str:
    from harness.models.load import vocabulary_difference

    return vocabulary_difference(student, teacher)
