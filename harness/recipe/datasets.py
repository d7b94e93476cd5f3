"""The data files that a recipe names, and who needs a response in them."""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.bench.fidelity import FidelitySettings
from harness.bench.nll import NLLSettings, SetSettings
from harness.data.settings import DatasetSettings, DataSettings
from harness.recipe.load import Recipe
from harness.recipe.schema import CellRecipe, TrainStep
from harness.train.settings import StepSettings


@dataclass(frozen=True)
class NamedData:
    """A dataset of a recipe."""

    name: str
    """Where the recipe has it: `data.train`, `teacher.recorded`, `models.big.data.train`, `nll.maths`."""
    settings: DatasetSettings
    answered: bool
    """Its responses are trained on or scored; those of the others are not looked at."""
    data_seed: int

    @property
    def text(self) -> str | None:
        """The column of a set of plain texts."""
        return self.settings.text if isinstance(self.settings, SetSettings) else None


def datasets(recipe: Recipe) -> list[NamedData]:
    """Every file that a cell of the recipe reads as instruction data, each once."""
    found = (one for cell in recipe.cells for one in _of_cell(cell.settings) if "file" in one.settings.sources)
    return list({(one.name, one.settings.model_dump_json(), one.answered): one for one in found}.values())


def _of_cell(cell: CellRecipe) -> Iterator[NamedData]:
    seed = cell.data_seed
    yield from _of_data("data", cell.data, cell.train, seed)
    for name, made in cell.models.items():
        of_made = seed if made.data_seed is None else made.data_seed
        yield from _of_data(f"models.{name}.data", made.data, made.train, of_made)
    if cell.teacher is not None and cell.teacher.recorded is not None:
        yield NamedData("teacher.recorded", cell.teacher.recorded, True, seed)
    for benchmark in cell.evaluate:
        if isinstance(benchmark.settings, NLLSettings):
            yield from (NamedData(f"nll.{name}", one, True, seed) for name, one in benchmark.settings.sets.items())
        if isinstance(benchmark.settings, FidelitySettings):
            sets = benchmark.settings.sets
            yield from (NamedData(f"fidelity.{name}", one, False, seed) for name, one in sets.items())


def _of_data(where: str, data: DataSettings, train: list[TrainStep], seed: int) -> Iterator[NamedData]:
    ours = [step for step in train if isinstance(step.settings, StepSettings)]  # a command reads what it likes
    learned = {name for step in ours for name in _parts(step.settings.data, data)}
    for name in ("train", *data.domain_names, "prompts"):
        given = data.role(name)
        if given is not None:
            place = f"{where}.domains.{name}" if name in data.domains else f"{where}.{name}"
            yield NamedData(place, given, name in learned, seed)


def _parts(asked: str, data: DataSettings) -> list[str]:
    """The datasets that a step's `data` stands for."""
    return ["train", *data.domain_names] if asked == "mix" else [asked]
