"""Conversations with an engine: loaded once for all stages of a checkpoint, resumed where a killed one stopped."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.bench.mt_bench import MTBenchSettings
from harness.core.errors import Incomplete
from harness.core.lines import Journal
from harness.generate import engines, vllm_engine
from harness.generate.api import Engine, GenerateSettings, ResponseSettings
from harness.models.settings import ModelSettings
from harness.stages import answer, benchmarks, conversing, respond
from harness.stages.api import Session, Stage
from harness.stages.model import weights
from harness.stages.runner import read_order, run_stage, write_orders
from harness.store.store import Store
from tests.cli.judged import write_benchmark

FAKE = (sys.executable, str(Path(__file__).parents[1] / "generate" / "fake_vllm.py"))
MODEL = "pocket:llama?layers=1&width=16&heads=2&seed=1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def stages(folder: Path, engine: str = "vllm") -> list[Stage]:
    """Two benchmarks of one checkpoint."""
    generate = GenerateSettings.model_validate_json(json.dumps({"engine": engine, "batch_size": 4}))
    model = weights(ModelSettings(model=MODEL), {})
    suite = benchmarks.pin("pocket", benchmarks.by_name("pocket").settings.model_validate_json('{"questions": 8}'))
    data = write_benchmark(folder / "mt_bench")
    mt_bench = benchmarks.pin("mt_bench", MTBenchSettings(data=data, max_new_tokens=4))
    return [answer.stage(suite, model, generate, 11, 0), answer.stage(mt_bench, model, generate, 11, 0)]


def run(store: Store, stage: Stage, session: Session) -> None:
    for needed in (s for s in stage.walk() if not s.is_leaf):
        write_orders(store, [needed])
        run_stage(store, read_order(store, needed.id), session, lambda *_, **__: None)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A stand-in for vLLM's process."""
    monkeypatch.setattr(vllm_engine, "COMMAND", FAKE)
    monkeypatch.setattr(vllm_engine, "_is_cpu_build", lambda: True)
    monkeypatch.setattr(engines, "has_vllm", lambda: True)
    return monkeypatch


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_one_load_per_checkpoint(tmp_path: Path, store: Store, fake: pytest.MonkeyPatch, engine: str) -> None:
    starts: list[Path] = []

    @contextlib.contextmanager
    def counted(folder: Path, settings: GenerateSettings, log: Path) -> Iterator[Engine]:
        starts.append(folder)
        with engines.loaded(folder, settings, log) as loaded:
            yield loaded

    fake.setattr(conversing, "loaded", counted)
    both = stages(tmp_path, engine)
    assert len({stage.session for stage in both}) == 1, "so the scheduler gives them to one process"
    session = Session()
    for stage in both:
        run(store, stage, session)
    session.close()
    assert len(starts) == 1
    assert all(store.has(stage.id) for stage in both)


def test_a_killed_engine_leaves_what_was_finished_and_the_next_run_goes_on(
    tmp_path: Path, store: Store, fake: pytest.MonkeyPatch
) -> None:
    stage, other = stages(tmp_path)
    fake.setenv("FAKE_VLLM", "killed:4")
    session = Session()
    for unlucky in (stage, other):
        with pytest.raises(Incomplete, match="process has ended"):
            run(store, unlucky, session)
    session.close()
    with Journal(store.work(stage.id) / "turns.jsonl") as journal:
        assert len({(r["id"], r["turn"]) for r in journal.records}) == 4

    fake.setenv("FAKE_VLLM", "")
    log = store.root / "logs" / f"engine-{stage.id[:12]}.log"
    before = asked(log)
    session = Session()
    for lucky in (stage, other):
        run(store, lucky, session)
    session.close()
    assert asked(log) - before == 16 + 10 - 4, "what was answered is not asked again"
    answers = answer.read(store.path(stage.id))
    assert [(len(a.turns), a.finish) for a in answers] == [(2, ("stop", "stop"))] * len(answers)


def asked(log: Path) -> int:
    """How many prompts an engine with this log got."""
    return sum(line.startswith("request ") for line in log.read_text().splitlines())


def test_execution_settings_reach_the_running_stage(tmp_path: Path, store: Store, fake: pytest.MonkeyPatch) -> None:
    settings: Any = {"engine": "vllm", "memory_fraction": 0.25, "startup_timeout_s": 7.0, "tensor_parallel": 2}
    (stage, _) = stages(tmp_path)
    given = GenerateSettings.model_validate_json(json.dumps(settings))
    params, execution = stage.params, {"generate": conversing.execution_of(given)}
    assert conversing.settings_of(params, execution) == given
    assert stage.params["generate"] == {"engine": "vllm", "dtype": "float32", "max_length": 4096}


def test_a_teacher_is_told_every_system_prompt_of_a_row() -> None:
    said = [("system", "Be brief."), ("system", "Answer in Latin."), ("user", "Why?")]
    row = {"id": "a", "messages": [{"role": role, "content": text} for role, text in said]}
    assert respond._question(row, ResponseSettings(), 0).system == "Be brief.\n\nAnswer in Latin."
