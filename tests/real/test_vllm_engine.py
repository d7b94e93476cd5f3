"""The real vLLM engine: the same answers as transformers in float32, mixtures of experts, and no process left."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness.core.errors import Incomplete
from harness.generate.api import Answer, Engine, GenerateSettings, Request
from harness.generate.engines import loaded
from harness.generate.vllm_engine import ENVIRONMENT
from harness.models.pocket import build, parse_spec
from tests.train.tuned import BASES, METHODS, tuned

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]

ASKED = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Name three fruits.",
    "What is 2 + 2?",
    "Translate 'good morning' into Spanish, and then explain briefly when one would say it.",
    "Who wrote Hamlet?",
)


def settings(engine: str, **others: object) -> GenerateSettings:
    return GenerateSettings.model_validate_json(json.dumps({"engine": engine, "max_length": 512, **others}))


def requests(temperature: float, words: tuple[str, ...] = ASKED, max_new_tokens: int = 32) -> list[Request]:
    return [
        Request(str(i), ({"role": "user", "content": text},), temperature, max_new_tokens, 7 + i, 0.95)
        for i, text in enumerate(words)
    ]


def complete(engine: Engine, asked: list[Request]) -> dict[str, Answer]:
    done: list[Answer] = []
    engine.complete(asked, done.extend)
    assert len(done) == len(asked)
    return {answer.id: answer for answer in done}


def test_a_real_model(smollm2_folder: Path, tmp_path: Path) -> None:
    """Greedy answers equal those of transformers; draws follow seeds, whatever else is in the batch."""
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    with loaded(smollm2_folder, settings("vllm"), tmp_path / "log") as engine:
        started = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
        greedy, drawn = complete(engine, requests(0.0)), complete(engine, requests(0.8))
        alone = {key: complete(engine, [r])[key] for r in requests(0.8) for key in [r.id]}
        (long,) = complete(engine, requests(0.0, ("word " * 600,))).values()
        (cut,) = complete(engine, requests(0.0, ("word " * 400,), max_new_tokens=400)).values()
    assert started
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in started)
    with loaded(smollm2_folder, settings("transformers"), tmp_path / "log") as engine:
        assert complete(engine, requests(0.0)) == greedy
    assert "Paris" in str(greedy["0"].turns[0])
    assert {c.finish[0] for c in greedy.values()} == {"stop", "length"}
    assert drawn == alone
    assert drawn != greedy
    assert (long.turns[0], long.finish[0][:6]) == (None, "error:")
    assert 0 < cut.tokens[0] <= 512 - 400, "a word of the prompt is a token at least"


def test_a_mixture_of_experts(tmp_path: Path) -> None:
    folder = tmp_path / "moe"
    build(parse_spec("mixtral?layers=2&width=64&heads=2&seed=3"), folder)
    asked = requests(0.0, ("red", "the price of a red shop", "two"))
    found = []
    for name in ("vllm", "transformers"):
        with loaded(folder, settings(name), tmp_path / "log") as engine:
            found.append(complete(engine, asked))
    assert [c.finish[0] for c in found[0].values()] == [c.finish[0] for c in found[1].values()]
    same = sum(found[0][key] == found[1][key] for key in found[0])
    assert same >= 2, "random weights: two logits may be equal to the last bits"


def test_sampled_answers_to_more_prompts_than_a_step_reads(tmp_path: Path) -> None:
    """vLLM winds back the generator of a request whose prompt it reads in parts; on a CPU it dies of that."""
    folder = tmp_path / "tiny"
    build(parse_spec("llama?layers=1&width=64&heads=2&seed=3"), folder)
    asked = requests(0.7, tuple(f"{number} " + "the price of a red shop " * 60 for number in range(40)), 4)
    with loaded(folder, settings("vllm", max_length=2048), tmp_path / "log") as engine:
        done = complete(engine, asked)
    assert {answer.finish[0] for answer in done.values()} <= {"stop", "length"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BASES)
def test_a_tuned_base_model_stops_where_its_template_ends_a_turn(method: str, name: str, tmp_path: Path) -> None:
    """Asked by us, and by vLLM itself with nothing but the folder."""
    folder = tuned(method, name, tmp_path, width=64)
    with loaded(folder, settings("vllm", max_length=128), tmp_path / "log") as engine:
        (done,) = complete(engine, requests(0.0, ("Say 3.",))).values()
    assert (done.turns[0], done.finish[0]) == ("Yes.", "stop")
    script = (
        "import sys, vllm; llm = vllm.LLM(sys.argv[1], dtype='float32', enforce_eager=True, max_model_len=128, "
        "gpu_memory_utilization=0.3)\n"
        "how = vllm.SamplingParams(temperature=0, max_tokens=30)\n"
        "out = llm.chat([{'role': 'user', 'content': 'Say 3.'}], how)[0].outputs[0]\n"
        "print(len(out.token_ids), out.finish_reason)"
    )
    words, where = [sys.executable, "-c", script, str(folder)], {**os.environ, **ENVIRONMENT}
    alone = subprocess.run(words, capture_output=True, text=True, env=where)
    assert alone.stdout.splitlines()[-1:] == ["5 stop"], alone.stderr[-2000:]


def test_killed_while_it_answers(tmp_path: Path) -> None:
    """A process of the engine is killed with -9 after the first answers: a clear error, and those answers are there."""
    folder = tmp_path / "model"
    build(parse_spec("llama?layers=2&width=64&heads=2&seed=0"), folder)
    asked = [Request(str(i), ({"role": "user", "content": "red"},), 0.0, 1 if i < 3 else 500, i) for i in range(6)]
    done: list[Answer] = []

    def kill(batch: list[Answer]) -> None:
        done.extend(batch)
        for process in psutil.Process().children(recursive=True):
            if process.cmdline()[1:3] == ["-m", "harness.generate.vllm_child"]:
                os.kill(process.pid, signal.SIGKILL)

    with (
        loaded(folder, settings("vllm"), tmp_path / "log") as engine,
        pytest.raises(Incomplete, match="process has ended"),
    ):
        engine.complete(asked, kill)
    assert {c.id for c in done} == {"0", "1", "2"}
