import pytest

from harness.core.settings import identity
from harness.generate import engines
from harness.generate.api import GenerateSettings


@pytest.mark.parametrize(
    ("installed", "gpus", "visible", "engine"),
    [
        (True, 1, "0", "vllm"),
        (True, 0, "0", "transformers"),
        (True, 1, "", "transformers"),
        (False, 1, "0", "transformers"),
        (False, 0, "", "transformers"),
    ],
)
def test_auto_is_settled_by_what_is_here(
    monkeypatch: pytest.MonkeyPatch, installed: bool, gpus: int, visible: str, engine: str
) -> None:
    monkeypatch.setattr(engines, "has_vllm", lambda: installed)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    auto = GenerateSettings(engine="auto", dtype="bfloat16")
    assert engines.settled(auto, gpus) == GenerateSettings(engine=engine, dtype="bfloat16")


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_a_named_engine_stays(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setattr(engines, "has_vllm", lambda: engine == "transformers")
    settings = GenerateSettings(engine=engine)
    assert engines.settled(settings, 1) is settings


def test_what_is_identity() -> None:
    settings = GenerateSettings(batch_size=3, tensor_parallel=2, memory_fraction=0.5, startup_timeout_s=1.0)
    assert identity(settings) == {"engine": "transformers", "dtype": "float32", "max_length": 4096}
