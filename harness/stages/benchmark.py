"""A benchmark as its stages see it: which one, with which settings, over which pinned files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.bench.api import GenerativeBenchmark, Question
from harness.core.canonical import Json
from harness.core.discover import discover
from harness.core.settings import Settings, identity
from harness.stages.api import Context, Stage
from harness.stages.pinned import pinned_file

_FILE = "file:"


@dataclass(frozen=True)
class Asked:
    """One benchmark of a recipe."""

    name: str
    params: Mapping[str, Json]
    """Its share of a stage's identity."""
    files: Mapping[str, Stage]
    """Its files as inputs of a stage."""
    execution: Mapping[str, Json]
    """Its settings whole, with what is no identity."""
    form: str
    """What kind of verdict a model judge is asked for."""


def asked(name: str, settings: Settings) -> Asked:
    """Pin a benchmark's files."""
    bench = by_name(name)
    params = {"benchmark": name, "benchmark_version": bench.version, "settings": identity(settings)}
    files = {_FILE + role: pinned_file(path) for role, path in bench.files(settings).items()}
    return Asked(name, params, files, {"benchmark": settings.model_dump(mode="json")}, bench.form(settings))


def by_name(name: str) -> GenerativeBenchmark:
    """The benchmark of that name."""
    bench: GenerativeBenchmark = discover("harness.bench", "BENCHMARK")[name]
    return bench


Loaded = tuple[GenerativeBenchmark, Settings, dict[str, Path]]


def of(ctx: Context) -> Loaded:
    """The benchmark a running stage is about, its settings and its files."""
    return _load(ctx.params["benchmark"], ctx.execution["benchmark"], ctx.inputs)


def questions(ctx: Context) -> list[Question]:
    """The questions of the benchmark a running stage is about."""
    bench, settings, files = of(ctx)
    return bench.questions(settings, files)


def planned(stage: Stage) -> Loaded:
    """The benchmark that a planned stage is about, its settings and its files."""
    places = {name: given.path for name, given in stage.inputs.items() if given.path is not None}
    return _load(stage.params["benchmark"], stage.execution["benchmark"], places)


def _load(name: str, settings: Json, places: Mapping[str, Path]) -> Loaded:
    bench = by_name(name)
    files = {role.removeprefix(_FILE): path for role, path in places.items() if role.startswith(_FILE)}
    return bench, bench.settings.model_validate_json(json.dumps(settings)), files
