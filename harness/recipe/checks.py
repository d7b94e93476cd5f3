"""What no section can see alone: references between sections, and numbers that must fit each other."""

from collections.abc import Iterable, Iterator, Mapping

from harness.bench.api import JudgedBenchmark
from harness.core.errors import HarnessError
from harness.data.settings import DatasetSettings, DataSettings
from harness.generate.api import ResponseSettings
from harness.generate.engines import engine_types
from harness.judge.profiles import check_profile
from harness.judge.protocol import find_protocol
from harness.models.refs import SCHEMES, of_run, parse
from harness.recipe.axes import SAFE
from harness.recipe.faults import Key, nearest, one_of
from harness.recipe.schema import CellRecipe, TrainStep
from harness.recipe.sections import Registry
from harness.teachers.api import all_scores
from harness.train.api import steps
from harness.train.settings import StepData

Finding = tuple[Key, str]

NOT_DOMAINS = ("general", "reference", "train")
"""What a mix, and a loss over it, call parts that are no domain."""

CHECKED = (
    "student",
    "teacher",
    "models",
    "data",
    "train",
    "checkpoints",
    "generate",
    "resources",
    "evaluate",
    "judge",
    "teachers",
)
"""The sections that `check` reads."""


def check(cell: CellRecipe, benchmarks: Registry) -> list[Finding]:
    """Every fault between the sections of one cell, with the key path it belongs to."""
    return [
        *_engine(cell),
        *_references(cell),
        *_mixture(cell),
        *_datasets(cell),
        *_train(cell),
        *_checkpoints(cell),
        *_made(cell),
        *_judged(cell, benchmarks),
        *_teachers(cell),
    ]


def _engine(cell: CellRecipe) -> Iterator[Finding]:
    known, engine = ("auto", *engine_types()), cell.generate.engine
    if engine not in known:
        yield ("generate", "engine"), f"no engine '{engine}'{nearest(engine, known)}"


def _references(cell: CellRecipe) -> Iterator[Finding]:
    named: list[tuple[Key, str]] = [(("student", "model"), cell.student.model)]
    if cell.teacher and cell.teacher.model is not None:
        named.append((("teacher", "model"), cell.teacher.model))
    for place, judge in cell.judge.asked.items() if cell.judge else ():
        if judge.serve:
            named.append(((*place, "model"), judge.model))
    mixture = cell.student.architecture
    for i, reference in enumerate(mixture.from_ or () if mixture else ()):
        named.append((("student", "architecture", "from", i), reference))
    named += [(("models", name, "base"), made.base) for name, made in cell.models.items()]
    reward = cell.teachers.reward if cell.teachers else None
    if reward is not None and reward.model is not None:
        named.append((("teachers", "reward", "model"), reward.model))
    if reward is not None and reward.trained is not None:
        named.append((("teachers", "reward", "trained", "base"), reward.trained.base))
    for key, reference in named:
        if reference.partition(":")[0] not in SCHEMES or ":" not in reference:
            yield key, f"'{reference}' is not a model reference; it starts with {one_of([f'{s}:' for s in SCHEMES])}"
            continue
        try:
            ref = parse(reference)
        except HarnessError as error:
            yield key, f"{error.what}; {error.fix}"
            continue
        if ref.scheme == "artifact" and ref.value not in cell.models and not of_run(reference):
            yield key, f"no model '{ref.value}' in models{nearest(ref.value, cell.models)}"
    yield from _circles(cell)


def _mixture(cell: CellRecipe) -> Iterator[Finding]:
    mixture, key = cell.student.architecture, ("student", "architecture")
    if mixture is None:
        return
    if cell.student.model.startswith("endpoint:"):
        yield key, "a model behind an endpoint gives text only and cannot be made a mixture of experts"
    for i, reference in enumerate(mixture.from_ or ()):
        if reference.startswith("endpoint:"):
            yield (*key, "from", i), "a model behind an endpoint gives text only and cannot be an expert"
    for i, name in enumerate(mixture.prompts):
        if cell.data.role(name) is None:
            yield (*key, "prompts", i), f"the recipe has no data.{name}"


def _circles(cell: CellRecipe) -> Iterator[Finding]:
    for name in cell.models:
        here, seen = name, {name}
        while here in cell.models and cell.models[here].base.startswith("artifact:"):
            here = cell.models[here].base.removeprefix("artifact:")
            if here == name:
                yield ("models", name, "base"), "this model is made from itself"
            if here in seen:
                break
            seen.add(here)


