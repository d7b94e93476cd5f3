"""What chance had a hand in, cell by cell: which training, teacher, sample of data and responses a score stands on.

Two cells with the same label of a source share it. So the number of labels among the cells of a row is the number of
times that the source was drawn, whatever drew it: `draws`, a seed, or an axis of the recipe.
"""

from dataclasses import dataclass, field

from harness.core.canonical import digest
from harness.plan.build import PlannedCell
from harness.stages import train
from harness.stages.api import Stage

_LABEL = 12
"""Characters of a source's label."""


@dataclass
class _Found:
    """Ids of stages, by source."""

    teacher: set[str] = field(default_factory=set)
    data: set[str] = field(default_factory=set)
    responses: set[str] = field(default_factory=set)

    def model(self, stage: Stage) -> None:
        """A model that is trained, or what such a model was made from."""
        for name, made in stage.inputs.items():
            if name in ("student", "model") or name.startswith(("candidate:", "expert:")):
                self.model(made)
        if "data" in stage.inputs:
            self.dataset(stage.inputs["data"])
        self.teacher |= {teacher.id for teacher in train.taught_by(stage)}

    def dataset(self, stage: Stage) -> None:
        """What a model is trained on: rows, or a teacher's responses to them."""
        if stage.kind == "respond":
            self.teacher.add(stage.inputs["model"].id)
            if stage.params["responses"]["temperature"] > 0:
                self.responses.add(stage.id)
        elif stage.kind == "dataset":
            self.data.add(stage.id)
        parts = {"respond": ["prompts"], "pick": ["candidates"], "mix": list(stage.inputs)}
        for name in parts.get(stage.kind, ()):
            self.dataset(stage.inputs[name])


def sources(cell: PlannedCell) -> dict[str, str]:
    """Source (`training`, `teacher`, `data`, `responses`) -> label, for the sources that the cell's model has."""
    model, found = cell.model.stage, _Found()
    found.model(model)
    found.teacher -= {stage.id for stage in _chain(model)}  # a student may be its own reference
    if _on_recorded(cell):
        found.teacher.add("recorded")
    trained = {model.id} if found.data else set()
    ids = {"training": trained, "teacher": found.teacher, "data": found.data, "responses": found.responses}
    return {source: digest(sorted(of))[:_LABEL] for source, of in ids.items() if of}


def _on_recorded(cell: PlannedCell) -> bool:
    teacher, steps = cell.cell.settings.teacher, cell.cell.settings.train
    recorded = teacher is not None and teacher.recorded is not None
    return recorded and any(step.settings.data == "teacher" for step in steps)


def _chain(model: Stage) -> list[Stage]:
    """The model and those that its training started from."""
    before = [_chain(made) for name, made in model.inputs.items() if name in ("student", "model")]
    return [model, *(stage for chain in before for stage in chain)]
