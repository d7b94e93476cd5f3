"""The shapes of a plan's models, known before any weights are here."""

from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.hub import Unreachable
from harness.models import refs
from harness.models.pocket import PocketSpec, described
from harness.models.shape import Shape, of_config, published
from harness.stages import average, command, reward_model, select, train, upcycle
from harness.stages import model as models
from harness.stages.api import Stage
from harness.stages.pinned import is_absent
from harness.store.store import Store


class Shapes:
    """Shapes by stage, each config read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Shape | None] = {}
        self._reachable = True
        self.notes: dict[str, None] = {}
        """A sentence for each shape that is not from a config."""

    def of(self, made: Stage, part: str = "") -> Shape | None:
        """The shape of the model that a stage puts out; None where nobody can know it yet."""
        if made.id not in self._known:
            self._known[made.id] = self._read(made, part)
        return self._known[made.id]

    def _read(self, made: Stage, part: str) -> Shape | None:
        match made.kind:
            case train.KIND.name:
                student = train.student_of(made)
                return self.of(student.stage, student.part)
            case select.KIND.name:
                return self.of(select.first_candidate(made).stage)
            case average.KIND.name:
                return self.of(average.trained_of(made).stage)
            case upcycle.KIND.name:
                base = upcycle.base_of(made)
                dense = self.of(base.stage, base.part)
                return dense and dense.mixture(made.params["experts"], made.params["per_token"])
            case models.POCKET.name:
                return of_config(described(PocketSpec(**made.params["spec"])))
            case models.TEMPLATE.name:
                return self.of(made.inputs["model"], made.params["part"])
            case command.KIND.name:
                return self.of(made.inputs["student"], made.params["part"])
            case reward_model.KIND.name:
                return self.of(made.inputs["base"], made.params["part"])
        if is_absent(made):
            return self._absent(made)
        folder = made.path if made.path is not None else self._store.path(made.id)
        file = Path(folder) / part / "config.json"
        return of_config(refs.config_of(file)) if file.is_file() else None

    def _absent(self, made: Stage) -> Shape | None:
        """The shape of a hub's model that is not here: by its config, which is small, else by the table."""
        name = str(made.params["absent"])
        if not name.startswith("hf:"):
            return None
        ref = refs.parse(name)
        config = None
        if self._reachable:
            try:
                config = refs.hub_config(ref)
            except Unreachable:
                self._reachable = False
            except HarnessError:  # gated, or no such repository: whoever runs it is told
                config = None
        if config is not None:
            return of_config(config)
        shape = published().get(ref.value)
        if shape is not None:
            self.notes[f"{name}: its size is from a table of {shape.published}, since its config is not here"] = None
        return shape
