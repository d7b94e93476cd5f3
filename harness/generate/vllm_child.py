"""`python -m harness.generate.vllm_child SOCKET SETTINGS`: vLLM behind a socket, one JSON line per message.

Says what it is when the model is loaded. Then, for a line of requests [{ids, sampling}, ...], lines of what finished
together, [[number, tokens, finish], ...], until all have; then it waits for the next. Ends with the socket.
"""

import json
import socket
import sys
from typing import Any, TextIO

from harness.core.canonical import Json

_CPU_CACHE_BYTES = 2 * 2**30


def main(words: list[str]) -> None:
    """Load the model, then answer until the other end closes."""
    import vllm

    engine = vllm.LLMEngine.from_engine_args(vllm.EngineArgs(**arguments(json.loads(words[1]))))
    with socket.socket(fileno=int(words[0])) as ours, ours.makefile("rw", encoding="utf-8") as channel:
        _say(channel, {"vllm": vllm.__version__})
        for line in channel:
            _complete(engine, json.loads(line), channel)


_CPU_TOKENS = 4096
"""Tokens of a step on a CPU; more where the longest prompt has more."""


def arguments(given: dict[str, Json]) -> dict[str, Any]:
    """vLLM's engine arguments: what we were given and what depends on the device."""
    from vllm.platforms import current_platform

    fraction = given.pop("memory_fraction")
    common = {
        **given,
        "skip_tokenizer_init": True,
        "config_format": "hf",
        "load_format": "safetensors",
        "generation_config": "vllm",  # its own defaults: nothing of the model's folder changes what we ask for
        "disable_log_stats": True,
        "seed": 0,
    }
    if current_platform.is_cpu():
        # Prompts whole: where one is read in parts, vLLM winds its request's generator back, which a CPU's cannot.
        whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(given["max_model_len"], _CPU_TOKENS)}
        return {**common, **whole, "enforce_eager": True, "kv_cache_memory_bytes": _cpu_cache(fraction)}
    return {**common, "gpu_memory_utilization": fraction or 0.9}


def _cpu_cache(fraction: float | None) -> int:
    import psutil

    return int(fraction * psutil.virtual_memory().total) if fraction else _CPU_CACHE_BYTES


def _complete(engine: Any, requests: list[Json], channel: TextIO) -> None:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    for number, request in enumerate(requests):
        sampling = SamplingParams(**request["sampling"], detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY)
        engine.add_request(str(number), {"prompt_token_ids": request["ids"]}, sampling)
    while engine.has_unfinished_requests():
        if done := [output for output in engine.step() if output.finished]:
            _say(channel, [_finished(output) for output in done])


def _finished(output: Any) -> Json:
    answer = output.outputs[0]
    return [int(output.request_id), list(answer.token_ids), answer.finish_reason]


def _say(channel: TextIO, value: Json) -> None:
    channel.write(json.dumps(value) + "\n")
    channel.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
