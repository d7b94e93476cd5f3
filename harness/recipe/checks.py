"""What no section can see alone: references between sections, and numbers that must fit each other."""

from collections.abc import Iterator

from harness.bench.api import JudgedBenchmark
from harness.core.errors import HarnessError
from harness.data.settings import DatasetSettings, DataSettings
from harness.generate.api import ResponseSettings
from harness.generate.engines import engine_types
from harness.judge.profiles import check_profile
from harness.judge.protocol import find_protocol
from harness.models.refs import SCHEMES, parse
from harness.recipe.axes import SAFE
from harness.recipe.faults import Key, nearest, one_of
from harness.recipe.schema import CellRecipe
from harness.recipe.sections import Registry
from harness.teachers.api import all_scores
from harness.train.api import steps
from harness.train.settings import StepData, StepSettings
from harness.train.steps.dae import DAESettings

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
    if cell.judge and cell.judge.serve:
        named.append((("judge", "model"), cell.judge.model))
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
        if ref.scheme == "artifact" and ref.value not in cell.models:
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
        if dataset and (dataset.path is None) == (dataset.pocket is None):
            yield key, "a dataset has exactly one of 'path' and 'pocket'"


def _roles(key: Key, data: DataSettings) -> dict[Key, DatasetSettings | None]:
    roles = {(*key, role): getattr(data, role) for role in type(data).model_fields if role != "domains"}
    return roles | {(*key, "domains", name): dataset for name, dataset in data.domains.items()}


def _train(cell: CellRecipe) -> Iterator[Finding]:
    if cell.train and cell.student.model.startswith("endpoint:"):
        yield ("student", "model"), "a model behind an endpoint gives text only and cannot be trained"
    for i, (name, settings) in enumerate(next(iter(step.items())) for step in cell.train):
        key: Key = ("train", i, name)
        yield from _batches(key, settings, cell.resources.processes)
        if settings.data == "teacher":
            yield from _teacher_data(cell, key)
        else:
            yield from _step_data(key, settings, cell.data)
        for role, of in steps()[name].teachers(settings).items():
            yield from _logits(cell, name, key, role, of)


def _checkpoints(cell: CellRecipe) -> Iterator[Finding]:
    labels = [f"{fraction:g}" for fraction in cell.checkpoints]
    if sorted(set(cell.checkpoints)) != cell.checkpoints or len(set(labels)) < len(labels):
        yield ("checkpoints",), "the fractions of the training are given in ascending order, each once"
    if cell.checkpoints == [1.0]:
        return
    if not cell.train:
        yield ("checkpoints",), "the recipe trains nothing, so that there is nothing to keep"
    elif "command" in cell.train[-1]:
        yield ("checkpoints",), "of a command's training only the end is known"


def _step_data(key: Key, settings: StepData, data: DataSettings) -> Iterator[Finding]:
    if settings.data != "mix":
        if getattr(data, settings.data) is None:
            whose = "this model" if key[0] == "models" else "the recipe"
            yield (*key, "data"), f"this step trains on data.{settings.data}, which {whose} does not have"
        return
    if data.train is None:
        yield (*key, "data"), "a mix needs data.train, for its general part"
    if (data.domain is None) == (not data.domains):
        yield (*key, "data"), "a mix needs one of data.domain and data.domains"
    for name in settings.ratio if isinstance(settings.ratio, dict) else ():
        if name not in data.domain_names:
            yield (*key, "ratio", name), f"no domain '{name}' in data{nearest(name, data.domain_names)}"
    if isinstance(settings, DAESettings):
        yield from _experts(key, settings, data)


def _experts(key: Key, settings: DAESettings, data: DataSettings) -> Iterator[Finding]:
    if settings.expert is not None and data.domains:
        yield (
            (*key, "expert"),
            f"'expert' is of data.domain; of data.domains: 'experts: {{{data.domain_names[0]}: ...}}'",
        )
        return
    for name in settings.experts:
        if name not in data.domain_names:
            yield (*key, "experts", name), f"no domain '{name}' in data{nearest(name, data.domain_names)}"
    if settings.experts and (missing := [name for name in data.domain_names if name not in settings.experts]):
        yield (*key, "experts"), f"no expert for {', '.join(missing)}"


def _batches(key: Key, settings: StepData, processes: int) -> Iterator[Finding]:
    if isinstance(settings, StepSettings) and settings.batch_size % (settings.micro_batch_size * processes):
        parts = f"micro_batch_size {settings.micro_batch_size}"
        parts += f" times {processes} processes" if processes > 1 else ""
        named = "batch_size" if "batch_size" in settings.model_fields_set else "micro_batch_size"
        yield (*key, named), f"batch_size {settings.batch_size} is not a multiple of {parts}"


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
        elif of.startswith("artifact:") and (name := of.removeprefix("artifact:")) not in cell.models:
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
        for i, (step, settings) in enumerate(next(iter(step.items())) for step in made.train):
            key: Key = (*here, i, step)
            yield from _batches(key, settings, cell.resources.processes)
            if settings.data == "teacher" or steps()[step].teachers(settings):
                yield key, "a made model trains without a teacher: sft on data: train, domain or mix"
            else:
                yield from _step_data(key, settings, made.data)


def _judged(cell: CellRecipe, benchmarks: Registry) -> Iterator[Finding]:
    for i, (name, settings) in enumerate(next(iter(step.items())) for step in cell.evaluate):
        bench = benchmarks[name]
        if not isinstance(bench, JudgedBenchmark) or bench.program is not None:
            continue
        if cell.judge is None:
            yield ("evaluate", i, name), "a model judges this benchmark, and the recipe has no 'judge'"
            continue
        try:
            check_profile(cell.judge, find_protocol(bench.form(settings), cell.judge.protocol))
        except HarnessError as error:
            yield ("judge", "protocol"), f"{name}: {error.what}; {error.fix}"


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