def _datasets(cell: CellRecipe) -> Iterator[Finding]:
    given: dict[Key, DatasetSettings | None] = _roles(("data",), cell.data)
    given["teacher", "recorded"] = cell.teacher.recorded if cell.teacher else None
    for name, made in cell.models.items():
        if not SAFE.fullmatch(name):
            yield ("models", name), "a model's name is letters, digits and _ . + -"
        given |= _roles(("models", name, "data"), made.data)
    for key, dataset in given.items():
        if key[-2] == "domains" and (not SAFE.fullmatch(str(key[-1])) or key[-1] in NOT_DOMAINS):
            yield key, f"a domain's name is letters, digits and _ . + -, and not {one_of(NOT_DOMAINS)}"
        if dataset and ("file" in dataset.sources) == (dataset.pocket is not None):
            yield key, "a dataset has exactly one of 'path', 'hf' and 'pocket'"


def _roles(key: Key, data: DataSettings) -> dict[Key, DatasetSettings | None]:
    roles = {(*key, role): getattr(data, role) for role in type(data).model_fields if role != "domains"}
    return roles | {(*key, "domains", name): dataset for name, dataset in data.domains.items()}


def _train(cell: CellRecipe) -> Iterator[Finding]:
    if cell.train and cell.student.model.startswith("endpoint:"):
        yield ("student", "model"), "a model behind an endpoint gives text only and cannot be trained"
    for i, step in enumerate(cell.train):
        key: Key = ("train", i, step.name)
        if step.settings.data == "teacher":
            yield from _teacher_data(cell, key)
        else:
            yield from _step_data(key, step, cell.data)
        for role, of in steps()[step.name].teachers(step.settings).items():
            yield from _logits(cell, step.name, key, role, of)


def _checkpoints(cell: CellRecipe) -> Iterator[Finding]:
    fractions = [kept for kept in cell.checkpoints if kept != "mean"]
    if "mean" in cell.checkpoints and (cell.checkpoints[-1] != "mean" or len(fractions) != len(cell.checkpoints) - 1):
        yield ("checkpoints",), "`mean` is given once, after the fractions"
    if "mean" in cell.checkpoints and len(fractions) < 2:
        yield ("checkpoints",), "`mean` is of the models at two fractions or more"
    if sorted(set(fractions)) != fractions or len({f"{fraction:g}" for fraction in fractions}) < len(fractions):
        yield ("checkpoints",), "the fractions of the training are given in ascending order, each once"
    if cell.checkpoints == [1.0]:
        return
    if cell.train and getattr(cell.train[-1].settings, "average", None):
        key = ("train", len(cell.train) - 1, cell.train[-1].name, "average")
        yield key, "with `checkpoints`, `mean` among these is the mean: leave `average` out"
    if not cell.train:
        yield ("checkpoints",), "the recipe trains nothing, so that there is nothing to keep"
    elif steps()[cell.train[-1].name].objective is None:
        yield ("checkpoints",), "of a command's training only the end is known"


def _step_data(key: Key, step: TrainStep, data: DataSettings) -> Iterator[Finding]:
    settings = step.settings
    if settings.data != "mix":
        if getattr(data, settings.data) is None:
            whose = "this model" if key[0] == "models" else "the recipe"
            yield (*key, "data"), f"this step trains on data.{settings.data}, which {whose} does not have"
        return
    if data.train is None:
        yield (*key, "data"), "a mix needs data.train, for its general part"
    if (data.domain is None) == (not data.domains):
        yield (*key, "data"), "a mix needs one of data.domain and data.domains"
    yield from _known_domains((*key, "ratio"), settings.ratio if isinstance(settings.ratio, dict) else {}, data)
    if (domain_keys := steps()[step.name].domain_keys) is not None:
        yield from _each_domain(key, settings, *domain_keys, data)


def _known_domains(key: Key, named: Iterable[str], data: DataSettings) -> Iterator[Finding]:
    for name in named:
        if name not in data.domain_names:
            yield (*key, name), f"no domain '{name}' in data{nearest(name, data.domain_names)}"


def _each_domain(key: Key, settings: StepData, one: str, several: str, data: DataSettings) -> Iterator[Finding]:
    """`one` and `several` are the keys of `Step.domain_keys`."""
    if getattr(settings, one) is not None and data.domains:
        yield (*key, one), f"'{one}' is of data.domain; of data.domains: '{several}: {{{data.domain_names[0]}: ...}}'"
        return
    named: Mapping[str, object] = getattr(settings, several)
    yield from _known_domains((*key, several), named, data)
    if named and (missing := [name for name in data.domain_names if name not in named]):
        yield (*key, several), f"no {one} for {', '.join(missing)}"


