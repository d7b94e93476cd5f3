"""A benchmark as its stages see it: which one, with which settings, over which pinned files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.bench.api import JudgedBenchmark, MeasuredBenchmark, OpenJudged, OpenMeasured
from harness.bench.api import benchmarks as known_benchmarks
from harness.core.canonical import Json
from harness.core.discover import used
from harness.core.plugins import Plugin
from harness.core.settings import Settings, identity, restore
from harness.stages.api import Context, Stage
from harness.stages.pinned import pinned_files

_FILE = "file:"


@dataclass(frozen=True, eq=False)
class PinnedBenchmark:
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
    plugins: Mapping[str, Plugin]
    """The plug-in that it comes from, if it comes from one."""


def pin(name: str, settings: Settings) -> PinnedBenchmark:
    """Pin a benchmark's files."""
    bench = by_name(name)
    params = {"benchmark": name, "benchmark_version": bench.version, "settings": identity(settings)}
    files = pinned_files(lambda: {_FILE + role: [path] for role, path in bench.files(settings).items()})
    form = bench.form(settings) if isinstance(bench, JudgedBenchmark) else None
    return PinnedBenchmark(
        name, params, files, {"benchmark": settings.model_dump(mode="json")}, form, used("BENCHMARK", [name])
    )


def by_name(name: str) -> JudgedBenchmark[Any] | MeasuredBenchmark[Any]:
    """The benchmark of that name."""
    bench = known_benchmarks()[name]
    assert isinstance(bench, JudgedBenchmark | MeasuredBenchmark), "there are no other benchmarks"
    return bench


def judged(name: str) -> JudgedBenchmark[Any]:
    """The benchmark of that name, whose answers are judged."""
    bench = by_name(name)
    assert isinstance(bench, JudgedBenchmark), f"{name} is measured"
    return bench


def opened(about: Context | Stage) -> OpenJudged[Any] | OpenMeasured[Any]:
    """The benchmark that a stage, running or planned, is about."""
    bench = by_name(about.params["benchmark"])
    places = {role: given.path if isinstance(given, Stage) else given for role, given in about.inputs.items()}
    files = {role.removeprefix(_FILE): path for role, path in places.items() if path and role.startswith(_FILE)}
    return bench.open(restore(bench.settings, about.execution["benchmark"]), files)


def open_judged(about: Context | Stage) -> OpenJudged[Any]:
    """`opened`, of a stage that is about a benchmark whose answers are judged."""
    bench = opened(about)
    assert isinstance(bench, OpenJudged), "planned as a judged benchmark"
    return bench


def open_measured(about: Context | Stage) -> OpenMeasured[Any]:
    """`opened`, of a stage that is about a benchmark which measures the model itself."""
    bench = opened(about)
    assert isinstance(bench, OpenMeasured), "planned as a measured benchmark"
    return bench
