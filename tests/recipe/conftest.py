from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from harness.bench.api import JudgedBenchmark
from harness.core.settings import Settings, execution
from harness.recipe import Recipe, load


class JudgedSettings(Settings):
    data: Path = execution()
    questions: int | None = Field(None, ge=1)


class QuizSettings(Settings):
    examples: int = Field(10, ge=1)


def _unopened(settings: Any, files: Any) -> Any:
    raise AssertionError("a recipe is checked without its benchmarks' files")


def _benchmark(name: str, settings: type[Settings], program: Any) -> JudgedBenchmark[Any]:
    return JudgedBenchmark(name, 1, settings, lambda settings: {}, _unopened, lambda settings: "rating", program)


REGISTRY = {"judged": _benchmark("judged", JudgedSettings, None), "quiz": _benchmark("quiz", QuizSettings, len)}


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recipe]:
    """Loads a recipe's text as `r.yaml`, with the benchmarks `judged` (by a model) and `quiz` (by a program)."""
    monkeypatch.chdir(tmp_path)

    def load_it(text: str | bytes, *sets: str) -> Recipe:
        path = Path("r.yaml")
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(path, sets, benchmarks=REGISTRY)

    return load_it