def _teacher_data(cell: CellRecipe, key: Key) -> Iterator[Finding]:
    if cell.teacher is None:
        yield (*key, "data"), "this step trains on the teacher's responses, and the recipe has no teacher"
    elif cell.teacher.model is not None and cell.data.prompts is None and cell.data.train is None:
        yield (*key, "data"), "the teacher needs data.prompts (or data.train) to answer; the recipe has neither"


def _logits(cell: CellRecipe, step: str, key: Key, role: str, of: str) -> Iterator[Finding]:
    """`of` is whose logits the step needs in a role: see `Step.teachers`."""
    if of not in ("teacher", "student"):
        if of.partition(":")[0] not in SCHEMES:
            yield key, f"'{of}' is not a model reference; it starts with {one_of([f'{s}:' for s in SCHEMES])}"
        elif of.startswith("endpoint:"):
            yield key, f"{step} needs the logits of its {role}; an endpoint gives text only"
        elif of.startswith("artifact:") and not of_run(of) and of.removeprefix("artifact:") not in cell.models:
            name = of.removeprefix("artifact:")
            yield key, f"no model '{name}' in models{nearest(name, cell.models)}"
    elif of == "teacher" and (cell.teacher is None or cell.teacher.model is None):
        has = "the recipe has no teacher" if cell.teacher is None else "this one is recorded (sft can use it)"
        yield key, f"{step} needs a teacher with a model, for its logits; {has}"
    elif of == "teacher" and cell.teacher and (cell.teacher.model or "").startswith("endpoint:"):
        yield key, f"{step} needs the teacher's logits; an endpoint gives text only (sft can use it)"


def _made(cell: CellRecipe) -> Iterator[Finding]:
    for name, made in cell.models.items():
        here: Key = ("models", name, "train")
        if not made.train:
            yield here, "a made model needs at least one training step"
        for i, step in enumerate(made.train):
            key: Key = (*here, i, step.name)
            if step.settings.data == "teacher" or steps()[step.name].teachers(step.settings):
                yield key, "a made model trains without a teacher: sft on data: train, domain or mix"
            else:
                yield from _step_data(key, step, made.data)


def _judged(cell: CellRecipe, benchmarks: Registry) -> Iterator[Finding]:
    for i, chosen in enumerate(cell.evaluate):
        bench = benchmarks[chosen.name]
        if not isinstance(bench, JudgedBenchmark) or bench.program is not None:
            continue
        if cell.judge is None:
            yield ("evaluate", i, chosen.name), "a model judges this benchmark, and the recipe has no 'judge'"
            continue
        for place, judge in cell.judge.asked.items():
            try:
                check_profile(judge, find_protocol(bench.form(chosen.settings), judge.protocol))
            except HarnessError as error:
                yield (*place, "protocol"), f"{chosen.name}: {error.what}; {error.fix}"


def _teachers(cell: CellRecipe) -> Iterator[Finding]:
    how = cell.teacher.responses if cell.teacher else ResponseSettings()
    reward = cell.teachers.reward if cell.teachers else None
    if how.candidates > 1 and not how.temperature:
        yield ("teacher", "responses", "candidates"), "several candidates need a temperature: greedy ones are all equal"
    if how.pick != "first" and (how.candidates == 1 or reward is None):
        yield ("teacher", "responses", "pick"), f"the {how.pick} response needs several candidates and teachers.reward"
    if cell.teachers is None:
        return
    if cell.teacher is None:
        yield ("teachers",), "teacher scores need a teacher, and the recipe has none"
    elif cell.teacher.model is not None and cell.data.prompts is None and cell.data.train is None:
        yield ("teachers",), "the teacher needs data.prompts (or data.train) to answer; the recipe has neither"
    known = all_scores()
    for i, name in enumerate(cell.teachers.scores):
        if name not in known:
            yield ("teachers", "scores", i), f"no teacher score '{name}'{nearest(name, known)}"
        elif "reward" in known[name].needs and reward is None:
            yield ("teachers", "scores", i), f"'{name}' needs teachers.reward, which the recipe does not have"
    if reward is not None and reward.judge and cell.judge is None:
        yield ("teachers", "reward", "judge"), "a judge gives the reward, and the recipe has no 'judge'"
    if reward is not None and reward.judge and cell.judge is not None and cell.judge.panel:
        yield ("teachers", "reward", "judge"), "one judge gives the reward, and the recipe's 'judge' is a panel"
