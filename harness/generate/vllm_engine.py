"""The vLLM engine: a process of its own, which gets token ids and gives token ids (`vllm_child.py`).

vLLM keeps a GPU, threads and modules' states for as long as its process lives, so that process is held by a guard and
is gone when the engine is closed, or when we are. Prompts, end tokens and texts are made here, as the transformers
engine makes them.
"""

import contextlib
import importlib.metadata
import json
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.core.canonical import Json
from harness.core.errors import HarnessError, Incomplete
from harness.core.guarded import guarded, tail
from harness.core.machine import visible_gpus
from harness.generate.api import Answer, GenerateSettings, Request
from harness.generate.prompts import Prompt, answer, failure, prepare, room, stop_ids
from harness.models.load import load_tokenizer

COMMAND = (sys.executable, "-m", "harness.generate.vllm_child")
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in the process we hold, not in a child of it
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # it would keep a core for itself, and two engines would take the same ones
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


@contextlib.contextmanager
def running(folder: Path, settings: GenerateSettings, log: Path) -> Iterator["VllmEngine"]:
    """The engine with the model in `folder`, ready on entry; its process is gone on exit, however we end.

    Raises:
        HarnessError: it could not load the model, or not in time; the message ends with its log.
    """
    from transformers import AutoConfig

    _check_gpus(settings)
    tokenizer = load_tokenizer(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    stops = stop_ids(tokenizer, _generation_config(folder, config))
    max_length = room(config, settings.max_length)
    given = {
        "model": str(folder),
        "dtype": settings.dtype,
        "max_model_len": max_length,
        "tensor_parallel_size": settings.tensor_parallel,
        "memory_fraction": settings.memory_fraction,
    }
    ours, theirs = socket.socketpair()
    words = [*COMMAND, str(theirs.fileno()), json.dumps(given)]
    with ours, guarded(words, ENVIRONMENT, log, (theirs.fileno(),)) as process:
        theirs.close()
        channel = _Channel(ours, log)
        ours.settimeout(settings.startup_timeout_s)
        try:
            channel.hear()
        except TimeoutError:
            what = f"vLLM was not ready within {settings.startup_timeout_s:g} s"
            raise HarnessError(what, where=str(folder), fix=tail(log)) from None
        except Incomplete:
            what = f"vLLM could not load the model (exit code {process.wait()})"
            raise HarnessError(what, where=str(folder), fix=tail(log)) from None
        ours.settimeout(None)
        yield VllmEngine(tokenizer, stops, max_length, channel)


def _check_gpus(settings: GenerateSettings) -> None:
    """The GPU build of vLLM takes as many GPUs as the model is spread over."""
    offered = len(visible_gpus())
    if _is_cpu_build() or offered >= settings.tensor_parallel:
        return
    fix = f"Set resources.gpus to {settings.tensor_parallel}; without a GPU use `vllm-cpu` or the transformers engine."
    what = f"vLLM needs {settings.tensor_parallel} GPU(s), this stage has {offered}"
    raise HarnessError(what, where="generate.engine", fix=fix)


def _is_cpu_build() -> bool:
    try:
        return bool(importlib.metadata.version("vllm-cpu"))
    except importlib.metadata.PackageNotFoundError:
        return False


def _generation_config(folder: Path, config: Any) -> Any:
    """What transformers would use for this model: its own file, else what its configuration says."""
    from transformers import GenerationConfig

    if (folder / "generation_config.json").exists():
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    return GenerationConfig.from_model_config(config)


class _Channel:
    """JSON lines to and from the engine's process."""

    def __init__(self, ours: socket.socket, log: Path) -> None:
        self._socket, self._lines, self._log = ours, ours.makefile("r", encoding="utf-8"), log

    def say(self, value: Json) -> None:
        """One message to the process."""
        try:
            self._socket.sendall(json.dumps(value).encode() + b"\n")
        except (OSError, ValueError):
            raise self._over() from None

    def hear(self) -> Json:
        """One message of the process; Incomplete when it has ended, TimeoutError when the socket has a limit."""
        try:
            line = self._lines.readline()
        except ConnectionError:
            line = ""
        if not line.endswith("\n"):
            raise self._over()
        return json.loads(line)

    def close(self) -> None:
        """Nothing more is said or heard; the process ends."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _over(self) -> Incomplete:
        fix = f"Run again: finished answers are kept. Out of memory? Lower generate.memory_fraction. {tail(self._log)}"
        return Incomplete("the engine's process has ended", where="vLLM", fix=fix)


class VllmEngine:
    """A model in another process. Implements `harness.generate.api.Engine`."""

    def __init__(self, tokenizer: Any, stops: frozenset[int], max_length: int, channel: _Channel) -> None:
        self._tokenizer, self._stops, self._max_length, self._channel = tokenizer, sorted(stops), max_length, channel

    def complete(self, requests: Sequence[Request], on_done: Callable[[list[Answer]], None]) -> None:
        """Complete all requests; `on_done` gets those that finished in the same step.

        Raises:
            Incomplete: the process ended; what `on_done` got is finished.
        """
        prompts, failed = prepare(self._tokenizer, requests, self._max_length)
        if failed:
            on_done(failed)
        if not prompts:
            return
        try:
            self._channel.say([self._message(prompt) for prompt in prompts])
            left = len(prompts)
            while left:
                done = [self._answer(prompts[number], *rest) for number, *rest in self._channel.hear()]
                left -= len(done)
                on_done(done)
        except BaseException:
            self._channel.close()  # what it would still send belongs to nobody
            raise

    def _message(self, prompt: Prompt) -> Json:
        """Tokens and vLLM's sampling parameters."""
        request = prompt.request
        greedy = request.temperature == 0
        sampling = {
            "temperature": request.temperature,
            "top_p": 1.0 if greedy else request.top_p,
            "seed": None if greedy else request.seed,
            "max_tokens": prompt.limit,
            "stop_token_ids": self._stops,
        }
        return {"ids": prompt.ids, "sampling": sampling}

    def _answer(self, prompt: Prompt, tokens: list[int], finish: str) -> Answer:
        if finish in ("stop", "length"):
            return answer(self._tokenizer, prompt, tokens, finish, self._stops)
        return failure(prompt.request, f"vLLM ended it ({finish})", len(tokens))
