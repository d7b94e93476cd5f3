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


def asked(name: str, settings: Settings) -> Asked:
    """Pin a benchmark's files."""
    bench = by_name(name)
    params = {"benchmark": name, "benchmark_version": bench.version, "settings": identity(settings)}
    files = {_FILE + role: pinned_file(path) for role, path in bench.files(settings).items()}
    return Asked(name, params, files, {"benchmark": settings.model_dump(mode="json")})


def by_name(name: str) -> GenerativeBenchmark:
    """The benchmark of that name."""
    bench: GenerativeBenchmark = discover("harness.bench", "BENCHMARK")[name]
    return bench


def of(ctx: Context) -> tuple[GenerativeBenchmark, Settings, dict[str, Path]]:
    """The benchmark a running stage is about, its settings and its files."""
    bench = by_name(ctx.params["benchmark"])
    settings = bench.settings.model_validate_json(json.dumps(ctx.execution["benchmark"]))
    files = {name.removeprefix(_FILE): path for name, path in ctx.inputs.items() if name.startswith(_FILE)}
    return bench, settings, files


def questions(ctx: Context) -> list[Question]:
    """The questions of the benchmark a running stage is about."""
    bench, settings, files = of(ctx)
    return bench.questions(settings, files)
