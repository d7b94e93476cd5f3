"""A benchmark as its stages see it: which one, with which settings, over which pinned files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.bench.api import Benchmark, GenerativeBenchmark, Metric, Question, is_judged, metrics_of
from harness.core.canonical import Json
from harness.core.discover import discover
from harness.core.settings import Settings, identity
from harness.stages.api import Context, Stage
from harness.stages.pinned import pinned_file

_FILE = "file:"


@dataclass(frozen=True, eq=False)
class Asked:
    """One benchmark of a recipe."""

    name: str
    params: Mapping[str, Json]
    """Its share of a stage's identity."""
    files: Mapping[str, Stage]
    """Its files as inputs of a stage."""
    execution: Mapping[str, Json]
    """Its settings whole, with what is no identity."""
    form: str | None
    """What kind of verdict a model judge is asked for; None where the benchmark measures the model itself."""


def asked(name: str, settings: Settings) -> Asked:
    """Pin a benchmark's files."""
    bench = by_name(name)
    params = {"benchmark": name, "benchmark_version": bench.version, "settings": identity(settings)}
    files = {_FILE + role: pinned_file(path) for role, path in bench.files(settings).items()}
    form = bench.form(settings) if is_judged(bench) else None
    return Asked(name, params, files, {"benchmark": settings.model_dump(mode="json")}, form)


def by_name(name: str) -> Benchmark:
    """The benchmark of that name."""
    bench: Benchmark = discover("harness.bench", "BENCHMARK")[name]
    return bench


def judged(name: str) -> GenerativeBenchmark:
    """The benchmark of that name, one whose answers are judged."""
    bench = by_name(name)
    assert is_judged(bench), f"{name} is measured"
    return bench


Loaded = tuple[GenerativeBenchmark, Settings, dict[str, Path]]


def of(ctx: Context) -> Loaded:
    """The judged benchmark a running stage is about, its settings and its files."""
    return judged(ctx.params["benchmark"]), *_given(ctx.params["benchmark"], ctx.execution["benchmark"], ctx.inputs)


def questions(ctx: Context) -> list[Question]:
    """The questions of the benchmark a running stage is about."""
    bench, settings, files = of(ctx)
    return bench.questions(settings, files)


def planned(stage: Stage) -> Loaded:
    """The judged benchmark that a planned stage is about, its settings and its files."""
    return judged(stage.params["benchmark"]), *planned_settings(stage)


def planned_settings(stage: Stage) -> tuple[Settings, dict[str, Path]]:
    """The settings and files of the benchmark that a planned stage is about."""
    places = {name: given.path for name, given in stage.inputs.items() if given.path is not None}
    return _given(stage.params["benchmark"], stage.execution["benchmark"], places)


def running(ctx: Context) -> tuple[Benchmark, Settings, dict[str, Path]]:
    """The benchmark a running stage is about, judged or measured, its settings and its files."""
    name = ctx.params["benchmark"]
    return by_name(name), *_given(name, ctx.execution["benchmark"], ctx.inputs)


def metrics(stage: Stage) -> tuple[Metric, ...]:
    """What the benchmark of a planned stage reports."""
    return metrics_of(by_name(stage.params["benchmark"]), planned_settings(stage)[0])


def _given(name: str, settings: Json, places: Mapping[str, Path]) -> tuple[Settings, dict[str, Path]]:
    files = {role.removeprefix(_FILE): path for role, path in places.items() if role.startswith(_FILE)}
    return by_name(name).settings.model_validate_json(json.dumps(settings)), files
